//! The component: `wit/engine.wit` on top of this library. The only module that knows WIT.

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "llm-complete",
    });
    use super::Component;
    export!(Component);
}

mod convert;
mod imports;

use std::cell::RefCell;
use std::rc::Rc;

use bindings::exports::gust::llm::engine as wit;
use bindings::exports::gust::llm::packing as wit_packing;
use bindings::exports::gust::llm::trace as wit_trace;

use crate::chat::{self, Origin};
use crate::engine::{Model, Scope};
use crate::model::Mapping;
use crate::packing::PackedFile;
use crate::session::Session;
use crate::tokenizer::{EncodeOptions, SpecialTokens};
use crate::trace;
use imports::{Instances, Weights};

struct Component;

impl wit::Guest for Component {
    type Model = ModelHandle;
    type Session = SessionHandle;

    fn load_model(name: String, options: wit::LoadOptions) -> Result<wit::Model, wit::Error> {
        let scope = match options.scope {
            Some(wit::LoadScope::Metadata) => Scope::Metadata,
            Some(wit::LoadScope::Vocabulary) => Scope::Vocabulary,
            Some(wit::LoadScope::Full) | None => Scope::Full,
        };
        let mapping = match options.allow_mapping {
            Some(false) => Mapping::Copy,
            _ => Mapping::Allowed,
        };
        let blob = Weights::open(&name)?;
        let model = Model::load(&blob, scope, mapping, Rc::new(Instances::new()))?;
        Ok(wit::Model::new(ModelHandle(Rc::new(model))))
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

struct PackedHandle(PackedFile<Weights>);

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

struct ModelHandle(Rc<Model>);

impl wit::GuestModel for ModelHandle {
    fn info(&self) -> wit::ModelInfo {
        convert::info(&self.0)
    }

    fn metadata(&self) -> Vec<wit::MetadataEntry> {
        convert::metadata(&self.0.gguf().metadata)
    }

    fn tensors(&self) -> Vec<wit::TensorEntry> {
        self.0.gguf().tensors.iter().map(convert::tensor).collect()
    }

    fn tokenize(
        &self,
        text: String,
        options: wit::TokenizeOptions,
    ) -> Result<Vec<u32>, wit::Error> {
        let default = EncodeOptions::default();
        let options = EncodeOptions {
            add_special: options.add_special.unwrap_or(default.add_special),
            parse_special: options.parse_special.unwrap_or(default.parse_special),
        };
        Ok(self.0.tokenizer()?.encode(&text, options)?)
    }

    fn detokenize(&self, tokens: Vec<u32>, render_special: bool) -> Result<Vec<u8>, wit::Error> {
        let special = if render_special {
            SpecialTokens::Render
        } else {
            SpecialTokens::Hide
        };
        Ok(self.0.tokenizer()?.decode(&tokens, special)?)
    }

    fn render_chat(
        &self,
        messages: Vec<wit::ChatMessage>,
        options: wit::ChatOptions,
    ) -> Result<String, wit::Error> {
        let own = self.0.gguf().metadata.str("tokenizer.chat_template")?;
        let (template, origin) = match (&options.template, own) {
            (Some(template), _) => (template.as_str(), Origin::Caller),
            (None, Some(template)) => (template, Origin::Model),
            (None, None) => return Err(convert::no_template()),
        };
        let messages: Vec<_> = messages.into_iter().map(convert::message).collect();
        let tokenizer = self.0.tokenizer()?;
        let name = |id: Option<u32>| tokenizer.name(id?);
        let options = chat::ChatOptions {
            origin,
            add_generation_prompt: options.add_generation_prompt.unwrap_or(true),
            bos_token: name(tokenizer.bos()),
            eos_token: name(tokenizer.eos()),
            variables: options.variables.as_deref(),
        };
        Ok(chat::render(template, &messages, &options)?)
    }

    fn new_session(&self, options: wit::SessionOptions) -> Result<wit::Session, wit::Error> {
        let session = Session::new(Rc::clone(&self.0), convert::session_options(options))?;
        Ok(wit::Session::new(SessionHandle(RefCell::new(session))))
    }
}

/// No call is made into a session while another is: the component has one thread and calls nothing back.
struct SessionHandle(RefCell<Session>);

impl wit::GuestSession for SessionHandle {
    fn configure(&self, options: wit::GenerationOptions) -> Result<(), wit::Error> {
        let options = convert::generation_options(options);
        Ok(self.0.borrow_mut().configure(options)?)
    }

    fn set_draft_model(&self, draft: wit::ModelBorrow<'_>) -> Result<(), wit::Error> {
        let draft = Rc::clone(&draft.get::<ModelHandle>().0);
        Ok(self.0.borrow_mut().set_draft_model(draft)?)
    }

    fn feed(&self, tokens: Vec<u32>) -> Result<u32, wit::Error> {
        Ok(self.0.borrow_mut().feed(&tokens)? as u32)
    }

    fn next_token(&self) -> Result<wit::Event, wit::Error> {
        Ok(convert::event(self.0.borrow_mut().next_token()?))
    }

    fn score(&self, tokens: Vec<u32>) -> Result<Vec<f32>, wit::Error> {
        Ok(self.0.borrow_mut().score(&tokens)?)
    }

    fn truncate(&self, length: u32) -> Result<(), wit::Error> {
        Ok(self.0.borrow_mut().truncate(length as usize)?)
    }

    fn logits(&self) -> Result<Vec<f32>, wit::Error> {
        Ok(self.0.borrow_mut().logits()?.to_vec())
    }

    fn fork(&self) -> Result<wit::Session, wit::Error> {
        let copy = self.0.borrow_mut().fork()?;
        Ok(wit::Session::new(SessionHandle(RefCell::new(copy))))
    }

    fn save(&self) -> Result<Vec<u8>, wit::Error> {
        Ok(self.0.borrow_mut().save()?)
    }

    fn restore(&self, state: Vec<u8>) -> Result<(), wit::Error> {
        Ok(self.0.borrow_mut().restore(&state)?)
    }

    fn usage(&self) -> wit::Usage {
        convert::usage(self.0.borrow().usage())
    }
}
