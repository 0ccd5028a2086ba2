//! The contract, `wit/engine.wit`, implemented with this library. The only module that knows WIT.
//!
//! [`convert`] has the records, `export` turns it into a component, and [`linked`] offers the same to a program that
//! links the engine in.

/// The bindings of a world.
macro_rules! bindings {
    ($world:literal) => {
        #[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
        #[allow(
            missing_docs,
            unreachable_pub,
            dead_code,
            clippy::all,
            reason = "generated from documented WIT; only a component uses all of it"
        )]
        mod bindings {
            wit_bindgen::generate!({
                path: "../wit",
                world: $world,
                // For `linked`. An absent field has its default, including fields that later versions of the contract add.
                additional_type_attributes: {
                    "gust:llm/engine@0.1.0/load-options": [#[derive(Default)]],
                    "gust:llm/engine@0.1.0/session-options": [#[derive(Default)]],
                    "gust:llm/engine@0.1.0/generation-options": [#[derive(Default)]],
                    "gust:llm/engine@0.1.0/tokenize-options": [#[derive(Default)]],
                    "gust:llm/engine@0.1.0/chat-options": [#[derive(Default)]],
                    "gust:llm/chat@0.1.0/message": [#[derive(Default)]],
                    "gust:llm/chat@0.1.0/render-options": [#[derive(Default)]],
                },
            });
            // A native build has nothing to export to, and exporting would not link.
            #[cfg(all(target_arch = "wasm32", feature = "component"))]
            use super::export::Component;
            #[cfg(all(target_arch = "wasm32", feature = "component"))]
            export!(Component);
        }
    };
}

#[cfg(not(feature = "tokenizer-json"))]
bindings!("llm-complete");
#[cfg(feature = "tokenizer-json")]
bindings!("llm-with-tokenizers");

mod convert;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
mod export;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
mod imports;
pub mod linked;

use std::cell::RefCell;
use std::rc::Rc;

use bindings::exports::gust::llm::chat as wit_chat;
use bindings::exports::gust::llm::engine as wit;
use wit::{GuestModel, GuestSession};

use crate::blob::Blob;
use crate::chat::{self, Clock, Origin, families};
use crate::loaded::{Model, Scope};
use crate::model::{Group, Mapping};
use crate::session::Session;
use crate::tokenizer::{EncodeOptions, SpecialTokens};

/// Lets the host end a call that takes too long. Whether it was cancelled is asked again where that can be an answer.
pub(crate) fn beat() {
    // Unit tests have no host.
    #[cfg(all(target_arch = "wasm32", feature = "component", not(test)))]
    let _ = bindings::gust::llm::collective::checkpoint();
}

struct ModelHandle(Rc<Model>);

impl ModelHandle {
    /// Loads the model of this name, with its own vocabulary or with that of the blob named `tokenizer`.
    fn load<B: Blob>(
        name: &str,
        tokenizer: Option<&str>,
        open: impl Fn(&str) -> crate::error::Result<B>,
        options: wit::LoadOptions,
        group: Rc<dyn Group>,
    ) -> Result<Self, wit::Error> {
        let scope = match options.scope {
            Some(wit::LoadScope::Metadata) => Scope::Metadata,
            Some(wit::LoadScope::Vocabulary) => Scope::Vocabulary,
            Some(wit::LoadScope::Full) | None => Scope::Full,
        };
        let mapping = match options.allow_mapping {
            Some(false) => Mapping::Copy,
            _ => Mapping::Allowed,
        };
        let model = Model::open_with(name, tokenizer, open, scope, mapping, group)?;
        Ok(Self(Rc::new(model)))
    }

    /// The template to use, and whose it is: the caller's or the one that the caller names, the model's, or that of the
    /// model's family.
    fn template<'t>(
        &'t self,
        of_caller: Option<&'t str>,
        tools: Option<&str>,
    ) -> Result<(&'t str, Origin), wit::Error> {
        if let Some(template) = of_caller {
            return Ok((
                families::named(template)?.unwrap_or(template),
                Origin::Caller,
            ));
        }
        if let Some(own) = convert::own_template(&self.0, tools)? {
            return Ok((own, Origin::Model));
        }
        let assumed = families::assumed(self.0.tokenizer()?, &self.0.gguf().metadata);
        let template = assumed.and_then(|assumed| families::template(assumed.name));
        Ok((template.ok_or_else(convert::no_template)?, Origin::Model))
    }

    /// What a template is told of the model.
    fn chat_options(&self, origin: Origin) -> Result<chat::ChatOptions<'_>, wit::Error> {
        let tokenizer = self.0.tokenizer()?;
        let name = |id: Option<u32>| tokenizer.name(id?);
        Ok(chat::ChatOptions {
            origin,
            add_generation_prompt: true,
            bos_token: name(tokenizer.bos()),
            eos_token: name(tokenizer.eos()),
            tools: None,
            variables: None,
            clock: Clock::None,
        })
    }

    /// The call `render` of `wit/chat.wit`.
    fn prompt(
        &self,
        messages: Vec<wit_chat::Message>,
        options: wit_chat::RenderOptions,
    ) -> Result<wit_chat::Prompt, wit::Error> {
        let messages: Vec<_> = messages.into_iter().map(convert::turn).collect();
        let (template, origin) =
            self.template(options.template.as_deref(), options.tools.as_deref())?;
        let chat = chat::ChatOptions {
            add_generation_prompt: options.add_generation_prompt.unwrap_or(true),
            tools: options.tools.as_deref(),
            variables: options.variables.as_deref(),
            clock: options.now.map_or(Clock::None, Clock::At),
            ..self.chat_options(origin)?
        };
        let prompt = chat::prompt(self.0.tokenizer()?, template, &messages, &chat)?;
        Ok(wit_chat::Prompt {
            tokens: prompt.tokens,
            text: prompt.text,
        })
    }

    fn session(&self, options: wit::SessionOptions) -> Result<SessionHandle, wit::Error> {
        let session = Session::new(Rc::clone(&self.0), convert::session_options(options))?;
        Ok(SessionHandle(RefCell::new(session)))
    }
}

impl GuestModel for ModelHandle {
    fn info(&self) -> wit::ModelInfo {
        convert::info(&self.0)
    }

    fn metadata(&self) -> Vec<wit::MetadataEntry> {
        convert::metadata(&self.0)
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
        let messages: Vec<_> = messages.into_iter().map(convert::message).collect();
        let (template, origin) = self.template(options.template.as_deref(), None)?;
        let chat = chat::ChatOptions {
            add_generation_prompt: options.add_generation_prompt.unwrap_or(true),
            variables: options.variables.as_deref(),
            clock: Clock::Default,
            ..self.chat_options(origin)?
        };
        Ok(chat::render(template, &messages, &chat)?.text)
    }

    fn new_session(&self, options: wit::SessionOptions) -> Result<wit::Session, wit::Error> {
        Ok(wit::Session::new(self.session(options)?))
    }
}

/// Calls into a session never overlap: the component has one thread and makes no callbacks.
struct SessionHandle(RefCell<Session>);

impl GuestSession for SessionHandle {
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
