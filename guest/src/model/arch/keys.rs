//! Reads the metadata of an architecture: typed, within bounds, and with GGUF's defaults. An error names the key.

use std::fmt::Display;

use super::super::plan::RopeScaling;
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::{Metadata, Value};

/// More layers than any model has; a file that claims more is not a model.
pub(super) const MAX_LAYERS: u32 = 512;
/// The bound for every other dimension, so that a product of two fits into 64 bits and the size of a row into 32.
pub(super) const MAX_DIM: u32 = 1 << 20;
/// The bound for the number of experts.
pub(super) const MAX_EXPERTS: u32 = 512;
/// The bound for the context length, in tokens.
pub(super) const MAX_CONTEXT: u32 = 1 << 24;

/// The keys of one architecture.
pub(crate) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: &'a str,
    /// Rows of the embedding matrix, V.
    pub(super) n_vocab: usize,
}

impl Keys<'_> {
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number from 1 to `most`.
    pub(super) fn number(&self, key: &str, default: Option<u32>, most: u32) -> Result<u32> {
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

    pub(super) fn dimension(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let default = default.map(|default| default as u32);
        Ok(self.number(key, default, MAX_DIM)? as usize)
    }

    pub(super) fn positive(&self, key: &str, default: Option<f32>) -> Result<f32> {
        let key = self.full(key);
        let found: &dyn Display = match self.metadata.f32(&key)?.or(default) {
            Some(number) if number > 0.0 => return Ok(number),
            Some(_) => &"zero or less",
            None => &"no such key",
        };
        Err(invalid_model(key, "a number above 0", found))
    }

    /// A number that may be missing; 0 means the same.
    pub(super) fn number_or_none(&self, key: &str, most: u32) -> Result<Option<u32>> {
        match self.metadata.u32(&self.full(key))? {
            None | Some(0) => Ok(None),
            Some(_) => self.number(key, None, most).map(Some),
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

    /// Which of `n` layers are special: a list of flags, or a period (default: `period`), of which all but the last are.
    /// A period of 0 makes all special.
    pub(super) fn pattern(&self, key: &str, period: u32, n: usize) -> Result<Vec<bool>> {
        let full = self.full(key);
        if let Some(Value::Array(array)) = self.metadata.get(&full) {
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
        Ok((0..n)
            .map(|l| period == 0 || l % period < period - 1)
            .collect())
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
}
