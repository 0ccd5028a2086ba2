//! A mock engine without a model, to test the components around an engine, and as a starting point for your own.
//!
//! Its tokens are bytes, and its answer is always the same sentence. It imports nothing from `gust:llm`, and exports
//! only what every engine has to.

#![cfg(target_arch = "wasm32")]

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from documented WIT"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "llm" });
    use super::Mock;
    export!(Mock);
}

use std::cell::RefCell;

use bindings::exports::gust::llm::engine::*;

/// The answer.
const ANSWER: &str = ", said the mock, and nothing more.";

/// The name of its only control token, 0.
const END: &str = "<|end|>";

/// The context length of a session in tokens.
const CONTEXT: u32 = 4096;

struct Mock;

impl Guest for Mock {
    type Model = NoModel;
    type Session = Talk;

    fn load_model(_name: String, _options: LoadOptions) -> Result<Model, Error> {
        Ok(Model::new(NoModel))
    }
}

struct NoModel;

impl GuestModel for NoModel {
    fn info(&self) -> ModelInfo {
        ModelInfo {
            architecture: "mock".to_owned(),
            name: "mock".to_owned(),
            parameters: 0,
            vocabulary_size: 256,
            context_length: CONTEXT,
            embedding_length: 0,
            block_count: 0,
            weight_bytes: 0,
            mapped_bytes: 0,
            kv_bytes_per_token: 0,
            bos: None,
            end_of_generation: Vec::new(),
            chat_template: None,
        }
    }

    fn metadata(&self) -> Vec<MetadataEntry> {
        Vec::new()
    }

    fn tensors(&self) -> Vec<TensorEntry> {
        Vec::new()
    }

    fn tokenize(&self, text: String, options: TokenizeOptions) -> Result<Vec<u32>, Error> {
        let text = match options.parse_special {
            Some(true) => text.replace(END, "\0"),
            _ => text,
        };
        Ok(text.bytes().map(u32::from).collect())
    }

    fn detokenize(&self, tokens: Vec<u32>, _render_special: bool) -> Result<Vec<u8>, Error> {
        Ok(tokens.iter().map(|&token| token as u8).collect())
    }

    fn render_chat(&self, messages: Vec<ChatMessage>, _: ChatOptions) -> Result<String, Error> {
        Ok(messages
            .into_iter()
            .map(|message| message.content)
            .collect())
    }

    fn new_session(&self, _options: SessionOptions) -> Result<Session, Error> {
        Ok(Session::new(Talk::default()))
    }
}

#[derive(Default)]
struct Talk(RefCell<State>);

#[derive(Clone, Default)]
struct State {
    used: u32,
    fed: u64,
    generated: u64,
    max_tokens: Option<u32>,
    /// How many bytes of the answer have been generated.
    said: usize,
}

impl GuestSession for Talk {
    fn configure(&self, options: GenerationOptions) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        (state.max_tokens, state.said) = (options.max_tokens, 0);
        Ok(())
    }

    fn set_draft_model(&self, _draft: ModelBorrow<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn feed(&self, tokens: Vec<u32>) -> Result<u32, Error> {
        let mut state = self.0.borrow_mut();
        let count = tokens.len() as u32;
        if count > CONTEXT - state.used {
            let limit = CONTEXT - state.used;
            return Err(Error::PromptTooLong(Overflow {
                tokens: count,
                limit,
            }));
        }
        state.used += count;
        state.fed += u64::from(count);
        state.said = 0;
        Ok(count)
    }

    fn next_token(&self) -> Result<Event, Error> {
        let mut state = self.0.borrow_mut();
        let finished = |reason| {
            Event::Finished(Finish {
                reason,
                bytes: Vec::new(),
            })
        };
        if state
            .max_tokens
            .is_some_and(|most| state.said >= most as usize)
        {
            return Ok(finished(FinishReason::Length));
        }
        let Some(&byte) = ANSWER.as_bytes().get(state.said) else {
            return Ok(finished(FinishReason::EndOfSequence));
        };
        if state.used == CONTEXT {
            return Err(Error::ContextFull(CONTEXT));
        }
        state.said += 1;
        state.used += 1;
        state.generated += 1;
        Ok(Event::Token(TokenEvent {
            id: u32::from(byte),
            bytes: vec![byte],
            logprob: None,
            top: Vec::new(),
        }))
    }

    fn score(&self, tokens: Vec<u32>) -> Result<Vec<f32>, Error> {
        self.feed(tokens.clone())?;
        Ok(vec![0.0; tokens.len()])
    }

    fn truncate(&self, length: u32) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        state.used = state.used.min(length);
        Ok(())
    }

    fn logits(&self) -> Result<Vec<f32>, Error> {
        Ok(vec![0.0; 256])
    }

    fn fork(&self) -> Result<Session, Error> {
        Ok(Session::new(Talk(self.0.clone())))
    }

    fn save(&self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    fn restore(&self, _state: Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn usage(&self) -> Usage {
        let state = self.0.borrow();
        Usage {
            context_used: state.used,
            context_length: CONTEXT,
            fed: state.fed,
            generated: state.generated,
            kv_bytes: 0,
            drafted: 0,
            accepted: 0,
        }
    }
}
