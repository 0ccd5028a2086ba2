//! gust in 40 lines, with a stock Wasmtime, gust's WIT and `gust-solo.wasm`. From the root of the repository:
//!
//! ```text
//! cargo xtask compose
//! cargo run --release -p gust-example-embed -- \
//!     target/components/gust-solo.wasm models gust-stories-q8_0.gguf "Once upon a time"
//! ```
//!
//! For your own project, copy this file and the folder `wit`, set `path` below to the new location of the folder, and
//! add the dependencies of this example's `Cargo.toml`. Build it with `--release`: Wasmtime's compiler becomes part of
//! the program, and compiles the component each time the program starts.

use std::io::Write;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use contract::Llm;
use contract::exports::gust::llm::engine::{
    Event, GenerationOptions, LoadOptions, SessionOptions, TokenizeOptions,
};

mod contract {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    wasmtime::component::bindgen!({ path: "../../wit", world: "llm" });
}

struct State(WasiCtx, ResourceTable);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let State(ctx, table) = self;
        WasiCtxView { ctx, table }
    }
}

#[rustfmt::skip]
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [component, folder, file, prompt] = &args[..] else {
        wasmtime::bail!("usage: embed gust-solo.wasm FOLDER MODEL PROMPT");
    };
    let engine = Engine::default();
    let component = Component::from_file(&engine, component)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let wasi = WasiCtx::builder().preopened_dir(folder, "models", FsPerms::ReadOnly)?.build();
    let mut store = Store::new(&engine, State(wasi, ResourceTable::new()));
    let llm = Llm::instantiate(&mut store, &component, &linker)?;
    let (gust, model, session) = (llm.gust_llm_engine(), llm.gust_llm_engine().model(), llm.gust_llm_engine().session());

    let options = LoadOptions { scope: None, allow_mapping: None };
    let m = gust.call_load_model(&mut store, &format!("models/{file}"), options)??;
    let options = TokenizeOptions { add_special: None, parse_special: None };
    let mut tokens = model.call_tokenize(&mut store, m, prompt, options)??;
    let s = model.call_new_session(&mut store, m, SessionOptions { context_length: None, kv_type: None })??;
    session.call_configure(&mut store, s, &GenerationOptions {
        seed: Some(42), max_tokens: Some(64), temperature: None, top_k: None, top_p: None, min_p: None, typical_p: None,
        repeat_penalty: None, frequency_penalty: None, presence_penalty: None, penalty_window: None, stop: None,
        ignore_end: None, logprobs: None, lookup: None, draft_max: None,
    })??;
    while !tokens.is_empty() {
        let taken = session.call_feed(&mut store, s, &tokens)??;
        tokens.drain(..taken as usize);
    }
    print!("{prompt}");
    while let Event::Token(token) = session.call_next_token(&mut store, s)?? {
        std::io::stdout().write_all(&token.bytes)?;
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
