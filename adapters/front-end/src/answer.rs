//! From a prompt to the text of the answer.

use crate::Utf8Stream;
use crate::engine::{Error, Event, FinishReason, Session, TokenEvent};

/// Feeds all of `tokens`, however many calls that takes.
///
/// # Errors
/// Those of `feed`.
pub fn feed(session: &Session, mut tokens: &[u32]) -> Result<(), Error> {
    while !tokens.is_empty() {
        let taken = session.feed(tokens)? as usize;
        tokens = tokens.get(taken.max(1)..).unwrap_or_default();
    }
    Ok(())
}

/// The answer to what was fed, as [`Piece`]s, until it ends or fails. A full context counts as an end.
pub struct Answer<'a> {
    session: &'a Session,
    utf8: Utf8Stream,
    /// Why it ended, once it has.
    pub finish: Option<Finish>,
}

/// Why an answer ended.
#[derive(Clone, Copy)]
pub enum Finish {
    /// The engine ended it.
    Reason(FinishReason),
    /// The context is full. Carries its length in tokens.
    ContextFull(u32),
}

/// A part of an answer.
pub struct Piece {
    /// The token; `None` if the text was held back until the end.
    pub token: Option<TokenEvent>,
    /// The characters that are complete with it.
    pub text: String,
}

impl<'a> Answer<'a> {
    /// The session's next answer.
    pub fn new(session: &'a Session) -> Self {
        Answer {
            session,
            utf8: Utf8Stream::new(),
            finish: None,
        }
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finish.is_some() {
            return None;
        }
        match self.session.next_token() {
            Ok(Event::Token(token)) => Some(Ok(Piece {
                text: self.utf8.push(&token.bytes),
                token: Some(token),
            })),
            Ok(Event::Finished(end)) => Some(Ok(self.end(Finish::Reason(end.reason), &end.bytes))),
            Err(Error::ContextFull(limit)) => Some(Ok(self.end(Finish::ContextFull(limit), &[]))),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Answer<'_> {
    /// The last piece, with the text that was held back.
    fn end(&mut self, finish: Finish, bytes: &[u8]) -> Piece {
        self.finish = Some(finish);
        let mut text = self.utf8.push(bytes);
        text.push_str(&self.utf8.finish());
        Piece { token: None, text }
    }
}
