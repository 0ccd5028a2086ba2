//! A model's shape: the numbers in its metadata, checked. An architecture is a row of a table; all share one forward
//! pass.

use std::fmt::Display;

use super::kv_block::KvType;
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::{Gguf, Metadata, Value};

/// More layers than any model has; a file that claims more is not a model.
const MAX_LAYERS: u32 = 512;
/// The bound for every other dimension, so that a product of two fits into 64 bits and the size of a row into 32.
const MAX_DIM: u32 = 1 << 20;
/// The bound for the context length, in tokens.
const MAX_CONTEXT: u32 = 1 << 24;

/// Which dimensions of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// 2i and 2i + 1, as in the paper (ggml: NORM).
    Interleaved,
    /// i and i + n / 2, as in GPT-NeoX.
    Halves,
}

/// The architectures, by `general.architecture`, with what the metadata does not say about them. A model's tensors show
/// whether it has biases, query and key norms, or a separate output matrix.
const ARCHITECTURES: [(&str, Pairing); 3] = [
    ("llama", Pairing::Interleaved),
    ("qwen2", Pairing::Halves),
    ("qwen3", Pairing::Halves),
];

/// How rotary angles are scaled for contexts longer than in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all, or by the factors of the tensor `rope_freqs.weight`.
    None,
    /// All angles divided by a factor.
    Linear(f32),
    /// Llama 3: low frequencies are divided by the factor, high ones are kept, those in between are blended.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f32,
        /// A frequency is low if its wavelength is longer than the original context divided by this.
        low_freq_factor: f32,
        /// A frequency is high if its wavelength is shorter than the original context divided by this.
        high_freq_factor: f32,
        /// The original context length in tokens.
        original_context: f32,
    },
}

/// A model's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `general.architecture`.
    pub architecture: String,
    /// The context length in tokens that the model was trained for.
    pub context_length: u32,
    /// The width of the residual stream, E.
    pub n_embd: usize,
    /// The number of layers.
    pub n_layers: usize,
    /// The width of the feed-forward network's hidden layer, F.
    pub n_ff: usize,
    /// The number of query heads, H.
    pub n_heads: usize,
    /// The number of key and value heads, each shared by `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// The width of a head, D.
    pub head_dim: usize,
    /// The epsilon of the norms.
    pub rms_eps: f32,
    /// The number of a head's dimensions that are rotated.
    pub rope_dims: usize,
    /// The base of the frequencies (theta).
    pub rope_base: f32,
    /// Which dimensions are rotated together.
    pub rope_pairing: Pairing,
    /// How positions are scaled.
    pub rope_scaling: RopeScaling,
    /// The number of tokens in the vocabulary, V.
    pub n_vocab: usize,
}

impl Config {
    /// Reads a file's metadata.
    ///
    /// # Errors
    /// `unsupported` for an architecture, or a variant of one, that the forward pass does not support; `invalid-model`
    /// for numbers that are missing or inconsistent.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let metadata = &gguf.metadata;
        let name = metadata.str("general.architecture")?.unwrap_or("none");
        let Some((architecture, rope_pairing)) =
            ARCHITECTURES.into_iter().find(|(known, _)| *known == name)
        else {
            let known = ARCHITECTURES.map(|(name, _)| name).join(", ");
            return Err(unsupported("architecture", format!("one of {known}"), name));
        };
        let keys = Keys {
            metadata,
            architecture,
        };
        keys.reject_variants()?;
        let n_embd = keys.dimension("embedding_length", None)?;
        let n_heads = keys.dimension("attention.head_count", None)?;
        let head_dim = keys.dimension("attention.key_length", Some(n_embd / n_heads))?;
        let config = Self {
            architecture: name.to_owned(),
            context_length: keys.number("context_length", None, MAX_CONTEXT)?,
            n_embd,
            n_layers: keys.number("block_count", None, MAX_LAYERS)? as usize,
            n_ff: keys.dimension("feed_forward_length", None)?,
            n_heads,
            n_kv_heads: keys.dimension("attention.head_count_kv", Some(n_heads))?,
            head_dim,
            rms_eps: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            rope_dims: keys.dimension("rope.dimension_count", Some(head_dim))?,
            rope_base: keys.positive("rope.freq_base", Some(10_000.0))?,
            rope_pairing,
            rope_scaling: keys.rope_scaling()?,
            n_vocab: vocabulary_size(gguf)?,
        };
        config.check(&keys)?;
        Ok(config)
    }

    fn check(&self, keys: &Keys<'_>) -> Result<()> {
        let must = |holds: bool, key: &str, expected: &str, found: usize| {
            if holds {
                return Ok(());
            }
            Err(invalid_model(keys.full(key), expected, found))
        };
        let heads = "attention.head_count";
        must(
            self.n_heads.is_multiple_of(self.n_kv_heads),
            heads,
            "a multiple of attention.head_count_kv",
            self.n_heads,
        )?;
        let value_dim = keys.dimension("attention.value_length", Some(self.head_dim))?;
        if value_dim != self.head_dim {
            return Err(unsupported(
                keys.full("attention.value_length"),
                format!("{}, the same as the key length", self.head_dim),
                value_dim,
            ));
        }
        must(
            self.rope_dims.is_multiple_of(2) && self.rope_dims <= self.head_dim,
            "rope.dimension_count",
            "an even number, at most the width of a head",
            self.rope_dims,
        )?;
        must(
            self.n_heads as u64 * self.head_dim as u64 <= u64::from(MAX_DIM),
            heads,
            "heads with a total width of at most 2^20",
            self.n_heads,
        )
    }

    /// Bytes of keys and values per token, over all layers.
    pub fn kv_bytes_per_token(&self, kv_type: KvType) -> u64 {
        2 * self.n_layers as u64 * (self.n_kv_heads * kv_type.row_bytes(self.head_dim)) as u64
    }
}

/// The second dimension of the embedding matrix. The tokenizer must agree; this is checked where both are known.
fn vocabulary_size(gguf: &Gguf) -> Result<usize> {
    let name = "token_embd.weight";
    let tensor = gguf
        .tensor(name)
        .ok_or_else(|| invalid_model("tensors", format!("a tensor named `{name}`"), "none"))?;
    match *tensor.shape {
        [_, n_vocab] if (1..=u64::from(MAX_DIM)).contains(&n_vocab) => Ok(n_vocab as usize),
        _ => Err(invalid_model(
            format!("shape of `{name}`"),
            "[embedding length, vocabulary size up to 2^20]",
            format!("{:?}", tensor.shape),
        )),
    }
}

/// The keys of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'static str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number from 1 to `most`.
    fn number(&self, key: &str, default: Option<u32>, most: u32) -> Result<u32> {
        let key = self.full(key);
        let value = match self.metadata.get(&key) {
            // Some files have one number per layer; this engine only supports equal numbers.
            Some(Value::Array(array)) => {
                let first = array.get(0);
                if (1..array.len()).any(|i| array.get(i) != first) {
                    return Err(unsupported(
                        key,
                        "the same number for all layers",
                        "different ones",
                    ));
                }
                let first = first.and_then(|v| u32::try_from(v.as_integer()?).ok());
                Some(first.ok_or_else(|| {
                    invalid_model(
                        &key,
                        "an array of integers from 0 to 4294967295",
                        "other elements",
                    )
                })?)
            }
            _ => self.metadata.u32(&key)?,
        };
        let expected = || format!("a number from 1 to {most}");
        match value.or(default) {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            Some(number) => Err(invalid_model(key, expected(), number)),
            None => Err(invalid_model(key, expected(), "no such key")),
        }
    }

    fn dimension(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let default = default.map(|default| default as u32);
        Ok(self.number(key, default, MAX_DIM)? as usize)
    }

    fn positive(&self, key: &str, default: Option<f32>) -> Result<f32> {
        let key = self.full(key);
        let found: &dyn Display = match self.metadata.f32(&key)?.or(default) {
            Some(number) if number > 0.0 => return Ok(number),
            Some(_) => &"zero or less",
            None => &"no such key",
        };
        Err(invalid_model(key, "a number above 0", found))
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let key = self.full("rope.scaling.type");
        let scale_linear = self.metadata.f32(&self.full("rope.scale_linear"))?;
        match self.metadata.str(&key)? {
            None => Ok(match scale_linear {
                Some(_) => RopeScaling::Linear(self.positive("rope.scale_linear", None)?),
                None => RopeScaling::None,
            }),
            Some("none") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear(
                self.positive("rope.scaling.factor", None)?,
            )),
            Some("llama3") => self.llama3_scaling(),
            Some(other) => Err(unsupported(key, "none, linear or llama3", other)),
        }
    }

    fn llama3_scaling(&self) -> Result<RopeScaling> {
        let (low, high) = (
            "rope.scaling.low_freq_factor",
            "rope.scaling.high_freq_factor",
        );
        let original = "rope.scaling.original_context_length";
        let low_freq_factor = self.positive(low, Some(1.0))?;
        let high_freq_factor = self.positive(high, Some(4.0))?;
        if high_freq_factor <= low_freq_factor {
            let expected = format!("more than {low} ({low_freq_factor})");
            return Err(invalid_model(self.full(high), expected, high_freq_factor));
        }
        Ok(RopeScaling::Llama3 {
            factor: self.positive("rope.scaling.factor", None)?,
            low_freq_factor,
            high_freq_factor,
            original_context: self.number(original, None, MAX_CONTEXT)? as f32,
        })
    }

    /// Rejects variants that share the name of an architecture but are computed differently.
    fn reject_variants(&self) -> Result<()> {
        let experts = self.full("expert_count");
        match self.metadata.u32(&experts)? {
            None | Some(0) => {}
            Some(count) => return Err(unsupported(experts, "0 (a dense model)", count)),
        }
        let causal = self.full("attention.causal");
        if self.metadata.bool(&causal)? == Some(false) {
            return Err(unsupported(causal, "true", "false (an embedding model)"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::gguf::{Array, TensorType, Writer};

    /// A config from the keys of a small Llama. `changes` replaces some of them (`None` removes one).
    fn config(architecture: &str, changes: &[(&str, Option<Value>)]) -> Result<Config> {
        let mut keys = vec![
            ("context_length", Some(Value::U32(128))),
            ("embedding_length", Some(Value::U32(64))),
            ("block_count", Some(Value::U32(2))),
            ("feed_forward_length", Some(Value::U32(96))),
            ("attention.head_count", Some(Value::U32(4))),
            ("attention.head_count_kv", Some(Value::U32(2))),
            ("attention.layer_norm_rms_epsilon", Some(Value::F32(1e-5))),
        ];
        keys.retain(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
        let mut writer = Writer::default();
        writer.metadata("general.architecture", architecture);
        for (key, value) in keys.into_iter().chain(changes.iter().cloned()) {
            if let Some(value) = value {
                writer.metadata(&format!("{architecture}.{key}"), value);
            }
        }
        writer.tensor("token_embd.weight", TensorType::F32, &[64, 100]);
        Config::from_gguf(&Gguf::read(&writer.header())?)
    }

    #[track_caller]
    fn assert_refused(key: &str, value: Option<Value>, word: &str) {
        let error = config("llama", &[(key, value)]).expect_err(key);
        assert!(matches!(
            error,
            Error::InvalidModel(_) | Error::Unsupported(_)
        ));
        let message = error.to_string();
        assert!(message.contains(key) && message.contains(word), "{message}");
    }

    #[test]
    fn defaults_are_ggufs() {
        let config = config("llama", &[("attention.head_count_kv", None)]).unwrap();
        assert_eq!(
            (config.n_kv_heads, config.head_dim, config.rope_dims),
            (4, 16, 16)
        );
        assert_eq!((config.rope_base, config.n_vocab), (10_000.0, 100));
        assert_eq!(config.rope_scaling, RopeScaling::None);
        assert_eq!(config.kv_bytes_per_token(KvType::F16), 2 * 2 * 4 * 16 * 2);
    }

    #[test]
    fn an_architecture_decides_the_pairing() {
        for (name, pairing) in ARCHITECTURES {
            assert_eq!(config(name, &[]).unwrap().rope_pairing, pairing);
        }
        let message = config("mamba", &[]).unwrap_err().to_string();
        assert!(
            message.contains("mamba") && message.contains("qwen3"),
            "{message}"
        );
    }

    #[test]
    fn numbers_that_make_no_model() {
        for key in [
            "context_length",
            "embedding_length",
            "block_count",
            "feed_forward_length",
        ] {
            assert_refused(key, None, "no such key");
            assert_refused(key, Some(Value::U32(0)), "found 0");
            assert_refused(key, Some(Value::U32(u32::MAX)), "4294967295");
            assert_refused(key, Some("many".into()), "string");
        }
        assert_refused("block_count", Some(Value::U32(513)), "512");
        assert_refused("attention.head_count", Some(Value::U32(3)), "multiple");
        // 2^16 heads of 2^16 dimensions: the product has 33 bits.
        let wide = Some(Value::U32(1 << 16));
        let changes = [
            ("attention.head_count", wide.clone()),
            ("attention.key_length", wide.clone()),
            ("attention.value_length", wide),
        ];
        assert!(config("llama", &changes).is_err());
        assert_refused("rope.dimension_count", Some(Value::U32(15)), "even");
        assert_refused(
            "rope.dimension_count",
            Some(Value::U32(18)),
            "width of a head",
        );
        assert_refused("rope.freq_base", Some(Value::F32(0.0)), "above 0");
        assert_refused(
            "attention.layer_norm_rms_epsilon",
            Some(Value::F32(f32::NAN)),
            "finite",
        );
    }

    #[test]
    fn variants_that_are_computed_differently() {
        assert_refused("expert_count", Some(Value::U32(8)), "dense");
        assert_refused(
            "attention.causal",
            Some(Value::Bool(false)),
            "embedding model",
        );
        assert_refused("rope.scaling.type", Some("yarn".into()), "linear");
        assert_refused("attention.value_length", Some(Value::U32(8)), "key length");
        let layers = |counts: [i32; 2]| Some(Value::Array(Array::i32s(counts)));
        assert_refused("attention.head_count_kv", layers([2, 4]), "all layers");
        let config = config("llama", &[("attention.head_count_kv", layers([2, 2]))]).unwrap();
        assert_eq!(config.n_kv_heads, 2);
    }

    #[test]
    fn scaling_is_read_from_metadata() {
        let linear = [
            ("rope.scaling.type", Some("linear".into())),
            ("rope.scaling.factor", Some(Value::F32(4.0))),
        ];
        assert_eq!(
            config("llama", &linear).unwrap().rope_scaling,
            RopeScaling::Linear(4.0)
        );
        let llama3 = [
            ("rope.scaling.type", Some("llama3".into())),
            ("rope.scaling.factor", Some(Value::F32(8.0))),
            (
                "rope.scaling.original_context_length",
                Some(Value::U32(8192)),
            ),
        ];
        let expected = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        assert_eq!(config("llama", &llama3).unwrap().rope_scaling, expected);
    }
}
