//! Tests the tokenizer with llama.cpp's vocabularies and texts.

mod hostile;
/// Native only, as the judge is.
#[cfg(not(target_arch = "wasm32"))]
mod oracle;
mod reference;
