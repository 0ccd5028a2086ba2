//! Reads the metadata of an architecture: typed, within bounds, and with GGUF's defaults. An error names the key.

use std::fmt::Display;

use super::super::plan::{
    ClassifierActivation, NormKind, NormSpec, Pairing, Pooling, PoolingSpec, RopeScaling, RopeSpec,
};
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::{Gguf, Metadata, Value};

/// More layers than any model has; a file that claims more is not a model.
pub(super) const MAX_LAYERS: u32 = 512;
/// The bound for every other dimension, so that a product of two fits into 64 bits and the size of a row into 32.
pub(super) const MAX_DIM: u32 = 1 << 20;
/// The bound for the number of experts.
pub(super) const MAX_EXPERTS: u32 = 512;
/// The bound for the number of a classifier's outputs.
const MAX_LABELS: u64 = 1 << 16;
/// A kind of pooling that a file leaves open: llama.cpp's -1, which it writes into files that it saves.
pub(super) const UNSPECIFIED: u32 = u32::MAX;
/// The bound for the context length, in tokens.
pub(super) const MAX_CONTEXT: u32 = 1 << 24;

/// The keys of one architecture.
pub(crate) struct Keys<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: &'a str,
    /// Rows of the embedding matrix, V.
    pub(super) n_vocab: usize,
}

impl Keys<'_> {
    /// Whether the file has a tensor with this name.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The rows of a matrix, if the file has it.
    pub(super) fn rows_of(&self, name: &str) -> Option<u64> {
        self.gguf.tensor(name)?.shape.get(1).copied()
    }

    pub(super) fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number from 1 to `most`. If it is missing or 0, the default.
    pub(super) fn number(&self, key: &str, default: Option<u32>, most: u32) -> Result<u32> {
        let numbers = self.numbers(key)?;
        let first = numbers.first().copied();
        if numbers.iter().any(|number| Some(*number) != first) {
            return Err(unsupported(
                self.full(key),
                "the same number for all layers",
                "different ones",
            ));
        }
        self.within(key, first, default, most)
    }

    /// The number for layer `l`, from 1 to `most`; `None` if it is missing or 0. One number holds for all layers.
    pub(super) fn number_of_layer(&self, key: &str, l: usize, most: u32) -> Result<Option<u32>> {
        let numbers = self.numbers(key)?;
        let number = match *numbers {
            [one] => Some(one),
            _ => numbers.get(l).copied(),
        };
        match number {
            None | Some(0) => Ok(None),
            number => self.within(key, number, None, most).map(Some),
        }
    }

    /// A number, or one for each layer; none if there is no such key.
    fn numbers(&self, key: &str) -> Result<Vec<u32>> {
        let key = self.full(key);
        let Some(Value::Array(array)) = self.metadata.get(&key) else {
            return Ok(self.metadata.u32(&key)?.into_iter().collect());
        };
        check_len(&key, array.len())?;
        let number = |i: usize| {
            let number = array
                .get(i)
                .and_then(|v| u32::try_from(v.as_integer()?).ok());
            number.ok_or_else(|| {
                let expected = "an array of integers from 0 to 4294967295";
                invalid_model(&key, expected, "other elements")
            })
        };
        (0..array.len()).map(number).collect()
    }

    fn within(
        &self,
        key: &str,
        value: Option<u32>,
        default: Option<u32>,
        most: u32,
    ) -> Result<u32> {
        let expected = || format!("a number from 1 to {most}");
        match value
            .filter(|number| *number > 0 || default.is_none())
            .or(default)
        {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            Some(number) => Err(invalid_model(self.full(key), expected(), number)),
            None => Err(invalid_model(self.full(key), expected(), "no such key")),
        }
    }

    /// A number above 0 that may be missing; 0 means the same. Lists count by their largest number.
    pub(super) fn largest_or_none(&self, key: &str, most: u32) -> Result<Option<u32>> {
        match self.numbers(key)?.into_iter().max() {
            None | Some(0) => Ok(None),
            largest => self.within(key, largest, None, most).map(Some),
        }
    }

    /// The number above 0 for layer `l` that may be missing; 0 means the same. One number holds for all layers.
    pub(super) fn float_of_layer(&self, key: &str, l: usize) -> Result<Option<f32>> {
        let full = self.full(key);
        let number = match self.metadata.get(&full) {
            Some(Value::Array(array)) => match array.get(l) {
                Some(Value::F32(number)) => Some(number),
                Some(Value::F64(number)) => Some(number as f32),
                _ => None,
            },
            _ => self.metadata.f32(&full)?,
        };
        match number {
            None | Some(0.0) => Ok(None),
            Some(number) if number > 0.0 => Ok(Some(number)),
            Some(number) => Err(invalid_model(full, "a number above 0", number)),
        }
    }

    /// The number of any sign for layer `l`, by its full key. One number holds for all layers.
    pub(super) fn signed_of_layer(&self, key: &str, l: usize) -> Result<f32> {
        let number = match self.metadata.get(key) {
            Some(Value::Array(array)) => match array.get(l) {
                Some(Value::F32(number)) if number.is_finite() => Some(number),
                _ => None,
            },
            _ => self.metadata.f32(key)?,
        };
        let expected = "a finite f32, or one for each layer";
        number.ok_or_else(|| invalid_model(key, expected, "none"))
    }

    /// A number that is 0 or above.
    fn not_negative(&self, key: &str) -> Result<f32> {
        let key = self.full(key);
        let found: &dyn Display = match self.metadata.f32(&key)? {
            Some(number) if number >= 0.0 => return Ok(number),
            Some(_) => &"less, or none",
            None => &"no such key",
        };
        Err(invalid_model(key, "a number of at least 0", found))
    }

    /// The norm of this kind, with its epsilon.
    pub(super) fn norm(&self, kind: NormKind) -> Result<NormSpec> {
        let key = match kind {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        Ok(NormSpec {
            kind,
            eps: self.not_negative(key)?,
            has_weight: true,
        })
    }

    pub(super) fn dimension(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let default = default.map(|default| default as u32);
        Ok(self.number(key, default, MAX_DIM)? as usize)
    }

    pub(super) fn positive(&self, key: &str, default: Option<f32>) -> Result<f32> {
        let key = self.full(key);
        let value = self.metadata.f32(&key)?;
        let value = value.filter(|number| *number != 0.0 || default.is_none());
        let found: &dyn Display = match value.or(default) {
            Some(number) if number > 0.0 => return Ok(number),
            Some(_) => &"zero or less",
            None => &"no such key",
        };
        Err(invalid_model(key, "a number above 0", found))
    }

    /// A number that may be missing; 0 means the same.
    pub(super) fn number_or_none(&self, key: &str, most: u32) -> Result<Option<u32>> {
        match self.numbers(key)?.iter().all(|number| *number == 0) {
            true => Ok(None),
            false => self.number(key, None, most).map(Some),
        }
    }

    /// True or false, if the key is there.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.metadata.bool(&self.full(key))
    }

    /// A dimension that may be missing; 0 means the same.
    pub(super) fn dimension_or_none(&self, key: &str) -> Result<Option<usize>> {
        let number = self.number_or_none(key, MAX_DIM)?;
        Ok(number.map(|number| number as usize))
    }

    /// A number above 0 that may be missing; 0 means the same.
    pub(super) fn positive_or_none(&self, key: &str) -> Result<Option<f32>> {
        match self.metadata.f32(&self.full(key))? {
            None | Some(0.0) => Ok(None),
            Some(_) => self.positive(key, None).map(Some),
        }
    }

    /// Which of `n` layers are special: a list of flags, or a period (default: `period`), of which all but one are: the
    /// first or the last. A period of 0 makes all special.
    pub(super) fn pattern(
        &self,
        key: &str,
        period: u32,
        is_first: bool,
        n: usize,
    ) -> Result<Vec<bool>> {
        let full = self.full(key);
        if let Some(Value::Array(array)) = self.metadata.get(&full) {
            check_len(&full, array.len())?;
            let flag = |value: Value| match value {
                Value::Bool(flag) => Some(flag),
                other => other.as_integer().map(|number| number != 0),
            };
            let flags: Option<Vec<bool>> = (0..array.len()).map(|i| flag(array.get(i)?)).collect();
            return match flags {
                Some(flags) if flags.len() >= n => Ok(flags),
                _ => Err(invalid_model(
                    full,
                    format!("a flag for each of {n} layers"),
                    format!("{} values", array.len()),
                )),
            };
        }
        let period = self.metadata.u32(&full)?.unwrap_or(period) as usize;
        let at = |l: usize| match is_first {
            _ if period == 0 => true,
            true => !l.is_multiple_of(period),
            false => l % period < period - 1,
        };
        Ok((0..n).map(at).collect())
    }

    /// How a text's hidden states become one vector.
    pub(super) fn pooling(&self) -> Result<PoolingSpec> {
        let key = self.full("pooling_type");
        let kind = match self.metadata.u32(&key)? {
            None | Some(0 | UNSPECIFIED) => Pooling::None,
            Some(1) => Pooling::Mean,
            Some(2) => Pooling::Cls,
            Some(3) => Pooling::Last,
            Some(4) => Pooling::Rank,
            Some(other) => {
                let expected = "0 (none), 1 (mean), 2 (cls), 3 (last) or 4 (rank)";
                return Err(unsupported(key, expected, other));
            }
        };
        let is_causal = self.flag("attention.causal")?.unwrap_or(true);
        let key = self.full("classifier.output_labels");
        let n_labels = match self.metadata.get(&key) {
            Some(Value::Array(labels)) if labels.len() as u64 > MAX_LABELS => {
                let expected = format!("at most {MAX_LABELS} labels");
                return Err(unsupported(key, expected, labels.len()));
            }
            Some(Value::Array(labels)) => labels.len().max(1),
            _ => 1,
        };
        Ok(PoolingSpec {
            kind,
            classified: match is_causal {
                true => Pooling::Last,
                false => Pooling::Cls,
            },
            classifier: ClassifierActivation::Tanh,
            has_softmax: matches!(self.architecture, "qwen3" | "qwen3vl"),
            n_labels,
        })
    }

    /// How `dims` dimensions are rotated.
    pub(super) fn rope(&self, dims: usize, pairing: Pairing) -> Result<RopeSpec> {
        let scaling = self.rope_scaling()?;
        Ok(RopeSpec {
            dims,
            base: self.positive("rope.freq_base", Some(10_000.0))?,
            pairing,
            scaling,
            magnitude: self.rope_magnitude(scaling, None)?,
            has_factors: true,
            original_context: self.original_context()? as usize,
        })
    }

    pub(super) fn rope_scaling(&self) -> Result<RopeScaling> {
        let key = self.full("rope.scaling.type");
        match self.metadata.str(&key)? {
            // As in llama.cpp, a factor without a type is linear, and 0 is none.
            None | Some("linear") => {
                let factor = match self.positive_or_none("rope.scaling.factor")? {
                    None => self.positive_or_none("rope.scale_linear")?,
                    factor => factor,
                };
                Ok(factor.map_or(RopeScaling::None, RopeScaling::Linear))
            }
            Some("none") => Ok(RopeScaling::None),
            // Its factors are in tensors.
            Some("longrope") => Ok(RopeScaling::None),
            Some("yarn") => self.yarn_scaling(),
            Some("llama3") => self.llama3_scaling(),
            Some(other) => Err(unsupported(
                key,
                "none, linear, yarn, longrope or llama3",
                other,
            )),
        }
    }

    fn yarn_scaling(&self) -> Result<RopeScaling> {
        let Some(factor) = self.positive_or_none("rope.scaling.factor")? else {
            return Ok(RopeScaling::None);
        };
        Ok(RopeScaling::Yarn {
            factor,
            beta_fast: self.positive("rope.scaling.yarn_beta_fast", Some(32.0))?,
            beta_slow: self.positive("rope.scaling.yarn_beta_slow", Some(1.0))?,
            original_context: self.original_context()? as f32,
        })
    }

    /// The context length before rotary positions were scaled.
    pub(super) fn original_context(&self) -> Result<u32> {
        let trained = self.number("context_length", None, MAX_CONTEXT)?;
        let key = "rope.scaling.original_context_length";
        self.number(key, Some(trained), MAX_CONTEXT)
    }

    /// The factor of rotated dimensions: the file's, and what YaRN wants. Source: Peng et al., 2023.
    /// `over` is divided by, if the family has it.
    pub(super) fn rope_magnitude(&self, scaling: RopeScaling, over: Option<f32>) -> Result<f32> {
        let given = self.positive("rope.scaling.attn_factor", Some(1.0))?;
        let RopeScaling::Yarn { factor, .. } = scaling else {
            return Ok(given);
        };
        let magnitude = |weight: f32| match factor > 1.0 {
            true => 0.1 * weight * factor.ln() + 1.0,
            false => 1.0,
        };
        let over = over.map_or(1.0, magnitude);
        Ok(given * magnitude(1.0) / over)
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
}

/// Checks that a list for the layers is no longer than there can be layers: it is read for each of them.
fn check_len(key: &str, len: usize) -> Result<()> {
    match len <= MAX_LAYERS as usize {
        true => Ok(()),
        false => Err(invalid_model(
            key,
            format!("at most {MAX_LAYERS} elements"),
            len,
        )),
    }
}
