//! The exported engine: it passes each call to [`Middleware`], or straight to the wrapped engine if [`Middleware`] does
//! not cover it.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::Middleware;
use crate::adapters as inner_adapters;
use crate::bindings::exports::gust::llm::adapters as exported_adapters;
use crate::bindings::exports::gust::llm::chat as exported_chat;
use crate::bindings::exports::gust::llm::embedding as exported_embedding;
use crate::bindings::exports::gust::llm::engine as exported;
use crate::chat::{Message, Prompt, RenderOptions};
use crate::embedding::{self as inner_embedding, EmbedOptions, EmbeddingInfo};
use crate::engine as inner;
use crate::engine::{
    ChatMessage, ChatOptions, Error, Event, GenerationOptions, LoadOptions, MetadataEntry,
    ModelInfo, SessionOptions, TensorEntry, TokenizeOptions, Usage,
};

/// A component that wraps an engine in `M`.
pub struct Around<M>(PhantomData<M>);

impl<M: Middleware> exported::Guest for Around<M> {
    type Model = Model<M>;
    type Session = Session<M>;

    fn load_model(name: String, options: LoadOptions) -> Result<exported::Model, Error> {
        let model = M::load_model(&name, options)?;
        Ok(exported::Model::new(Model::<M>(
            Rc::new(model),
            PhantomData,
        )))
    }
}

impl<M: Middleware> exported_chat::Guest for Around<M> {
    fn render(
        model: exported::ModelBorrow<'_>,
        messages: Vec<Message>,
        options: RenderOptions,
    ) -> Result<Prompt, Error> {
        M::render(&model.get::<Model<M>>().0, &messages, &options)
    }
}

impl<M: Middleware> exported_embedding::Guest for Around<M> {
    fn info(model: exported::ModelBorrow<'_>) -> Result<EmbeddingInfo, Error> {
        inner_embedding::info(&model.get::<Model<M>>().0)
    }

    fn embed(
        model: exported::ModelBorrow<'_>,
        tokens: Vec<u32>,
        options: EmbedOptions,
    ) -> Result<Vec<f32>, Error> {
        M::embed(&model.get::<Model<M>>().0, &tokens, options)
    }

    fn tokenize(model: exported::ModelBorrow<'_>, text: String) -> Result<Vec<u32>, Error> {
        inner_embedding::tokenize(&model.get::<Model<M>>().0, &text)
    }

    fn tokenize_pair(
        model: exported::ModelBorrow<'_>,
        query: String,
        document: String,
    ) -> Result<Vec<u32>, Error> {
        inner_embedding::tokenize_pair(&model.get::<Model<M>>().0, &query, &document)
    }
}

impl<M: Middleware> exported_adapters::Guest for Around<M> {
    type Adapter = Adapter;

    fn load(
        name: String,
        model: exported::ModelBorrow<'_>,
    ) -> Result<exported_adapters::Adapter, Error> {
        let adapter = M::load_adapter(&name, &model.get::<Model<M>>().0)?;
        Ok(exported_adapters::Adapter::new(Adapter(adapter)))
    }

    fn left_out(adapter: exported_adapters::AdapterBorrow<'_>) -> Vec<String> {
        inner_adapters::left_out(&adapter.get::<Adapter>().0)
    }

    fn attach(
        session: exported::SessionBorrow<'_>,
        adapters: Vec<(exported_adapters::AdapterBorrow<'_>, f32)>,
    ) -> Result<(), Error> {
        let session = session.get::<Session<M>>();
        let adapters = adapters
            .iter()
            .map(|(adapter, scale)| (&adapter.get::<Adapter>().0, *scale));
        let adapters: Vec<_> = adapters.collect();
        let mut middleware = session.middleware.borrow_mut();
        middleware.attach(&session.inner, &adapters)
    }
}

/// An adapter of the wrapped engine.
pub struct Adapter(inner_adapters::Adapter);

impl exported_adapters::GuestAdapter for Adapter {}

/// A model, and the middleware of its sessions.
pub struct Model<M>(Rc<inner::Model>, PhantomData<M>);

impl<M: Middleware> exported::GuestModel for Model<M> {
    fn info(&self) -> ModelInfo {
        self.0.info()
    }

    fn metadata(&self) -> Vec<MetadataEntry> {
        self.0.metadata()
    }

    fn tensors(&self) -> Vec<TensorEntry> {
        self.0.tensors()
    }

    fn tokenize(&self, text: String, options: TokenizeOptions) -> Result<Vec<u32>, Error> {
        self.0.tokenize(&text, options)
    }

    fn detokenize(&self, tokens: Vec<u32>, render_special: bool) -> Result<Vec<u8>, Error> {
        self.0.detokenize(&tokens, render_special)
    }

    fn render_chat(
        &self,
        messages: Vec<ChatMessage>,
        options: ChatOptions,
    ) -> Result<String, Error> {
        self.0.render_chat(&messages, &options)
    }

    fn new_session(&self, options: SessionOptions) -> Result<exported::Session, Error> {
        let inner = self.0.new_session(options).inspect_err(M::refused)?;
        let middleware = M::new(&self.0, options, &inner)?;
        Ok(session(inner, middleware))
    }
}

/// A session, and the middleware's state for it. Calls into a session never overlap.
pub struct Session<M> {
    inner: inner::Session,
    middleware: RefCell<M>,
}

fn session<M: Middleware>(inner: inner::Session, middleware: M) -> exported::Session {
    exported::Session::new(Session {
        inner,
        middleware: RefCell::new(middleware),
    })
}

impl<M: Middleware> exported::GuestSession for Session<M> {
    fn configure(&self, options: GenerationOptions) -> Result<(), Error> {
        self.middleware
            .borrow_mut()
            .configure(&self.inner, &options)
    }

    fn set_draft_model(&self, draft: exported::ModelBorrow<'_>) -> Result<(), Error> {
        let draft = &draft.get::<Model<M>>().0;
        let mut middleware = self.middleware.borrow_mut();
        middleware.set_draft_model(&self.inner, draft)
    }

    fn feed(&self, tokens: Vec<u32>) -> Result<u32, Error> {
        self.middleware.borrow_mut().feed(&self.inner, &tokens)
    }

    fn next_token(&self) -> Result<Event, Error> {
        self.middleware.borrow_mut().next_token(&self.inner)
    }

    fn score(&self, tokens: Vec<u32>) -> Result<Vec<f32>, Error> {
        self.middleware.borrow_mut().score(&self.inner, &tokens)
    }

    fn truncate(&self, length: u32) -> Result<(), Error> {
        self.middleware.borrow_mut().truncate(&self.inner, length)
    }

    fn logits(&self) -> Result<Vec<f32>, Error> {
        self.middleware.borrow_mut().logits(&self.inner)
    }

    fn fork(&self) -> Result<exported::Session, Error> {
        let copy = self.inner.fork().inspect_err(M::refused)?;
        let middleware = self.middleware.borrow().fork(&self.inner, &copy)?;
        Ok(session(copy, middleware))
    }

    fn save(&self) -> Result<Vec<u8>, Error> {
        self.middleware.borrow_mut().save(&self.inner)
    }

    fn restore(&self, state: Vec<u8>) -> Result<(), Error> {
        self.middleware.borrow_mut().restore(&self.inner, &state)
    }

    fn usage(&self) -> Usage {
        self.middleware.borrow().usage(&self.inner)
    }
}
