//! Tests the tokenizer with llama.cpp's vocabularies and texts.

mod charsmap;
mod hostile;
mod kinds;
/// Native only, as the judge is.
#[cfg(not(target_arch = "wasm32"))]
mod oracle;
mod reference;
