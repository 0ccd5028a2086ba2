//! A loaded model.

mod guard;
mod render;

use std::fmt;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::runtime::{Answer, Blob, Group, Handle, State, Trace, weights, wit};
use crate::{
    Adapter, CancelHandle, ChatMessage, ChatOptions, EmbeddingInfo, Error, LoadOptions,
    MetadataEntry, ModelInfo, OperatorTime, Pooling, Session, SessionOptions, Source,
    SpecialTokens, TensorEntry, TokenizeOptions,
};

/// A loaded model, in its own instances of the engine. Clones share the same model; sessions keep it alive.
///
/// ```
/// use gust::{Engine, LoadOptions, SpecialTokens, TokenizeOptions};
///
/// let model = Engine::new()?.load(gust::SHIPPED_MODEL, &LoadOptions::default())?;
/// let plain = TokenizeOptions { add_special: Some(false), ..Default::default() };
/// let tokens = model.tokenize("Once upon a time", &plain)?;
/// let text = model.detokenize(&tokens, SpecialTokens::Hide)?;
/// assert_eq!(String::from_utf8_lossy(&text).trim_start(), "Once upon a time");
/// # Ok::<(), gust::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(Arc<Shared>);

struct Shared {
    group: Arc<Group>,
    handle: Handle,
    /// The model that proposes tokens to the sessions of this one.
    draft: Option<Handle>,
    info: ModelInfo,
    threads: usize,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.group.discard(&self.handle);
        if let Some(draft) = &self.draft {
            self.group.discard(draft);
        }
    }
}

impl Model {
    pub(crate) fn load(
        group: Arc<Group>,
        options: &LoadOptions,
        threads: usize,
    ) -> Result<Model, Error> {
        let tokenizer = options.tokenizer.clone().map(Blob::open).transpose()?;
        let load = |name: &'static str| {
            let options = wit::LoadOptions::from(options);
            let tokenizer = tokenizer.clone();
            group.make_anew(move |exports, store| {
                let Some(file) = &tokenizer else {
                    return exports.engine().call_load_model(store, name, options);
                };
                let Some(tokenizers) = exports.tokenizers else {
                    return Ok(Err(no_tokenizers()));
                };
                // It has a name only as long as it is being loaded.
                store.data_mut().tokenizer = Some(file.clone());
                let names = [name, weights::TOKENIZER];
                let model = tokenizers.load_model(&mut *store, names, options);
                store.data_mut().tokenizer = None;
                model
            })
        };
        let loaded = load(weights::NAME).and_then(|model| {
            let draft = options.draft.as_ref().map(|_| load(weights::DRAFT));
            Ok((model, draft.transpose()?))
        });
        group.loaded();
        let (handle, draft) = loaded?;
        let infos = group.call_each(&handle, None, |engine, store, model| {
            engine.model().call_info(store, model).map(Ok)
        })?;
        let mapped_bytes = infos.iter().map(|info| info.mapped_bytes).sum();
        let Some(info) = infos.into_iter().next() else {
            return Err(Error::Component("no instance has loaded it".into()));
        };
        let info = ModelInfo {
            mapped_bytes,
            ..info.into()
        };
        Ok(Model(Arc::new(Shared {
            group,
            handle,
            draft,
            info,
            threads,
        })))
    }

    /// The number of compute threads. For a model that is not loaded in full: how many there would be.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// What the model says about itself.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// All metadata, in the order of the file, and then what the engine assumed (see [`MetadataEntry::is_assumed`]).
    ///
    /// # Errors
    /// Only those that end the model, such as [`Error::Trap`].
    pub fn metadata(&self) -> Result<Vec<MetadataEntry>, Error> {
        let entries =
            self.ask(|engine, store, model| engine.call_metadata(store, model).map(Ok))?;
        Ok(entries.into_iter().map(MetadataEntry::from).collect())
    }

    /// All tensors, in the order of the file.
    ///
    /// # Errors
    /// Only those that end the model, such as [`Error::Trap`].
    pub fn tensors(&self) -> Result<Vec<TensorEntry>, Error> {
        let entries = self.ask(|engine, store, model| engine.call_tensors(store, model).map(Ok))?;
        Ok(entries.into_iter().map(TensorEntry::from).collect())
    }

    /// Turns text into tokens.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model's tokenizer is not supported, [`Error::InvalidArgument`] if it was not
    /// loaded.
    pub fn tokenize(&self, text: &str, options: &TokenizeOptions) -> Result<Vec<u32>, Error> {
        let options = wit::TokenizeOptions::from(options);
        self.ask(|engine, store, model| engine.call_tokenize(store, model, text, options))
    }

    /// Turns tokens into bytes, one token after the other. Together they are the text in UTF-8, unless the tokens split
    /// a character.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a token is outside the vocabulary.
    pub fn detokenize(&self, tokens: &[u32], special: SpecialTokens) -> Result<Vec<u8>, Error> {
        let render = special == SpecialTokens::Render;
        self.ask(|engine, store, model| engine.call_detokenize(store, model, tokens, render))
    }

    /// Renders a conversation as text, with the model's chat template. [`render`](Self::render) also tokenizes it: in
    /// the text, nobody can tell the control tokens of the template from the same names in a message.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if there is no template, [`Error::InvalidArgument`] if it rejects the conversation.
    pub fn render_chat(
        &self,
        messages: &[ChatMessage],
        options: &ChatOptions,
    ) -> Result<String, Error> {
        let messages: Vec<_> = messages.iter().map(wit::ChatMessage::from).collect();
        let options = wit::ChatOptions::from(options);
        self.ask(|engine, store, model| engine.call_render_chat(store, model, &messages, &options))
    }

    /// Creates an empty session.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of range or the draft model has another vocabulary,
    /// [`Error::OutOfMemory`] or [`Error::MemoryLimit`] if the context does not fit.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        let options = wit::SessionOptions::from(options);
        let Shared {
            group,
            handle,
            draft,
            ..
        } = &*self.0;
        let session = group.make_of(handle, move |engine, store, model| {
            engine.model().call_new_session(store, model, options)
        })?;
        let session = Session::new(self.clone(), session);
        if let Some(draft) = draft {
            session.set_draft_model(draft)?;
        }
        Ok(session)
    }

    /// Loads an adapter of this model: a small change of its matrices, which sessions take with
    /// [`set_adapters`](Session::set_adapters). The model itself stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Io`] for a file that cannot be read; [`Error::InvalidModel`] for a broken one;
    /// [`Error::Unsupported`] for one that is no LoRA, or changes what the engine cannot change;
    /// [`Error::InvalidArgument`] for an adapter of another model; [`Error::OutOfMemory`] or [`Error::MemoryLimit`];
    /// [`Error::Component`] if the engine does not take adapters; components other than the embedded one may not.
    pub fn load_adapter(&self, source: impl Into<Source>) -> Result<Adapter, Error> {
        Adapter::load(self, source.into())
    }

    /// What the model says about the vectors that it makes of texts.
    ///
    /// # Errors
    /// [`Error::Component`] if the engine does not embed texts; components other than the embedded one may not.
    pub fn embedding_info(&self) -> Result<EmbeddingInfo, Error> {
        let Shared { group, handle, .. } = &*self.0;
        let info = group.ask(handle, |exports, store, model| {
            let embedding = exports.embedding;
            let info = embedding.map(|embedding| embedding.info(store, model));
            info.transpose().map(Option::transpose)
        })?;
        info.ok_or_else(embeds_nothing)
    }

    /// The vector of a text, as computed: it is not scaled to length 1. Without `pooling`, it is what the model's file asks
    /// for. [`Pooling::None`] gives the vectors of all tokens, concatenated.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] for more tokens than the model's context length; [`Error::InvalidArgument`] for no tokens,
    /// or a pooling that the model has no tensors for; [`Error::Component`] if the engine does not embed texts;
    /// [`Error::Cancelled`].
    pub fn embed(
        &self,
        tokens: &[u32],
        pooling: Option<Pooling>,
        cancel: Option<&CancelHandle>,
    ) -> Result<Vec<f32>, Error> {
        let Shared { group, handle, .. } = &*self.0;
        let tokens = tokens.to_vec();
        let vectors = group.call_optional(handle, cancel, move |exports, store, model| {
            let embedding = exports.embedding;
            let vectors =
                embedding.map(|embedding| embedding.embed(store, model, tokens.clone(), pooling));
            vectors.transpose().map(Option::transpose)
        })?;
        vectors.ok_or_else(embeds_nothing)
    }

    /// The tokens of a text that is to be embedded, with all that the model expects around it. What
    /// [`tokenize`](Self::tokenize) gives is to be continued, so it lacks what ends a sequence.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a text that is too long; [`Error::Component`] if the engine does not embed texts.
    pub fn tokenize_whole(&self, text: &str) -> Result<Vec<u32>, Error> {
        let Shared { group, handle, .. } = &*self.0;
        let tokens = group.ask(handle, |exports, store, model| {
            let embedding = exports.embedding;
            let tokens = embedding.map(|embedding| embedding.tokenize(store, model, text));
            tokens.transpose().map(Option::transpose)
        })?;
        tokens.ok_or_else(embeds_nothing)
    }

    /// The tokens of a query and a document, as a reranker expects them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for texts that are too long; [`Error::Component`] if the engine does not embed texts.
    pub fn tokenize_pair(&self, query: &str, document: &str) -> Result<Vec<u32>, Error> {
        let Shared { group, handle, .. } = &*self.0;
        let tokens = group.ask(handle, |exports, store, model| {
            let embedding = exports.embedding;
            let tokens =
                embedding.map(|embedding| embedding.tokenize_pair(store, model, query, document));
            tokens.transpose().map(Option::transpose)
        })?;
        tokens.ok_or_else(embeds_nothing)
    }

    /// Starts measuring, from zero, the time that the engine's operators take in all sessions of this model. This
    /// costs nothing before the call, and next to nothing after it.
    ///
    /// # Errors
    /// [`Error::Component`] if the engine does not support it; components other than the embedded one may not.
    pub fn start_trace(&self) -> Result<(), Error> {
        self.traced(|trace, store| trace.start(store))
    }

    /// Stops measuring, and returns the times, in the order in which the operators first ran.
    ///
    /// # Errors
    /// As [`start_trace`](Self::start_trace).
    pub fn stop_trace(&self) -> Result<Vec<OperatorTime>, Error> {
        self.traced(|trace, store| trace.stop(store))
    }

    fn traced<T>(
        &self,
        call: impl FnOnce(Trace, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        let Shared { group, handle, .. } = &*self.0;
        let answer = group.ask(handle, |exports, store, _| {
            let trace = exports.trace;
            trace.map(|trace| call(trace, store)).transpose().map(Ok)
        })?;
        answer.ok_or_else(|| {
            let found = "expected an engine that exports gust:llm/trace, found one that does not";
            Error::Component(found.into())
        })
    }

    /// Bytes that the instances take: their linear memories, mapped weights included, their tables, and what the host
    /// keeps for them. This is what [`Limits::memory`](crate::Limits::memory) limits.
    pub fn linear_memory_bytes(&self) -> u64 {
        self.0.group.memory_used()
    }

    pub(crate) fn group(&self) -> &Group {
        &self.0.group
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Whether both are the same loaded model.
    pub(crate) fn is_same(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn ask<T>(
        &self,
        call: impl FnOnce(wit::GuestModel<'_>, &mut Store<State>, ResourceAny) -> Answer<T>,
    ) -> Result<T, Error> {
        let Shared { group, handle, .. } = &*self.0;
        group.ask(handle, |exports, store, model| {
            call(exports.engine().model(), store, model)
        })
    }
}

fn no_tokenizers() -> wit::Error {
    wit::Error::Unsupported(wit::Mismatch {
        subject: "tokenizer".to_owned(),
        expected: "an engine that exports gust:llm/tokenizers".to_owned(),
        found: "a component that does not, as middleware does not".to_owned(),
    })
}

fn embeds_nothing() -> Error {
    let found = "expected an engine that exports gust:llm/embedding, found one that does not";
    Error::Component(found.into())
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}
