//! The tokenizer against llama.cpp's vocabularies and texts.

mod hostile;
mod oracle;
mod reference;
