//! The messages of a conversation, and the session that holds their tokens.
//!
//! The template may render everything differently on each turn, so the whole conversation is rendered and tokenised
//! every time. The session is then truncated to the longest prefix that it shares with the result, and is fed the rest.

use gust::{
    CancelHandle, ChatMessage, Error, Event, GenerationOptions, Model, RenderOptions, Session,
    Usage,
};

use crate::command::failure::Failure;
use crate::command::lora::Adapters;
use crate::command::progress::Progress;

/// A question must leave one part in this many of the context for its answer.
const ANSWER_SHARE: usize = 4;

pub(super) struct Conversation {
    model: Model,
    session: Session,
    options: RenderOptions,
    system: Option<String>,
    messages: Vec<ChatMessage>,
    /// The tokens that the session holds.
    held: Vec<u32>,
}

impl Conversation {
    pub(super) fn new(
        model: Model,
        session: Session,
        options: RenderOptions,
        system: Option<String>,
    ) -> Self {
        let mut conversation = Conversation {
            model,
            session,
            options,
            system,
            messages: Vec::new(),
            held: Vec::new(),
        };
        conversation.reset();
        conversation
    }

    /// Forgets the conversation, except for the system prompt.
    pub(super) fn reset(&mut self) {
        self.messages = self
            .system
            .iter()
            .map(|text| ChatMessage::new("system", text))
            .collect();
    }

    /// Starts over with another system prompt.
    pub(super) fn set_system(&mut self, system: Option<String>) {
        self.system = system;
        self.reset();
    }

    /// Continues another conversation.
    pub(super) fn replace(&mut self, messages: Vec<ChatMessage>) {
        self.system = messages
            .first()
            .filter(|first| first.role == "system")
            .map(|first| first.content.clone());
        self.messages = messages;
    }

    pub(super) fn messages(&self) -> &[ChatMessage] {
        &self.messages
    }

    /// Changes the model by these adapters and no others, also for what has been said.
    pub(super) fn set_adapters(&mut self, adapters: &Adapters) -> Result<(), Error> {
        adapters.replace(&mut self.session)
    }

    pub(super) fn usage(&self) -> Result<Usage, Error> {
        self.session.usage()
    }

    pub(super) fn cancel_handle(&self) -> CancelHandle {
        self.session.cancel_handle()
    }

    /// Adds a question and feeds the session the new tokens. If the context is too small for everything, drops the
    /// oldest turns; returns how many messages were dropped. If the question cannot be asked, it is removed again.
    pub(super) fn ask(
        &mut self,
        question: String,
        options: &GenerationOptions,
    ) -> Result<usize, Failure> {
        let before = self.messages.clone();
        self.messages.push(ChatMessage::new("user", question));
        let asked = self
            .fit()
            .and_then(|(tokens, dropped)| self.feed(&tokens, options).map(|()| dropped));
        if asked.is_err() {
            self.messages = before;
        }
        asked
    }

    /// Generates the answer, piece by piece, without the leading space with which many vocabularies begin a word. If
    /// generation fails, the text generated so far stays part of the conversation.
    pub(super) fn answer(
        &mut self,
        mut say: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut said = Vec::new();
        let mut hear = |bytes: &[u8]| {
            let bytes = if said.is_empty() {
                bytes.trim_ascii_start()
            } else {
                bytes
            };
            said.extend_from_slice(bytes);
            say(bytes)
        };
        let outcome = loop {
            match self.session.next_event() {
                Ok(Event::Token(token)) => {
                    self.held.extend(token.id);
                    if let Err(failure) = hear(&token.bytes) {
                        break Err(failure);
                    }
                }
                Ok(Event::Finished { bytes, .. }) => break hear(&bytes),
                Err(error) => break Err(error.into()),
            }
        };
        let content = String::from_utf8_lossy(&said);
        self.messages.push(ChatMessage::new("assistant", content));
        outcome
    }

    /// The conversation's tokens, after dropping as many of the oldest turns as it takes.
    fn fit(&mut self) -> Result<(Vec<u32>, usize), Failure> {
        let context = self.session.usage()?.context_length as usize;
        let room = context - context / ANSWER_SHARE;
        let mut dropped = 0;
        loop {
            let tokens = self.model.render(&self.messages, &self.options)?.tokens;
            if tokens.len() <= room {
                return Ok((tokens, dropped));
            }
            match drop_oldest_turn(&mut self.messages) {
                0 if tokens.len() < context => return Ok((tokens, dropped)),
                0 => {
                    let failure = Error::PromptTooLong {
                        tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
                        limit: u32::try_from(context).unwrap_or(u32::MAX),
                    };
                    return Err(failure.into());
                }
                count => dropped += count,
            }
        }
    }

    fn feed(&mut self, tokens: &[u32], options: &GenerationOptions) -> Result<(), Failure> {
        // A session that failed holds fewer tokens than it was given, and one that was stopped may hold more.
        self.held
            .truncate(self.session.usage()?.context_used as usize);
        let common = common_prefix(&self.held, tokens);
        self.held.truncate(common);
        self.session
            .truncate(u32::try_from(common).unwrap_or(u32::MAX))?;
        self.session.configure(options)?;

        let progress = Progress::start("reading the prompt");
        let reporter = progress.reporter();
        let new = &tokens[common..];
        let mut taken = 0;
        let fed = self.session.feed_with(new, |done| {
            taken = done;
            reporter.done(done as u64, new.len() as u64);
        });
        self.held
            .extend_from_slice(&new[..if fed.is_ok() { new.len() } else { taken }]);
        Ok(fed?)
    }
}

/// How many tokens both start with, but never all of `tokens`, because the last one has to be fed to continue from it.
fn common_prefix(held: &[u32], tokens: &[u32]) -> usize {
    let same = held.iter().zip(tokens).take_while(|(a, b)| a == b).count();
    same.min(tokens.len().saturating_sub(1))
}

/// Drops the oldest question and everything up to the next one; the system prompt and the newest question stay. Returns
/// the number of messages dropped.
fn drop_oldest_turn(messages: &mut Vec<ChatMessage>) -> usize {
    let first = messages
        .iter()
        .take_while(|message| message.role == "system")
        .count();
    let is_question = |message: &ChatMessage| message.role == "user";
    let Some(next) = messages.iter().skip(first + 1).position(is_question) else {
        return 0;
    };
    messages.drain(first..first + 1 + next).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(messages: &[ChatMessage]) -> String {
        messages
            .iter()
            .map(|message| format!("{}{} ", &message.role[..1], message.content))
            .collect()
    }

    #[test]
    fn the_last_token_is_always_fed() {
        assert_eq!(common_prefix(&[1, 2, 3], &[1, 2, 3]), 2);
        assert_eq!(common_prefix(&[1, 2, 9, 4], &[1, 2, 3, 4]), 2);
        assert_eq!(common_prefix(&[], &[1]), 0);
        assert_eq!(common_prefix(&[1, 2, 3, 4], &[1, 2]), 1);
    }

    #[test]
    fn whole_turns_are_dropped_and_the_newest_question_stays() {
        let turn = |role: &str, text: &str| ChatMessage::new(role, text);
        let mut messages = vec![
            turn("system", ""),
            turn("user", "1"),
            turn("assistant", "1"),
            turn("user", "2"),
            turn("assistant", "2"),
            turn("user", "3"),
        ];
        assert_eq!(drop_oldest_turn(&mut messages), 2);
        assert_eq!(roles(&messages), "s u2 a2 u3 ");
        assert_eq!(drop_oldest_turn(&mut messages), 2);
        assert_eq!(roles(&messages), "s u3 ");
        assert_eq!(drop_oldest_turn(&mut messages), 0);
    }
}
