//! A loaded model: the file's metadata, and the tokenizer and weights as far as they were requested.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use crate::blob::Blob;
use crate::error::{Result, invalid_argument, invalid_model};
use crate::gguf::Gguf;
use crate::model::{Group, Mapping, Plan, Transformer};
use crate::tokenizer::Tokenizer;

/// How much of a file to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The metadata and the tensor table.
    Metadata,
    /// The tokenizer as well.
    Vocabulary,
    /// Everything.
    Full,
}

/// A loaded model.
pub struct Model {
    gguf: Gguf,
    tokenizer: Option<Tokenizer>,
    /// Shared by the sessions, which take turns.
    transformer: Option<RefCell<Transformer>>,
}

impl Model {
    /// Loads a file.
    ///
    /// # Errors
    /// `invalid-model`, `unsupported`, `out-of-memory`, `io`.
    pub fn load(
        blob: &dyn Blob,
        scope: Scope,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        let gguf = Gguf::read(blob)?;
        // A file that ends with its header is deliberately just a header; if there is data, it must be complete.
        if scope == Scope::Full || blob.size() > gguf.data_offset {
            gguf.check_data(blob.size())?;
        }
        let mut model = Self {
            gguf,
            tokenizer: None,
            transformer: None,
        };
        if scope >= Scope::Vocabulary {
            model.tokenizer = Some(Tokenizer::from_metadata(&model.gguf.metadata)?);
        }
        if scope >= Scope::Full {
            let transformer = Transformer::load(&model.gguf, blob, mapping, group)?;
            model.check_vocabulary(transformer.plan())?;
            model.transformer = Some(RefCell::new(transformer));
        }
        Ok(model)
    }

    fn check_vocabulary(&self, plan: &Plan) -> Result<()> {
        let tokens = self.tokenizer()?.vocab_size() as usize;
        if tokens != plan.n_vocab {
            let expected = format!("one for each of {tokens} tokens");
            return Err(invalid_model(
                "rows of `token_embd.weight`",
                expected,
                plan.n_vocab,
            ));
        }
        Ok(())
    }

    /// Metadata and tensors.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// The model's shape, if the weights are loaded.
    pub fn plan(&self) -> Option<Plan> {
        Some(self.transformer.as_ref()?.borrow().plan().clone())
    }

    /// Bytes of weights that were mapped instead of copied.
    pub fn mapped_bytes(&self) -> u64 {
        self.transformer
            .as_ref()
            .map_or(0, |transformer| transformer.borrow().mapped_bytes())
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// `invalid-argument` if only the metadata was loaded.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer
            .as_ref()
            .ok_or_else(|| not_loaded("vocabulary"))
    }

    /// The forward pass.
    ///
    /// # Errors
    /// `invalid-argument` if the weights were not loaded.
    pub(crate) fn transformer(&self) -> Result<RefMut<'_, Transformer>> {
        let transformer = self
            .transformer
            .as_ref()
            .ok_or_else(|| not_loaded("full"))?;
        Ok(transformer.borrow_mut())
    }
}

fn not_loaded(scope: &str) -> crate::error::Error {
    let expected = format!("at least `{scope}` for this call");
    invalid_argument("load scope", expected, "a smaller scope")
}
