//! The component itself, which exports the engine.

use std::rc::Rc;

use super::bindings::exports::gust::llm::adapters as wit_adapters;
use super::bindings::exports::gust::llm::chat as wit_chat;
use super::bindings::exports::gust::llm::embedding as wit_embedding;
use super::bindings::exports::gust::llm::packing as wit_packing;
use super::bindings::exports::gust::llm::states as wit_states;
use super::bindings::exports::gust::llm::trace as wit_trace;
use super::imports::{Instances, Weights};
use super::{ModelHandle, SessionHandle, convert, wit};
use crate::embedding;
use crate::model::Adapter;
use crate::packing::PackedFile;
use crate::trace;

pub(super) struct Component;

impl wit::Guest for Component {
    type Model = ModelHandle;
    type Session = SessionHandle;

    fn load_model(name: String, options: wit::LoadOptions) -> Result<wit::Model, wit::Error> {
        let model = ModelHandle::load(&name, None, Weights::open, options, group())?;
        Ok(wit::Model::new(model))
    }
}

fn group() -> Rc<Instances> {
    Rc::new(Instances::new())
}

#[cfg(feature = "tokenizer-json")]
impl super::bindings::exports::gust::llm::tokenizers::Guest for Component {
    fn load_model(
        name: String,
        tokenizer: String,
        options: wit::LoadOptions,
    ) -> Result<wit::Model, wit::Error> {
        let tokenizer = Some(tokenizer.as_str());
        let model = ModelHandle::load(&name, tokenizer, Weights::open, options, group())?;
        Ok(wit::Model::new(model))
    }
}

impl wit_embedding::Guest for Component {
    fn info(model: wit::ModelBorrow<'_>) -> Result<wit_embedding::EmbeddingInfo, wit::Error> {
        let info = embedding::info(&model.get::<ModelHandle>().0)?;
        Ok(wit_embedding::EmbeddingInfo {
            pooling: convert::pooling_of(info.pooling),
            embeds_only: info.embeds_only,
            labels: info.labels,
        })
    }

    fn embed(
        model: wit::ModelBorrow<'_>,
        tokens: Vec<u32>,
        options: wit_embedding::EmbedOptions,
    ) -> Result<Vec<f32>, wit::Error> {
        let pooling = options.pooling.map(convert::pooling);
        let model = &model.get::<ModelHandle>().0;
        Ok(embedding::embed(model, &tokens, pooling)?)
    }

    fn tokenize(model: wit::ModelBorrow<'_>, text: String) -> Result<Vec<u32>, wit::Error> {
        Ok(embedding::tokenize(&model.get::<ModelHandle>().0, &text)?)
    }

    fn tokenize_pair(
        model: wit::ModelBorrow<'_>,
        query: String,
        document: String,
    ) -> Result<Vec<u32>, wit::Error> {
        let model = &model.get::<ModelHandle>().0;
        Ok(embedding::tokenize_pair(model, &query, &document)?)
    }
}

impl wit_chat::Guest for Component {
    fn render(
        model: wit::ModelBorrow<'_>,
        messages: Vec<wit_chat::Message>,
        options: wit_chat::RenderOptions,
    ) -> Result<wit_chat::Prompt, wit::Error> {
        model.get::<ModelHandle>().prompt(messages, options)
    }
}

impl wit_adapters::Guest for Component {
    type Adapter = AdapterHandle;

    fn load(
        name: String,
        model: wit::ModelBorrow<'_>,
    ) -> Result<wit_adapters::Adapter, wit::Error> {
        let model = &model.get::<ModelHandle>().0;
        let adapter = model.open_adapter(&name, Weights::open)?;
        Ok(wit_adapters::Adapter::new(AdapterHandle(Rc::new(adapter))))
    }

    fn left_out(adapter: wit_adapters::AdapterBorrow<'_>) -> Vec<String> {
        let AdapterHandle(adapter) = adapter.get::<AdapterHandle>();
        adapter.left_out().to_vec()
    }

    fn attach(
        session: wit::SessionBorrow<'_>,
        adapters: Vec<(wit_adapters::AdapterBorrow<'_>, f32)>,
    ) -> Result<(), wit::Error> {
        let adapters = adapters.iter().map(|(adapter, scale)| {
            let AdapterHandle(adapter) = adapter.get::<AdapterHandle>();
            (Rc::clone(adapter), *scale)
        });
        let adapters: Vec<_> = adapters.collect();
        let mut session = session.get::<SessionHandle>().0.borrow_mut();
        Ok(session.set_adapters(&adapters)?)
    }
}

pub(super) struct AdapterHandle(Rc<Adapter>);

impl wit_adapters::GuestAdapter for AdapterHandle {}

impl wit_states::Guest for Component {
    fn piece(session: wit::SessionBorrow<'_>, offset: u64) -> Result<Vec<u8>, wit::Error> {
        let mut session = session.get::<SessionHandle>().0.borrow_mut();
        Ok(session.save_piece(offset)?)
    }

    fn restore(session: wit::SessionBorrow<'_>, name: String) -> Result<(), wit::Error> {
        let state = Weights::open(&name)?;
        let mut session = session.get::<SessionHandle>().0.borrow_mut();
        Ok(session.restore_from(&state)?)
    }
}

impl wit_trace::Guest for Component {
    fn start() {
        trace::start();
    }

    fn stop() -> Vec<wit_trace::Lap> {
        let laps = trace::stop().into_iter();
        laps.map(|lap| wit_trace::Lap {
            operator: lap.operator.to_owned(),
            calls: lap.calls,
            nanoseconds: lap.time.as_nanos() as u64,
        })
        .collect()
    }
}

impl wit_packing::Guest for Component {
    type PackedFile = PackedHandle;

    fn open(name: String) -> Result<wit_packing::PackedFile, wit::Error> {
        let file = PackedFile::of(Weights::open(&name)?)?;
        Ok(wit_packing::PackedFile::new(PackedHandle(file)))
    }
}

pub(super) struct PackedHandle(PackedFile<Weights>);

impl wit_packing::GuestPackedFile for PackedHandle {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn changed_tensors(&self) -> u32 {
        self.0.changed_tensors() as u32
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, wit::Error> {
        Ok(self.0.read(offset, length as usize)?)
    }
}
