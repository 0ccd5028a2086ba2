//! What comes out of a session: tokens, and the end of an answer.

/// What a session returns when it is asked for the next token.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was chosen and appended.
    Token(Token),
    /// The answer is over. Feeding the session begins a new one.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Text that had been held back and turned out not to be a stop text.
        bytes: Vec<u8>,
    },
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its ID in the vocabulary. Absent only in the last item of [`Session::tokens`](crate::Session::tokens), which has
    /// text that was held back because it might have become a stop text, but did not.
    pub id: Option<u32>,
    /// The text that became certain with this token. A character may span two tokens, so these bytes may not be
    /// complete UTF-8 (see [`Utf8Stream`](crate::Utf8Stream)). Empty while the text might still become a stop text.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, if `logprobs` was set.
    pub logprob: Option<f32>,
    /// The most probable tokens, the best first: as many as `logprobs` asked for.
    pub top: Vec<Candidate>,
}

/// A token and how probable it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its ID in the vocabulary.
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
    /// `max_tokens` tokens were generated.
    Length,
}
