//! RWKV's tokenizer, as in llama.cpp: a text is the longest token it starts with, again and again, byte by byte.
//!
//! Tokens are bytes, which need not be UTF-8, so files write them as a Python literal does: `\n`, `\xe3`.

use super::trie::Trie;
use super::vocab::{TokenType, Vocab};

/// A vocabulary of byte strings.
#[derive(Debug)]
pub(super) struct Rwkv {
    tokens: Trie,
    /// The token of a byte that no token starts with. Real vocabularies have all bytes, and no such token.
    unknown: Option<u32>,
}

impl Rwkv {
    pub(super) fn new(vocab: &Vocab, unknown: Option<u32>) -> Self {
        let texts: Vec<_> = vocab
            .texts(|id| vocab.is_text(id))
            .map(|(text, id)| (unescaped(text).collect::<Vec<_>>(), id))
            .collect();
        // Two texts may stand for the same bytes; llama.cpp uses the later one.
        let texts = texts.iter().rev().map(|(text, id)| (text.as_slice(), *id));
        Self {
            tokens: Trie::new(texts),
            unknown,
        }
    }

    /// Appends the tokens of `text`. Without an unknown token, a byte that no token starts with is left out.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (len, id) = match self.tokens.longest(rest) {
                Some((len, id)) => (len, Some(id)),
                None => (1, self.unknown),
            };
            tokens.extend(id);
            rest = &rest[len..];
        }
    }
}

/// The bytes that a token stands for in running text.
pub(super) fn append_bytes(text: &str, ty: TokenType, bytes: &mut Vec<u8>) {
    if !matches!(ty, TokenType::Control | TokenType::Unknown) {
        bytes.extend(unescaped(text.as_bytes()));
    }
}

/// The bytes of a text with escapes. Digits are lower-case; what others become does not matter and is as in llama.cpp. An
/// escape that the text ends in is left out.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text.iter().copied();
    std::iter::from_fn(move || {
        Some(match rest.next()? {
            b'\\' => match rest.next()? {
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                b'x' => {
                    let high = digit(rest.next()?) << 4;
                    high.wrapping_add(digit(rest.next()?))
                }
                other => other,
            },
            byte => byte,
        })
    })
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'a'..=0x7f => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'0'),
    }
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes_are_those_of_a_literal() {
        let bytes = |text: &str| unescaped(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(bytes(r"a\t\n\r\\\'\xe3\x0ab"), b"a\t\n\r\\'\xe3\nb");
        assert_eq!(bytes("漢"), "漢".as_bytes());
        for (text, expected) in [(r"a\", "a"), (r"a\x", "a"), (r"a\x4", "a"), ("", "")] {
            assert_eq!(bytes(text), expected.as_bytes(), "{text}");
        }
        // Not digits: some byte, but one.
        assert_eq!(bytes(r"\xZZb")[1..], *b"b");
    }
}
