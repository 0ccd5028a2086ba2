//! A session: a sequence of tokens, and how it continues.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::adapter::adapts_nothing;
use crate::runtime::{Answer, Blob, Handle, State, weights, wit};
use crate::{
    Adapter, CancelHandle, Error, Event, FinishReason, GenerationOptions, Model, Source, Token,
    Usage, Utf8Stream,
};

/// A sequence of tokens, what the model has computed for it, and how it continues.
///
/// ```
/// use gust::{Engine, FinishReason, GenerationOptions, LoadOptions, SessionOptions, TokenizeOptions};
///
/// let model = Engine::new()?.load(gust::SHIPPED_MODEL, &LoadOptions::default())?;
/// let mut session = model.session(&SessionOptions::default())?;
/// session.configure(&GenerationOptions { max_tokens: Some(8), seed: Some(1), ..Default::default() })?;
/// session.feed(&model.tokenize("Once upon a time", &TokenizeOptions::default())?)?;
/// let tokens = session.tokens().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(tokens.len(), 8);
/// assert_eq!(session.finish_reason(), Some(FinishReason::Length));
/// # Ok::<(), gust::Error>(())
/// ```
pub struct Session {
    model: Model,
    handle: Handle,
    finish_reason: Option<FinishReason>,
    cancel: CancelHandle,
    /// Held while the session is saved, which takes several calls, and while something else may compute a token.
    saving: Mutex<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.model.group().discard(&self.handle);
    }
}

impl Session {
    pub(crate) fn new(model: Model, handle: Handle) -> Session {
        Session {
            model,
            handle,
            finish_reason: None,
            cancel: CancelHandle::default(),
            saving: Mutex::default(),
        }
    }

    /// Lets another model in the same instances propose tokens.
    pub(crate) fn set_draft_model(&self, draft: &Handle) -> Result<(), Error> {
        let group = self.model.group();
        group.call_with(&self.handle, draft, |engine, store, session, draft| {
            engine.session().call_set_draft_model(store, session, draft)
        })
    }

    /// Sets how the next tokens are chosen, begins a new answer, and resets the random numbers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of range.
    pub fn configure(&mut self, options: &GenerationOptions) -> Result<(), Error> {
        let options = wit::GenerationOptions::from(options);
        self.call(move |session, store, resource| {
            session.call_configure(store, resource, &options)
        })?;
        self.finish_reason = None;
        Ok(())
    }

    /// Changes the model for this session by these adapters, each times its scale, in place of those before; none of them
    /// leaves the model as it is. Afterwards the session is as if its tokens had been fed with these adapters: they are
    /// computed again in the next call that needs them. A new answer begins. [Copies](Self::fork) have the same adapters, a
    /// draft model has none, and a [saved](Self::save) state can be restored only with the same adapters and scales.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an adapter of another model or a scale that is not finite; [`Error::OutOfMemory`]
    /// or [`Error::MemoryLimit`]; [`Error::Component`] if the engine does not take adapters.
    pub fn set_adapters(&mut self, adapters: &[(&Adapter, f32)]) -> Result<(), Error> {
        let handles = adapters
            .iter()
            .map(|(adapter, _)| adapter.handle_in(&self.model));
        let handles = handles.collect::<Result<_, _>>()?;
        let scales: Vec<f32> = adapters.iter().map(|(_, scale)| *scale).collect();
        let group = self.model.group();
        let attached = group.call_optional_with(
            &self.handle,
            handles,
            move |exports, store, session, adapters| {
                let adapters = adapters.into_iter().zip(scales.iter().copied()).collect();
                let attached = exports
                    .adapters
                    .map(|exported| exported.attach(store, session, adapters));
                attached.transpose().map(Option::transpose)
            },
        )?;
        attached.ok_or_else(adapts_nothing)?;
        self.finish_reason = None;
        Ok(())
    }

    /// Appends tokens.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] and [`Error::InvalidArgument`], after which no token has been taken;
    /// [`Error::Cancelled`], after which some have been: [`usage`](Self::usage) says how many.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.feed_with(tokens, |_| ())
    }

    /// Appends tokens, and calls `progress` after each chunk with how many of them have been taken.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn feed_with(
        &mut self,
        tokens: &[u32],
        mut progress: impl FnMut(usize),
    ) -> Result<(), Error> {
        // The first call is given all of them, so that too many are refused before any is taken.
        let tokens: Arc<[u32]> = tokens.into();
        let mut done = 0;
        while done < tokens.len() {
            self.cancel.check()?;
            let given = tokens.clone();
            let taken = self.compute(move |session, store, resource| {
                session.call_feed(store, resource, &given[done..])
            })?;
            done += check_taken(taken as usize, tokens.len() - done)?;
            self.finish_reason = None;
            progress(done);
        }
        Ok(())
    }

    /// Chooses the next token and appends it, or says that the answer is over.
    ///
    /// # Errors
    /// [`Error::ContextFull`]; [`Error::Cancelled`]; [`Error::InvalidArgument`] if nothing was ever fed.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        self.cancel.check()?;
        let event =
            self.compute(|session, store, resource| session.call_next_token(store, resource))?;
        let event = Event::from(event);
        if let Event::Finished { reason, .. } = event {
            self.finish_reason = Some(reason);
        }
        Ok(event)
    }

    /// The tokens of the answer, until it is over; [`finish_reason`](Self::finish_reason) then says why.
    ///
    /// The bytes of all items together are the text of the answer. If text was held back at the end because it might
    /// have become a stop text, a last item without `id` contains it.
    pub fn tokens(&mut self) -> Tokens<'_> {
        Tokens {
            session: self,
            over: false,
        }
    }

    /// The text of the answer in whole characters, a few at a time, until it is over.
    ///
    /// ```
    /// # use gust::*;
    /// # let model = Engine::new()?.load(gust::SHIPPED_MODEL, &LoadOptions::default())?;
    /// # let mut session = model.session(&SessionOptions::default())?;
    /// session.configure(&GenerationOptions { max_tokens: Some(8), ..Default::default() })?;
    /// session.feed(&model.tokenize("Once upon a time", &TokenizeOptions::default())?)?;
    /// for text in session.text() {
    ///     print!("{}", text?);
    /// }
    /// # Ok::<(), gust::Error>(())
    /// ```
    pub fn text(&mut self) -> Text<'_> {
        Text {
            tokens: self.tokens(),
            stream: Utf8Stream::new(),
        }
    }

    /// Why the last answer ended; absent while it continues.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// Appends tokens like [`feed`](Self::feed), and returns for each the natural logarithm of its probability given
    /// all tokens before it. The first token of an empty session has none, and its score is 0.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn score(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        self.score_with(tokens, |_| ())
    }

    /// Like [`score`](Self::score), and calls `progress` after each chunk with how many tokens have been taken.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn score_with(
        &mut self,
        tokens: &[u32],
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, Error> {
        let tokens: Arc<[u32]> = tokens.into();
        let mut scores = Vec::with_capacity(tokens.len());
        while scores.len() < tokens.len() {
            self.cancel.check()?;
            let (given, done) = (tokens.clone(), scores.len());
            let chunk = self.compute(move |session, store, resource| {
                session.call_score(store, resource, &given[done..])
            })?;
            check_taken(chunk.len(), tokens.len() - done)?;
            scores.extend(chunk);
            self.finish_reason = None;
            progress(scores.len());
        }
        Ok(scores)
    }

    /// Forgets all tokens from `length` on.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are fewer than that.
    pub fn truncate(&mut self, length: u32) -> Result<(), Error> {
        self.call(move |session, store, resource| session.call_truncate(store, resource, length))?;
        self.finish_reason = None;
        Ok(())
    }

    /// The logits after the last token: one for each token of the vocabulary.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the session is empty.
    pub fn logits(&self) -> Result<Vec<f32>, Error> {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        self.call(|session, store, resource| session.call_logits(store, resource))
    }

    /// Makes an independent copy, with its own cancel handle.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::MemoryLimit`].
    pub fn fork(&self) -> Result<Session, Error> {
        let group = self.model.group();
        let copy = group.make_of(&self.handle, |engine, store, session| {
            engine.session().call_fork(store, session)
        })?;
        let mut copy = Session::new(self.model.clone(), copy);
        copy.finish_reason = self.finish_reason;
        Ok(copy)
    }

    /// Returns the whole state as bytes, for [`restore`](Self::restore) in a session of the same model, options and
    /// adapters, even in another program and with another number of threads. Only this version of the engine can restore
    /// it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::MemoryLimit`].
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        let group = self.model.group();
        let in_pieces = group.ask(&self.handle, |exports, _, _| {
            Ok(Ok(exports.states.is_some()))
        });
        match in_pieces? {
            true => self.save_in_pieces(),
            false => self.save_at_once(),
        }
    }

    fn save_at_once(&self) -> Result<Vec<u8>, Error> {
        self.call(|session, store, resource| {
            // The state lies in the instance's memory, so it is no larger than that.
            with_answers_up_to(store.data().memory.limit(), store, |store| {
                session.call_save(store, resource)
            })
        })
    }

    fn save_in_pieces(&self) -> Result<Vec<u8>, Error> {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.model.group();
        let mut state = Vec::new();
        loop {
            let offset = state.len() as u64;
            let (piece, most) =
                group.call_optional(&self.handle, None, move |exports, store, session| {
                    let states = exports.states.ok_or_else(no_states)?;
                    let most = store.data().memory.limit();
                    let piece = states.piece(store, session, offset)?;
                    Ok(piece.map(|piece| (piece, most)))
                })?;
            if piece.is_empty() {
                return Ok(state);
            }
            state.extend(piece);
            // It is made of what the instances keep.
            if state.len() as u64 > most {
                let found = format!("expected a state of at most {most} bytes, found more");
                return Err(Error::Component(found));
            }
        }
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the bytes are not such a state, [`Error::OutOfMemory`] or [`Error::MemoryLimit`]; then
    /// nothing has changed.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), Error> {
        let state: Arc<[u8]> = state.into();
        let blob = Blob::open(Source::Bytes(state.clone()))?;
        let group = self.model.group();
        group.call_optional(&self.handle, None, move |exports, store, session| {
            let Some(states) = exports.states else {
                let engine = exports.engine().session();
                return engine.call_restore(store, session, &state);
            };
            // It has a name only as long as it is being restored.
            store.data_mut().saved = Some(blob.clone());
            let restored = states.restore(&mut *store, session, weights::SAVED);
            store.data_mut().saved = None;
            restored
        })?;
        self.finish_reason = None;
        Ok(())
    }

    /// What the session has used.
    ///
    /// # Errors
    /// Only those that end the session, such as [`Error::Trap`].
    pub fn usage(&self) -> Result<Usage, Error> {
        let usages =
            self.model
                .group()
                .call_each(&self.handle, None, |engine, store, session| {
                    engine.session().call_usage(store, session).map(Ok)
                })?;
        let kv_bytes = usages.iter().map(|usage| usage.kv_bytes).sum();
        let Some(usage) = usages.into_iter().next() else {
            return Err(Error::Component("no instance has the session".into()));
        };
        Ok(Usage {
            kv_bytes,
            ..usage.into()
        })
    }

    /// A handle that stops this session from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The model that this is a session of.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Calls all instances; the call can be cancelled.
    fn compute<T: Send + 'static>(
        &self,
        call: impl Fn(wit::GuestSession<'_>, &mut Store<State>, ResourceAny) -> Answer<T>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, Error> {
        self.perform(Some(&self.cancel), call)
    }

    /// Calls all instances.
    fn call<T: Send + 'static>(
        &self,
        call: impl Fn(wit::GuestSession<'_>, &mut Store<State>, ResourceAny) -> Answer<T>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, Error> {
        self.perform(None, call)
    }

    fn perform<T: Send + 'static>(
        &self,
        cancel: Option<&CancelHandle>,
        call: impl Fn(wit::GuestSession<'_>, &mut Store<State>, ResourceAny) -> Answer<T>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, Error> {
        let group = self.model.group();
        group.call(&self.handle, cancel, move |engine, store, session| {
            call(engine.session(), store, session)
        })
    }
}

/// Makes a call whose answer may be larger than Wasmtime allows by default, up to `most` bytes.
fn with_answers_up_to<T>(
    most: u64,
    store: &mut Store<State>,
    call: impl FnOnce(&mut Store<State>) -> Answer<T>,
) -> Answer<T> {
    let default = store.hostcall_fuel();
    store.set_hostcall_fuel(usize::try_from(most).unwrap_or(usize::MAX).max(default));
    let answer = call(store);
    store.set_hostcall_fuel(default);
    answer
}

fn no_states() -> wasmtime::Error {
    wasmtime::format_err!(
        "expected an engine that exports gust:llm/states, found one that does not"
    )
}

/// An engine that takes no tokens would never finish, and one that takes more than it was given is broken.
fn check_taken(taken: usize, given: usize) -> Result<usize, Error> {
    if (1..=given).contains(&taken) {
        Ok(taken)
    } else {
        let found = format!("expected the engine to take 1 to {given} tokens, found {taken}");
        Err(Error::Component(found))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("finish_reason", &self.finish_reason)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

/// The tokens of an answer, made by [`Session::tokens`]. After an error it is over.
#[derive(Debug)]
pub struct Tokens<'a> {
    session: &'a mut Session,
    over: bool,
}

impl Iterator for Tokens<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let event = self.session.next_event();
        self.over = !matches!(event, Ok(Event::Token(_)));
        match event {
            Ok(Event::Token(token)) => Some(Ok(token)),
            Ok(Event::Finished { bytes, .. }) if bytes.is_empty() => None,
            Ok(Event::Finished { bytes, .. }) => Some(Ok(Token {
                id: None,
                bytes,
                logprob: None,
                top: Vec::new(),
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The text of an answer, made by [`Session::text`]. No item is empty. After an error it is over.
#[derive(Debug)]
pub struct Text<'a> {
    tokens: Tokens<'a>,
    stream: Utf8Stream,
}

impl Iterator for Text<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = match self.tokens.next() {
                Some(Ok(token)) => self.stream.push(&token.bytes),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let rest = self.stream.finish();
                    return (!rest.is_empty()).then_some(Ok(rest));
                }
            };
            if !text.is_empty() {
                return Some(Ok(text));
            }
        }
    }
}

#[cfg(test)]
mod in_a_group;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_takes_some_tokens_and_no_more_than_there_are() {
        assert_eq!(check_taken(1, 3), Ok(1));
        assert_eq!(check_taken(3, 3), Ok(3));
        check_taken(0, 3).expect_err("it would never end");
        check_taken(4, 3).expect_err("there are no four");
    }
}
