//! The reader against ggml's own test files and one file of our own per published class of bug.

use super::*;
use crate::error::Error;
use crate::gguf::Writer;
