//! Made-up vocabularies of the right size and kind: the bytes, then words of the letters a to z, shortest first, each
//! bare and with a space before it. Every word can be reached by merging its letters from the left.

use gust_engine::gguf::{Array, Writer};

/// GGUF's numbers for the kinds of tokens.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// How many tokens, and of which kind.
pub(crate) enum Vocabulary {
    /// SentencePiece's, with tokens for single bytes: `llama` in GGUF.
    Spm { size: u32 },
    /// Byte-level BPE: `gpt2` in GGUF.
    Bpe {
        /// The pre-tokenizer.
        pre: &'static str,
        /// The tokens of text; the control tokens come behind them.
        n_text: u32,
        /// All, with the unused ones at the end.
        size: u32,
        control: &'static [&'static str],
        bos: u32,
        eos: u32,
        add_bos: bool,
    },
}

impl Vocabulary {
    /// The number of tokens.
    pub(crate) fn size(&self) -> u32 {
        match *self {
            Self::Spm { size } | Self::Bpe { size, .. } => size,
        }
    }

    /// Adds the keys `tokenizer.ggml.*`.
    pub(crate) fn metadata(&self, writer: &mut Writer) {
        match *self {
            Self::Spm { size } => spm(writer, size),
            Self::Bpe {
                pre,
                n_text,
                size,
                control,
                bos,
                eos,
                add_bos,
            } => {
                writer
                    .metadata("tokenizer.ggml.model", "gpt2")
                    .metadata("tokenizer.ggml.pre", pre);
                bpe(writer, n_text as usize, size as usize, control);
                writer
                    .metadata("tokenizer.ggml.bos_token_id", bos)
                    .metadata("tokenizer.ggml.eos_token_id", eos)
                    .metadata("tokenizer.ggml.add_bos_token", add_bos);
            }
        }
    }
}

fn spm(writer: &mut Writer, size: u32) {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".into(), "</s>".into()];
    let mut kinds = vec![kind::UNKNOWN, kind::CONTROL, kind::CONTROL];
    tokens.extend((0..=255).map(|byte: u8| format!("<0x{byte:02X}>")));
    kinds.resize(tokens.len(), kind::BYTE);
    tokens.push("▁".into());
    let rest = size as usize - tokens.len();
    tokens.extend(words("▁").map(|word| word.text()).take(rest));
    kinds.resize(tokens.len(), kind::NORMAL);
    // As in real files: what comes first is merged first.
    let scores = (0..size).map(|id| if id < 259 { 0.0 } else { 259.0 - id as f32 });
    writer
        .metadata("tokenizer.ggml.model", "llama")
        .metadata("tokenizer.ggml.pre", "default")
        .metadata("tokenizer.ggml.tokens", Array::strings(tokens))
        .metadata("tokenizer.ggml.scores", Array::f32s(scores))
        .metadata("tokenizer.ggml.token_type", Array::i32s(kinds))
        .metadata("tokenizer.ggml.bos_token_id", 1)
        .metadata("tokenizer.ggml.eos_token_id", 2)
        .metadata("tokenizer.ggml.unknown_token_id", 0)
        .metadata("tokenizer.ggml.add_bos_token", true)
        .metadata("tokenizer.ggml.add_eos_token", false);
}

fn bpe(writer: &mut Writer, n_text: usize, size: usize, control: &[&str]) {
    let mut tokens: Vec<String> = byte_alphabet().map(String::from).collect();
    let mut merges = Vec::new();
    // Single letters are bytes already.
    let merged = words("Ġ").filter(|word| !word.head.is_empty());
    for word in merged.take(n_text - tokens.len()) {
        merges.push(format!("{} {}", word.head, word.last));
        tokens.push(word.text());
    }
    let mut kinds = vec![kind::NORMAL; n_text];
    tokens.extend(control.iter().map(|&name| name.to_owned()));
    kinds.resize(tokens.len(), kind::CONTROL);
    tokens.extend((tokens.len()..size).map(|id| format!("[PAD{id}]")));
    kinds.resize(size, kind::UNUSED);
    writer
        .metadata("tokenizer.ggml.tokens", Array::strings(tokens))
        .metadata("tokenizer.ggml.token_type", Array::i32s(kinds))
        .metadata("tokenizer.ggml.merges", Array::strings(merges));
}

/// A word as the merge that makes it.
struct Word {
    head: String,
    last: char,
}

impl Word {
    fn text(&self) -> String {
        format!("{}{}", self.head, self.last)
    }
}

/// a, ␣a, b, ␣b, ..., z, ␣z, aa, ␣aa, ab, ... without end.
fn words(space: &'static str) -> impl Iterator<Item = Word> {
    let bare = (1..).flat_map(|len| (0..26u64.pow(len)).map(move |number| letters(number, len)));
    bare.flat_map(move |letters| {
        ["", space].map(|before| {
            let mut head = format!("{before}{letters}");
            let last = head.pop().unwrap_or('a');
            Word { head, last }
        })
    })
}

/// `number` in base 26, with `len` digits.
fn letters(number: u64, len: u32) -> String {
    let digit = |at| (number / 26u64.pow(at) % 26) as u8;
    (0..len)
        .rev()
        .map(|at| char::from(b'a' + digit(at)))
        .collect()
}

/// The characters that stand for the bytes in GPT-2's vocabularies: first those that stand for themselves, then, from
/// U+0100 on, the others in their order.
fn byte_alphabet() -> impl Iterator<Item = char> {
    let themselves = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255u8).filter(move |&byte| !themselves(byte)).count() as u32;
    (0..=255u8)
        .filter(move |&byte| themselves(byte))
        .map(char::from)
        .chain((0..others).filter_map(|n| char::from_u32(0x100 + n)))
}

#[cfg(test)]
mod tests {
    use super::{byte_alphabet, words};

    #[test]
    fn the_byte_alphabet_is_that_of_gpt2() {
        let alphabet: Vec<char> = byte_alphabet().collect();
        assert_eq!(alphabet.len(), 256);
        assert_eq!((alphabet[0], alphabet[187], alphabet[255]), ('!', 'ÿ', 'Ń'));
        assert_eq!(alphabet[188 + 32], 'Ġ');
    }

    #[test]
    fn the_words_come_shortest_first() {
        let first: Vec<String> = words("_").take(57).map(|word| word.text()).collect();
        assert_eq!(first[..4], ["a", "_a", "b", "_b"]);
        assert_eq!(first[50..], ["z", "_z", "aa", "_aa", "ab", "_ab", "ac"]);
    }
}
