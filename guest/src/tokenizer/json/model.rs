//! The model of the file, kept from making control tokens of text.
//!
//! A model's vocabulary often has the names of control tokens too, and Hugging Face's library relies on their being found
//! before the model sees the text. Here they are found only where they may be, so the model sees such names as text. If it
//! makes a control token of one, the name is cut after its first character, and the parts are given to the model again.

use tokenizers::Model as _;
use tokenizers::models::unigram::Unigram;

use super::SUBJECT;
use super::file::{List, ModelFile, Tokens};
use super::kinds::{Bpe, BpeRules, Names, Piece, WordPiece};
use crate::error::{Result, invalid_model, unsupported};
use crate::pulse::work;
use crate::tokenizer::merge::Merger;
use crate::tokenizer::vocab::{MAX_TOKEN_LEN, MAX_TOKENS};

/// The longest words that a WordPiece model may split. It looks up all of their parts; known models have 100.
const MAX_WORD: usize = 1_000;

/// A model, and what it must not make of text.
#[derive(Debug)]
pub(super) struct Model {
    kind: Kind,
    /// By token: whether it is a control token.
    is_control: Vec<bool>,
    /// The token for unknown text, and its name.
    unknown: Option<(u32, String)>,
}

#[derive(Debug)]
enum Kind {
    Bpe(Bpe),
    WordPiece(WordPiece),
    /// Words, and the token of all others.
    WordLevel(Names, u32),
    Unigram(Box<Unigram>),
}

/// The model's tokens.
pub(super) struct Listed {
    /// Each with its number, in no order. No number is there twice.
    pub(super) tokens: Vec<(String, u32)>,
    /// The token for unknown text.
    pub(super) unknown: Option<u32>,
    /// Whether characters without a token are spelled in tokens like `<0x1F>`.
    pub(super) byte_fallback: bool,
}

impl Model {
    /// # Errors
    /// `invalid-model` for lists that do not fit each other; `unsupported` for unknown kinds and numbers beyond the limits.
    pub(super) fn read(file: ModelFile) -> Result<(Self, Listed)> {
        let kind = file
            .kind
            .as_deref()
            .unwrap_or(match (&file.merges, &file.vocab) {
                // Old files do not say it.
                (Some(_), _) => "BPE",
                (None, Some(Tokens::Scored(_))) => "Unigram",
                _ => "WordPiece",
            });
        let byte_fallback = file.byte_fallback.unwrap_or(false);
        if file.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(unsupported("`dropout` of the model", "none", "some"));
        }
        let (kind, tokens, unknown) = match kind {
            "BPE" => bpe(file)?,
            "WordPiece" => word_piece(file)?,
            "WordLevel" => word_level(file)?,
            "Unigram" => unigram(file)?,
            other => {
                let found = format!("`{}`", other.escape_default());
                let expected = "`BPE`, `Unigram`, `WordPiece` or `WordLevel`";
                return Err(unsupported(format!("model of {SUBJECT}"), expected, found));
            }
        };
        let unknown_id = unknown.as_ref().map(|(id, _)| *id);
        Ok((
            Self {
                kind,
                is_control: Vec::new(),
                unknown,
            },
            Listed {
                tokens,
                unknown: unknown_id,
                byte_fallback,
            },
        ))
    }

    /// The number of a token of the model's.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        match &self.kind {
            Kind::Bpe(bpe) => bpe.names.find(text),
            Kind::WordPiece(words) => words.names.find(text),
            Kind::WordLevel(names, _) => names.find(text),
            Kind::Unigram(unigram) => unigram.token_to_id(text),
        }
    }

    /// How many tokens the model has.
    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::Bpe(bpe) => bpe.names.len(),
            Kind::WordPiece(words) => words.names.len(),
            Kind::WordLevel(names, _) => names.len(),
            Kind::Unigram(unigram) => unigram.get_vocab_size(),
        }
    }

    fn pieces(&self, word: &str, merger: &mut Merger) -> tokenizers::Result<Vec<Piece>> {
        Ok(match &self.kind {
            Kind::Bpe(bpe) => bpe.tokenize(word, merger),
            Kind::WordPiece(words) => words.tokenize(word),
            Kind::WordLevel(names, unknown) => vec![Piece {
                id: names.find(word).unwrap_or(*unknown),
                start: 0,
                end: word.len(),
            }],
            Kind::Unigram(unigram) => {
                let tokens = unigram.tokenize(word)?.into_iter();
                let piece = |token: tokenizers::Token| Piece {
                    id: token.id,
                    start: token.offsets.0,
                    end: token.offsets.1,
                };
                tokens.map(piece).collect()
            }
        })
    }

    /// Says which tokens are control tokens.
    pub(super) fn keep_from(&mut self, is_control: Vec<bool>) {
        self.is_control = is_control;
    }

    /// The tokens of a word. `merger` are buffers to use.
    pub(super) fn tokenize(&self, word: &str, merger: &mut Merger) -> tokenizers::Result<Vec<u32>> {
        let mut pieces = Vec::new();
        // The first part is the last.
        let mut parts: Vec<_> = std::iter::once(0..word.len()).collect();
        while let Some(part) = parts.pop() {
            work(1 + part.len());
            let text = &word[part.clone()];
            let of_part = self.pieces(text, merger)?;
            let cuts = self.cuts(text, &of_part);
            if cuts.is_empty() {
                pieces.extend(of_part);
                continue;
            }
            let mut end = part.end;
            for cut in cuts.into_iter().rev() {
                parts.push(part.start + cut..end);
                end = part.start + cut;
            }
            parts.push(part.start..end);
        }
        // A name of one character cannot be cut.
        let unknown = self.unknown.as_ref().map(|(id, _)| *id);
        let allowed = |piece: Piece| match self.is_control(piece.id) {
            true => unknown,
            false => Some(piece.id),
        };
        Ok(pieces.into_iter().filter_map(allowed).collect())
    }

    fn is_control(&self, id: u32) -> bool {
        self.is_control.get(id as usize).copied().unwrap_or(false)
    }

    /// Where a word has to be cut so that it does not become these tokens.
    fn cuts(&self, word: &str, pieces: &[Piece]) -> Vec<usize> {
        let is_named = |id: u32, text: &str| {
            let unknown = self.unknown.as_ref();
            unknown.is_some_and(|(unknown, name)| id == *unknown && text == name)
        };
        let cut = |piece: &Piece| {
            let text = word.get(piece.start..piece.end)?;
            let second = piece.start + text.chars().next()?.len_utf8();
            let wrong = self.is_control(piece.id) || is_named(piece.id, text);
            (wrong && second < piece.end).then_some(second)
        };
        pieces.iter().filter_map(cut).collect()
    }
}

/// A model, its tokens, and the one for unknown text with its name.
type Made = (Kind, Vec<(String, u32)>, Option<(u32, String)>);

fn bpe(file: ModelFile) -> Result<Made> {
    let tokens = numbered(file.vocab)?;
    let List(merges) = file.merges.ok_or_else(|| missing("merges"))?;
    let unknown = unknown(file.unk_token, &tokens)?;
    let rules = BpeRules {
        unknown: unknown.as_ref().map(|(id, _)| *id),
        fuse_unk: file.fuse_unk.unwrap_or(false),
        byte_fallback: file.byte_fallback.unwrap_or(false),
        ignore_merges: file.ignore_merges.unwrap_or(false),
        prefix: file.continuing_subword_prefix.unwrap_or_default(),
        suffix: file.end_of_word_suffix.unwrap_or_default(),
    };
    let names = Names::new(&subject(), &tokens)?;
    let model = Bpe::new(&subject(), names, merges, rules)?;
    Ok((Kind::Bpe(model), tokens, unknown))
}

fn word_piece(file: ModelFile) -> Result<Made> {
    let tokens = numbered(file.vocab)?;
    let longest = file.max_input_chars_per_word.unwrap_or(100);
    if longest > MAX_WORD {
        let expected = format!("at most {MAX_WORD}");
        return Err(unsupported("max_input_chars_per_word", expected, longest));
    }
    let name = file.unk_token.unwrap_or_else(|| "[UNK]".to_owned());
    let unknown = needed(name, &tokens)?;
    let prefix = file.continuing_subword_prefix;
    let model = WordPiece {
        names: Names::new(&subject(), &tokens)?,
        unknown: unknown.0,
        prefix: prefix.unwrap_or_else(|| "##".to_owned()),
        longest,
    };
    Ok((Kind::WordPiece(model), tokens, Some(unknown)))
}

fn word_level(file: ModelFile) -> Result<Made> {
    let tokens = numbered(file.vocab)?;
    let name = file.unk_token.unwrap_or_else(|| "<unk>".to_owned());
    let unknown = needed(name, &tokens)?;
    let names = Names::new(&subject(), &tokens)?;
    Ok((Kind::WordLevel(names, unknown.0), tokens, Some(unknown)))
}

fn unigram(file: ModelFile) -> Result<Made> {
    let Some(Tokens::Scored(scored)) = file.vocab else {
        return Err(missing("a `vocab` that is a list of tokens and scores"));
    };
    // The crate's search for the best tokens does not end with an empty one.
    check_lengths(1, scored.iter().map(|(token, _)| token))?;
    let unknown = match file.unk_id {
        Some(id) => {
            let token = scored.get(id);
            let (name, _) = token.ok_or_else(|| {
                let expected = format!("a token below {}", scored.len());
                invalid_model("unk_id", expected, id)
            })?;
            Some((id as u32, name.clone()))
        }
        None => None,
    };
    let tokens = scored.iter().map(|(token, _)| token.clone()).zip(0..);
    let tokens = tokens.collect();
    let model = Unigram::from(scored, file.unk_id, file.byte_fallback.unwrap_or(false))
        .map_err(|error| invalid_model(subject(), "a Unigram model", error))?;
    Ok((Kind::Unigram(Box::new(model)), tokens, unknown))
}

fn subject() -> String {
    format!("model of {SUBJECT}")
}

fn missing(what: &str) -> crate::error::Error {
    invalid_model(subject(), what, "none")
}

/// Tokens with their numbers, each number and each text once.
fn numbered(vocab: Option<Tokens>) -> Result<Vec<(String, u32)>> {
    let Some(Tokens::Numbered(tokens)) = vocab else {
        return Err(missing("a `vocab` that gives each token a number"));
    };
    check_lengths(0, tokens.iter().map(|(token, _)| token))?;
    let mut order: Vec<_> = tokens.iter().collect();
    order.sort_unstable_by_key(|(_, id)| *id);
    let twice = |pair: &[&(String, u32)]| pair[0].1 == pair[1].1;
    if let Some(pair) = order.windows(2).find(|pair| twice(pair)) {
        let found = format!("`{}` and `{}` with {}", pair[0].0, pair[1].0, pair[0].1);
        return Err(invalid_model(subject(), "a number for each token", found));
    }
    if let Some((token, id)) = order.last().filter(|(_, id)| *id as usize >= MAX_TOKENS) {
        let expected = format!("numbers below {MAX_TOKENS}");
        let found = format!("{id} for `{}`", token.escape_default());
        return Err(unsupported(subject(), expected, found));
    }
    order.sort_unstable();
    let same = |pair: &[&(String, u32)]| pair[0].0 == pair[1].0;
    if let Some(pair) = order.windows(2).find(|pair| same(pair)) {
        let found = format!("`{}` with {} and {}", pair[0].0, pair[0].1, pair[1].1);
        return Err(invalid_model(subject(), "one number for each token", found));
    }
    Ok(tokens)
}

fn check_lengths<'t>(least: usize, mut tokens: impl Iterator<Item = &'t String>) -> Result<()> {
    let wrong = tokens.find(|token| !(least..=MAX_TOKEN_LEN).contains(&token.len()));
    let Some(token) = wrong else {
        return Ok(());
    };
    let expected = format!("tokens of {least} to {MAX_TOKEN_LEN} bytes");
    Err(unsupported(
        subject(),
        expected,
        format!("one of {}", token.len()),
    ))
}

/// The token with the name that the file gives for unknown text, if it gives one.
fn unknown(name: Option<String>, tokens: &[(String, u32)]) -> Result<Option<(u32, String)>> {
    name.map(|name| needed(name, tokens)).transpose()
}

fn needed(name: String, tokens: &[(String, u32)]) -> Result<(u32, String)> {
    match tokens.iter().find(|(token, _)| *token == name) {
        Some((_, id)) => Ok((*id, name)),
        None => {
            let found = format!("`{}`, which is none", name.escape_default());
            Err(invalid_model("unk_token", "one of the tokens", found))
        }
    }
}
