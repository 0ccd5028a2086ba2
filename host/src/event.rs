//! What comes out of a session: tokens, and the end of an answer.

/// What a session answers when it is asked for the next token.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was chosen and appended.
    Token(Token),
    /// The answer is over. Feeding the session begins a new one.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Text that had been held back and turned out not to be a stop text.
        bytes: Vec<u8>,
    },
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its number in the vocabulary. Absent only in the last item of [`Session::tokens`](crate::Session::tokens), when
    /// text had been held back that might have become a stop text and did not.
    pub id: Option<u32>,
    /// The text that became certain with this token. A character may span two tokens, so that this need not be whole
    /// UTF-8 (see [`Utf8Stream`](crate::Utf8Stream)); it is empty while the text might still turn into a stop text.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, when `logprobs` was asked for.
    pub logprob: Option<f32>,
    /// The best tokens, most probable first: as many as `logprobs` asked for.
    pub top: Vec<Candidate>,
}

/// A token and how probable it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Natural logarithm of its probability under the model, before the sampler chain.
    pub logprob: f32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model ended it.
    EndOfSequence,
    /// One of the stop texts would have appeared.
    Stop,
    /// `max_tokens` were given.
    Length,
}
