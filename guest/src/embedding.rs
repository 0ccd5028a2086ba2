//! Texts as vectors: embedding models, and rerankers, which see a query and a document together.

use crate::error::{Error, Result, invalid_argument};
use crate::gguf::Value;
use crate::loaded::Model;
use crate::model::{KvType, Pooling};
use crate::tokenizer::{EncodeOptions, Tokenizer};

/// The longest label that is listed, in bytes.
const MAX_LABEL: usize = 1024;
/// The most labels that are listed.
const MAX_LABELS: usize = 1024;

/// What a model's file says about its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// Which hidden states represent a text.
    pub pooling: Pooling,
    /// Whether the model cannot generate text.
    pub embeds_only: bool,
    /// The classifier's labels, if it has any.
    pub labels: Vec<String>,
}

/// What the model's file says about its vectors.
///
/// # Errors
/// `invalid-argument` if the weights are not loaded.
pub fn info(model: &Model) -> Result<EmbeddingInfo> {
    let transformer = model.transformer()?;
    let plan = transformer.plan();
    let key = format!("{}.classifier.output_labels", plan.architecture);
    let labels = match model.gguf().metadata.get(&key) {
        Some(Value::Array(labels)) => {
            let labels = labels.iter_strings().take(MAX_LABELS);
            let text = |label: &[u8]| {
                String::from_utf8_lossy(&label[..label.len().min(MAX_LABEL)]).into_owned()
            };
            labels.map(text).collect()
        }
        _ => Vec::new(),
    };
    Ok(EmbeddingInfo {
        pooling: plan.pooling.kind,
        embeds_only: !plan.can_generate(),
        labels,
    })
}

/// The vectors of a text, concatenated; without `pooling`, those that the file asks for.
///
/// # Errors
/// `invalid-argument` for no tokens, one outside the vocabulary, or a pooling that the model has no tensors for;
/// `prompt-too-long`; `out-of-memory`; `aborted`.
pub fn embed(model: &Model, tokens: &[u32], pooling: Option<Pooling>) -> Result<Vec<f32>> {
    if tokens.is_empty() {
        return Err(invalid_argument("tokens", "at least one", "none"));
    }
    let n_vocab = model.tokenizer()?.vocab_size();
    if let Some(token) = tokens.iter().find(|token| **token >= n_vocab) {
        let expected = format!("a number below {n_vocab}");
        return Err(invalid_argument("token", expected, token));
    }
    let mut transformer = model.transformer()?;
    let limit = transformer.plan().context_length;
    if tokens.len() > limit as usize {
        let tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        return Err(Error::PromptTooLong { tokens, limit });
    }
    let pooling = pooling.unwrap_or(transformer.plan().pooling.kind);
    // Keys and values are needed for this text only, so they are as exact as can be.
    let mut state = transformer.new_state(KvType::F32, tokens.len())?;
    let hidden = transformer.encode(tokens, &mut state)?;
    transformer.pool(&hidden, pooling)
}

/// The tokens of a text that is to be embedded.
///
/// # Errors
/// `invalid-argument` if only the metadata is loaded, or for a text that is too long.
pub fn tokenize(model: &Model, text: &str) -> Result<Vec<u32>> {
    model.tokenizer()?.encode_whole(text)
}

/// The tokens of a query and a document: in the template that the file has for them, or the query and then the document,
/// each as a text.
///
/// # Errors
/// `invalid-argument` if only the metadata is loaded, or for texts that are too long.
pub fn tokenize_pair(model: &Model, query: &str, document: &str) -> Result<Vec<u32>> {
    let tokenizer = model.tokenizer()?;
    let template = model
        .gguf()
        .metadata
        .str("tokenizer.chat_template.rerank")?;
    match template {
        Some(template) => in_template(tokenizer, template, query, document),
        None => tokenizer.encode_pair(query, document),
    }
}

/// The tokens of a template with `{query}` and `{document}`. Control tokens come from the template alone.
fn in_template(
    tokenizer: &Tokenizer,
    template: &str,
    query: &str,
    document: &str,
) -> Result<Vec<u32>> {
    let options = |parse_special| EncodeOptions {
        add_special: false,
        parse_special,
    };
    let parts = parts(template, query, document);
    let whole: String = parts.iter().map(|(text, _)| *text).collect();
    let together = tokenizer.encode(&whole, options(true))?;
    let mut apart = Vec::new();
    for (text, is_template) in &parts {
        apart.extend(tokenizer.encode(text, options(*is_template))?);
    }
    // Words may reach from one part into the next, so the whole is right unless a text has the name of a control token.
    let markers = |tokens: &[u32]| {
        let markers = tokens.iter().filter(|token| tokenizer.is_marker(**token));
        markers.count()
    };
    match markers(&together) == markers(&apart) {
        true => Ok(together),
        false => Ok(apart),
    }
}

/// The texts that a template consists of, and whether each is the template's own.
fn parts<'t>(template: &'t str, query: &'t str, document: &'t str) -> Vec<(&'t str, bool)> {
    let mut parts = Vec::new();
    let mut rest = template;
    loop {
        let places = [("{query}", query), ("{document}", document)];
        let next = places.into_iter().filter_map(|(name, text)| {
            let at = rest.find(name)?;
            Some((at, at + name.len(), text))
        });
        let Some((start, end, text)) = next.min() else {
            parts.push((rest, true));
            return parts;
        };
        parts.push((&rest[..start], true));
        parts.push((text, false));
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests;
