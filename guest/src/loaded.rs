//! A loaded model: the file's metadata, and the tokenizer and weights as far as they were requested.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use crate::blob::{Blob, ONLY, only};
use crate::error::{Result, invalid_argument, invalid_model, unsupported};
use crate::gguf::{Gguf, Joined, Metadata};
use crate::model::{Adapter, Group, Mapping, Plan, Transformer};
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
    /// Opens a file by its name, with those that it is split into, and loads it.
    ///
    /// # Errors
    /// `not-found`, `invalid-model`, `unsupported`, `out-of-memory`, `io`.
    pub fn open<B: Blob>(
        name: &str,
        open: impl Fn(&str) -> Result<B>,
        scope: Scope,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        Self::open_with(name, None, open, scope, mapping, group)
    }

    /// The same with the vocabulary in the blob named `tokenizer` instead of the file's own, if there is one: a
    /// `tokenizer.json` of Hugging Face's.
    ///
    /// # Errors
    /// As [`open`](Self::open); `unsupported` in an engine without the feature `tokenizer-json`.
    pub fn open_with<B: Blob>(
        name: &str,
        tokenizer: Option<&str>,
        open: impl Fn(&str) -> Result<B>,
        scope: Scope,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        let (gguf, file) = Joined::open(name, &open)?;
        check_kind(&gguf.metadata, scope)?;
        // A file that ends with its header is deliberately just a header; if there is data, it must be complete. Several
        // files have been checked one by one.
        if file.is_one() && (scope == Scope::Full || file.size() > gguf.data_offset) {
            gguf.check_data(file.size())?;
        }
        let mut model = Self {
            gguf,
            tokenizer: None,
            transformer: None,
        };
        if scope >= Scope::Vocabulary {
            model.tokenizer = Some(match tokenizer {
                None => Tokenizer::from_metadata(&model.gguf.metadata)?,
                Some(name) => model.tokenizer_in(&open(name)?)?,
            });
        }
        if scope >= Scope::Full {
            let transformer = Transformer::load(&model.gguf, &file, mapping, group)?;
            model.check_vocabulary(transformer.plan())?;
            model.transformer = Some(RefCell::new(transformer));
        }
        Ok(model)
    }

    /// Loads a file.
    ///
    /// # Errors
    /// As [`open`](Self::open); one of several files is `not-found`, with the name of the next.
    pub fn load<B: Blob>(
        file: &B,
        scope: Scope,
        mapping: Mapping,
        group: Rc<dyn Group>,
    ) -> Result<Self> {
        Self::open(ONLY, only(file), scope, mapping, group)
    }

    /// Opens an adapter of this model by its name, and loads it. Sessions of the model take it.
    ///
    /// # Errors
    /// `not-found`; `unsupported` for a file that is no LoRA or changes what cannot be changed; `invalid-argument` for an
    /// adapter of another model, or if the weights are not loaded; `invalid-model`, `out-of-memory`, `io`.
    pub fn open_adapter<B: Blob>(
        &self,
        name: &str,
        open: impl Fn(&str) -> Result<B>,
    ) -> Result<Adapter> {
        let transformer = self.transformer()?;
        let (adapter, file) = Joined::open(name, open)?;
        if file.is_one() {
            adapter.check_data(file.size())?;
        }
        transformer.load_adapter(&self.gguf, &adapter, &file)
    }

    #[cfg(feature = "tokenizer-json")]
    fn tokenizer_in<B: Blob>(&self, file: &B) -> Result<Tokenizer> {
        let size = Tokenizer::check_json_size(file.size())?;
        let rows = crate::model::embedding_rows(&self.gguf)?;
        Tokenizer::from_json(&file.read(0, size)?, &self.gguf.metadata, rows)
    }

    #[cfg(not(feature = "tokenizer-json"))]
    fn tokenizer_in<B: Blob>(&self, _file: &B) -> Result<Tokenizer> {
        let expected = "an engine with the feature `tokenizer-json`";
        Err(unsupported("tokenizer.json", expected, "one without"))
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

/// Tells files that are not a whole model by what they say of themselves.
fn check_kind(metadata: &Metadata, scope: Scope) -> Result<()> {
    let what = match (metadata.str("general.type")?, scope) {
        (_, Scope::Metadata) | (None | Some("model"), _) | (Some("vocab"), Scope::Vocabulary) => {
            return Ok(());
        }
        (Some("adapter"), _) => {
            "adapter, a LoRA that changes a model; load the model that it was made for, and this file as its adapter (`--lora`)"
        }
        (Some("mmproj"), _) => {
            "mmproj, a projector for images or sound; load the model that it belongs to"
        }
        (Some("vocab"), _) => "vocab, a vocabulary without weights; load the whole model",
        (Some("imatrix"), _) => {
            "imatrix, a table for quantising a model; load the model that it was made from"
        }
        (Some(other), _) => other,
    };
    Err(unsupported("general.type", "model", what))
}

fn not_loaded(scope: &str) -> crate::error::Error {
    let expected = format!("at least `{scope}` for this call");
    invalid_argument("load scope", expected, "a smaller scope")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Writer;
    use crate::model::Solo;

    #[test]
    fn files_that_are_no_whole_model_say_what_they_are() {
        for (kind, word, smallest) in [
            ("adapter", "LoRA", Scope::Vocabulary),
            ("mmproj", "projector", Scope::Vocabulary),
            ("imatrix", "quantising", Scope::Vocabulary),
            ("vocab", "without weights", Scope::Full),
            ("strange", "strange", Scope::Vocabulary),
        ] {
            let mut writer = Writer::default();
            writer.metadata("general.type", kind);
            let file = writer.header();
            for scope in [Scope::Metadata, Scope::Vocabulary, Scope::Full] {
                let load = Model::load(&file, scope, Mapping::Copy, Rc::new(Solo));
                let message = load.err().map(|error| error.to_string());
                let says = message.unwrap_or_default();
                let named = says.contains("general.type") && says.contains(word);
                assert_eq!(named, scope >= smallest, "{kind}, {scope:?}: {says}");
            }
        }
    }
}
