//! A loaded model.

use std::fmt;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::bindings::exports::gust::llm::engine as wit;
use crate::instance::Instance;
use crate::state::State;
use crate::trace::Trace;
use crate::{
    ChatMessage, ChatOptions, Error, LoadOptions, MetadataEntry, ModelInfo, OperatorTime, Session,
    SessionOptions, SpecialTokens, TensorEntry, TokenizeOptions, weights,
};

/// A loaded model, in an instance of the engine of its own. Clones are the same model; sessions keep it alive.
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
    instance: Arc<Instance>,
    resource: ResourceAny,
    info: ModelInfo,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.instance.drop_resource(self.resource);
    }
}

impl Model {
    pub(crate) fn load(instance: Arc<Instance>, options: &LoadOptions) -> Result<Model, Error> {
        let options = wit::LoadOptions::from(options);
        let loaded =
            instance.call(|engine, store| engine.call_load_model(store, weights::NAME, options));
        instance.loaded();
        let resource = loaded?;
        let info = instance.ask(|engine, store| engine.model().call_info(store, resource))?;
        Ok(Model(Arc::new(Shared {
            instance,
            resource,
            info: info.into(),
        })))
    }

    /// What the model says of itself.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// All metadata, in the order of the file.
    ///
    /// # Errors
    /// None but those that end the model, such as [`Error::Trap`].
    pub fn metadata(&self) -> Result<Vec<MetadataEntry>, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let entries =
            instance.ask(|engine, store| engine.model().call_metadata(store, *resource))?;
        Ok(entries.into_iter().map(MetadataEntry::from).collect())
    }

    /// All tensors, in the order of the file.
    ///
    /// # Errors
    /// None but those that end the model, such as [`Error::Trap`].
    pub fn tensors(&self) -> Result<Vec<TensorEntry>, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let entries =
            instance.ask(|engine, store| engine.model().call_tensors(store, *resource))?;
        Ok(entries.into_iter().map(TensorEntry::from).collect())
    }

    /// Text to tokens.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the model's tokenizer is, [`Error::InvalidArgument`] where it was not loaded.
    pub fn tokenize(&self, text: &str, options: &TokenizeOptions) -> Result<Vec<u32>, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let options = wit::TokenizeOptions::from(options);
        instance.call(|engine, store| {
            engine
                .model()
                .call_tokenize(store, *resource, text, options)
        })
    }

    /// Tokens to bytes, each token's one after the other. They are the text's as UTF-8, unless the tokens cut a
    /// character.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a token is outside the vocabulary.
    pub fn detokenize(&self, tokens: &[u32], special: SpecialTokens) -> Result<Vec<u8>, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let render = special == SpecialTokens::Render;
        instance.call(|engine, store| {
            engine
                .model()
                .call_detokenize(store, *resource, tokens, render)
        })
    }

    /// A conversation to the prompt that the model's chat template makes of it. Tokenize it with `parse_special`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is no template, [`Error::InvalidArgument`] where it refuses the conversation.
    pub fn render_chat(
        &self,
        messages: &[ChatMessage],
        options: &ChatOptions,
    ) -> Result<String, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let messages: Vec<_> = messages.iter().map(wit::ChatMessage::from).collect();
        let options = wit::ChatOptions::from(options);
        instance.call(|engine, store| {
            engine
                .model()
                .call_render_chat(store, *resource, &messages, &options)
        })
    }

    /// An empty session.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where an option is out of range, [`Error::OutOfMemory`] or [`Error::MemoryLimit`]
    /// where the context does not fit.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        let Shared {
            instance, resource, ..
        } = &*self.0;
        let options = wit::SessionOptions::from(options);
        let session = instance
            .call(|engine, store| engine.model().call_new_session(store, *resource, options))?;
        Ok(Session::new(self.clone(), session))
    }

    /// Begins to take the time of the engine's operators, of all sessions of this model, from zero. Until then it costs
    /// nothing, from then on next to nothing.
    ///
    /// # Errors
    /// [`Error::Component`] where the engine cannot tell, as other components than the embedded one may not.
    pub fn start_trace(&self) -> Result<(), Error> {
        self.traced(|trace, store| trace.start(store))
    }

    /// Ends it, and gives the times, in the order in which operators first came up.
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
        let answer = self.0.instance.ask(|_, store| {
            let trace = store.data().trace;
            trace.map(|trace| call(trace, store)).transpose()
        })?;
        answer.ok_or_else(|| {
            let found = "expected an engine that exports gust:llm/trace, found one that does not";
            Error::Component(found.into())
        })
    }

    /// Bytes of linear memory that the instance has, mapped weights included.
    pub fn linear_memory_bytes(&self) -> u64 {
        self.0.instance.memory_used()
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.0.instance
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}
