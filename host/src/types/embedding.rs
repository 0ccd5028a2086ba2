//! Texts as vectors.

/// Which of a text's hidden states represent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// All of them: one vector per token.
    None,
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
    /// The last one.
    Last,
    /// The outputs of a classifier: one number per label. A reranker has one label, the relevance of a document.
    Rank,
}

/// What a model's file says about its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// Which hidden states represent a text.
    pub pooling: Pooling,
    /// Whether the model only embeds, and cannot generate text.
    pub embeds_only: bool,
    /// The classifier's labels, if it has any with names.
    pub labels: Vec<String>,
}
