//! The vocabulary: the metadata's lists of tokens, types and scores, checked.
//!
//! A file is hostile until it is checked: the lists must have matching types and lengths, the texts must be UTF-8, of a
//! sane length, and byte tokens must have valid names.

use super::index::Index;
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::{Array, Metadata};
use crate::pulse::work;

/// The most tokens allowed. The largest vocabularies have 262,144.
pub(super) const MAX_TOKENS: usize = 1 << 20;
/// The longest allowed text of a token, in bytes. The longest known one is 512 spaces, 1,024 bytes in byte-level text.
pub(super) const MAX_TOKEN_LEN: usize = 2_048;

/// The type of a token, with GGUF's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// None of the others; also used for any number that GGUF does not define. It stands for no text.
    Undefined = 0,
    /// Text.
    Normal = 1,
    /// Stands for text that the vocabulary cannot express.
    Unknown = 2,
    /// Controls the model and is not text, for example `<|im_end|>`.
    Control = 3,
    /// Text that is always one token.
    UserDefined = 4,
    /// Listed but never used. It stands for no text.
    Unused = 5,
    /// One byte, named `<0x00>` to `<0xFF>`.
    Byte = 6,
}

impl TokenType {
    fn from_number(number: i32) -> Self {
        use TokenType::*;
        [Normal, Unknown, Control, UserDefined, Unused, Byte]
            .into_iter()
            .find(|ty| *ty as i32 == number)
            .unwrap_or(Undefined)
    }
}

/// All tokens, by number and by text.
#[derive(Debug)]
pub(super) struct Vocab {
    /// The texts, concatenated.
    text: String,
    /// Where each text ends.
    ends: Vec<u32>,
    types: Vec<TokenType>,
    index: Index,
}

impl Vocab {
    /// Checks the lists and builds the index.
    ///
    /// # Errors
    /// `invalid-model`, naming the key; `unsupported` for more or longer tokens than this engine accepts.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let tokens = metadata
            .strings(key)?
            .filter(|tokens| !tokens.is_empty())
            .ok_or_else(|| invalid_model(key, "a vocabulary", "no tokens"))?;
        if tokens.len() > MAX_TOKENS {
            let found = format!("{} tokens", tokens.len());
            return Err(unsupported(
                key,
                format!("at most {MAX_TOKENS} tokens"),
                found,
            ));
        }
        let (text, ends) = texts(tokens)?;
        let types = types(metadata, ends.len())?;
        let vocab = Self {
            text,
            ends,
            types,
            index: Index::with_capacity(0),
        };
        vocab.checked(key)
    }

    /// A vocabulary of these texts, each with its type. `subject` names its source.
    ///
    /// # Errors
    /// `unsupported` for a token that is too long.
    #[cfg(feature = "tokenizer-json")]
    pub(super) fn of<'t>(
        subject: &str,
        tokens: impl Iterator<Item = (&'t str, TokenType)>,
    ) -> Result<Self> {
        let mut vocab = Self {
            text: String::new(),
            ends: Vec::new(),
            types: Vec::new(),
            index: Index::with_capacity(0),
        };
        for (text, ty) in tokens {
            vocab.text.push_str(text);
            // The limit on the file's size keeps this below 2^32.
            vocab.ends.push(vocab.text.len() as u32);
            vocab.types.push(ty);
        }
        vocab.checked(subject)
    }

    fn checked(mut self, key: &str) -> Result<Self> {
        let mut index = Index::with_capacity(self.ends.len());
        for id in 0..self.len() {
            work(1);
            let text = self.text(id).unwrap_or_default();
            if text.len() > MAX_TOKEN_LEN {
                let found = format!("token {id} of {} bytes", text.len());
                let expected = format!("tokens of at most {MAX_TOKEN_LEN} bytes");
                return Err(unsupported(key, expected, found));
            }
            if self.token_type(id) == TokenType::Byte && byte_named(text).is_none() {
                let found = format!("`{}` for token {id}", text.escape_default());
                return Err(invalid_model(
                    key,
                    "a byte's name, `<0x00>` to `<0xFF>`",
                    found,
                ));
            }
            // Official files have texts twice. The first token is the text's; both stand for it.
            let same = |other| self.text(other) == Some(text);
            index.insert(index.hash(text.as_bytes()), id, same);
        }
        self.index = index;
        Ok(self)
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// A token's text as in the file.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        let at = id as usize;
        let end = *self.ends.get(at)? as usize;
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// The texts of the tokens that are wanted, each with its token.
    pub(super) fn texts(&self, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = (&[u8], u32)> {
        let ids = (0..self.len()).filter(move |id| wanted(*id));
        ids.filter_map(|id| Some((self.text(id)?.as_bytes(), id)))
    }

    /// The token with this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.index
            .find(self.index.hash(text), |id| self.is_named(id, text))
    }

    /// Whether a token has this text.
    pub(super) fn is_named(&self, id: u32, text: &[u8]) -> bool {
        self.text(id).is_some_and(|other| other.as_bytes() == text)
    }

    /// A token's type; `Undefined` for a number outside the vocabulary.
    pub(super) fn token_type(&self, id: u32) -> TokenType {
        let ty = self.types.get(id as usize).copied();
        ty.unwrap_or(TokenType::Undefined)
    }

    /// Whether ordinary text may become this token, without a search for its name: control tokens must not arise by
    /// chance, and bytes are handled separately.
    pub(super) fn is_text(&self, id: u32) -> bool {
        use TokenType::*;
        !matches!(self.token_type(id), Control | Unknown | Byte)
    }

    /// Sets a token's type, whatever the file says.
    pub(super) fn set_type(&mut self, id: u32, ty: TokenType) {
        if let Some(slot) = self.types.get_mut(id as usize) {
            *slot = ty;
        }
    }
}

/// The byte that a name of the form `<0x1F>` stands for. Strict: two hexadecimal digits, no sign.
pub(super) fn byte_named(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    let right = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    right.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The metadata's scores, one for each of `n` tokens; all 0 if there are none.
pub(super) fn scores(metadata: &Metadata, n: u32) -> Result<Vec<f32>> {
    let key = "tokenizer.ggml.scores";
    let Some(scores) = metadata.f32s(key)? else {
        return Ok(vec![0.0; n as usize]);
    };
    same_length(key, n as usize, scores.len())?;
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(invalid_model(key, "numbers", format!("NaN for token {id}"))),
        None => Ok(scores),
    }
}

/// The texts and where each ends. An empty text is replaced by a name with its number, as in llama.cpp, so all differ.
fn texts(tokens: &Array) -> Result<(String, Vec<u32>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(tokens.len()));
    for (id, text) in tokens.iter_strings().enumerate() {
        match text {
            b"" => bytes.extend_from_slice(format!("[EMPTY_{id}]").as_bytes()),
            _ => bytes.extend_from_slice(text),
        }
        // The reader's limit on the header keeps this below 2^32.
        ends.push(bytes.len() as u32);
    }
    let text = String::from_utf8(bytes).map_err(|error| error.utf8_error().valid_up_to());
    let broken_at = match &text {
        Ok(text) => ends
            .iter()
            .find(|&&end| !text.is_char_boundary(end as usize)),
        Err(valid) => ends.iter().find(|&&end| end as usize > *valid),
    };
    match (text, broken_at) {
        (Ok(text), None) => Ok((text, ends)),
        (_, end) => {
            let id = ends.partition_point(|other| Some(other) < end);
            let found = format!("invalid UTF-8 in token {id}");
            Err(invalid_model(
                "tokenizer.ggml.tokens",
                "tokens in UTF-8",
                found,
            ))
        }
    }
}

fn types(metadata: &Metadata, n: usize) -> Result<Vec<TokenType>> {
    let key = "tokenizer.ggml.token_type";
    let Some(numbers) = metadata.i32s(key)? else {
        return Ok(vec![TokenType::Normal; n]);
    };
    same_length(key, n, numbers.len())?;
    Ok(numbers.into_iter().map(TokenType::from_number).collect())
}

fn same_length(key: &str, n: usize, found: usize) -> Result<()> {
    if found == n {
        return Ok(());
    }
    let expected = format!("one for each of {n} tokens");
    Err(invalid_model(key, expected, found))
}
