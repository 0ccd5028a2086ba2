//! Tests the tokenizer with llama.cpp's vocabularies and texts.

mod hostile;
mod oracle;
mod reference;
