//! Metadata: keys with typed values.

use std::collections::HashMap;

use crate::error::{Result, invalid_model};
use crate::pulse::work;

/// The type of a metadata value, with GGUF's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "GGUF's names are self-explanatory")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type with this number.
    pub fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [
            U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64,
        ]
        .into_iter()
        .find(|ty| *ty as u32 == id)
    }

    /// The size of one value in bytes, or the minimum if it varies (a string or an array).
    pub(crate) fn min_size(self) -> u64 {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | String => 8,
            Array => 12,
        }
    }

    /// GGUF's name, in lower case.
    pub fn name(self) -> &'static str {
        use ValueType::*;
        match self {
            U8 => "u8",
            I8 => "i8",
            U16 => "u16",
            I16 => "i16",
            U32 => "u32",
            I32 => "i32",
            F32 => "f32",
            Bool => "bool",
            String => "string",
            Array => "array",
            U64 => "u64",
            I64 => "i64",
            F64 => "f64",
        }
    }
}

/// A metadata value. Strings are bytes: GGUF requires UTF-8, files may not comply, and [`Metadata::str`] checks.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "GGUF's names are self-explanatory")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The value as an integer, if it is an integer of any width.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().to_vec())
    }
}

/// An array of one element type. The reader rejects arrays of arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub(crate) element_type: ValueType,
    /// The elements as in the file; for strings, their concatenated bytes without lengths.
    pub(crate) bytes: Vec<u8>,
    /// For strings: where each ends in `bytes`.
    pub(crate) ends: Vec<u32>,
}

impl Array {
    /// An array of strings.
    pub fn strings<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for item in items {
            bytes.extend_from_slice(item.as_ref());
            ends.push(bytes.len() as u32);
        }
        Self {
            element_type: ValueType::String,
            bytes,
            ends,
        }
    }

    /// An array of `f32`.
    pub fn f32s(items: impl IntoIterator<Item = f32>) -> Self {
        Self::numbers(ValueType::F32, items.into_iter().map(f32::to_le_bytes))
    }

    /// An array of bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            element_type: ValueType::U8,
            bytes: bytes.into(),
            ends: Vec::new(),
        }
    }

    /// An array of `i32`.
    pub fn i32s(items: impl IntoIterator<Item = i32>) -> Self {
        Self::numbers(ValueType::I32, items.into_iter().map(i32::to_le_bytes))
    }

    fn numbers<const N: usize>(
        element_type: ValueType,
        items: impl Iterator<Item = [u8; N]>,
    ) -> Self {
        Self {
            element_type,
            bytes: items.flatten().collect(),
            ends: Vec::new(),
        }
    }

    /// The element type.
    pub fn element_type(&self) -> ValueType {
        self.element_type
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self.element_type {
            ValueType::String => self.ends.len(),
            ty => self.bytes.len() / ty.min_size() as usize,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of each string; empty if the elements are not strings.
    pub fn iter_strings(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|i| self.string(i).unwrap_or_default())
    }

    /// The bytes of the string at `index`, without a walk over those before it.
    fn string(&self, index: usize) -> Option<&[u8]> {
        work(1);
        let end = *self.ends.get(index)? as usize;
        let before = index.checked_sub(1);
        let start = before.map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end)
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Value> {
        fn at<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
            bytes.as_chunks::<N>().0.get(index).copied()
        }
        let bytes = &self.bytes;
        Some(match self.element_type {
            ValueType::U8 => Value::U8(*bytes.get(index)?),
            ValueType::I8 => Value::I8(i8::from_le_bytes(at(bytes, index)?)),
            ValueType::Bool => Value::Bool(*bytes.get(index)? != 0),
            ValueType::U16 => Value::U16(u16::from_le_bytes(at(bytes, index)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(at(bytes, index)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(at(bytes, index)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(at(bytes, index)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(at(bytes, index)?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(at(bytes, index)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(at(bytes, index)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(at(bytes, index)?)),
            ValueType::String => Value::String(self.string(index)?.to_vec()),
            ValueType::Array => return None,
        })
    }
}

/// All metadata of a file, in file order. The typed getters return `None` for a missing key and an error for a value of
/// the wrong type.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// Adds a key. If it already exists, returns `false` and changes nothing.
    pub fn insert(&mut self, key: String, value: Value) -> bool {
        if self.index.contains_key(&key) {
            return false;
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        true
    }

    /// All keys and values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&at| &self.entries[at].1)
    }

    /// An integer of any width that fits into `u32`.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type or a number out of range.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer from 0 to 4294967295", |value| {
            u32::try_from(value.as_integer()?).ok()
        })
    }

    /// A finite floating-point number.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type, an infinity or a NaN.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a finite f32", |value| match *value {
            Value::F32(v) if v.is_finite() => Some(v),
            Value::F64(v) if (v as f32).is_finite() => Some(v as f32),
            _ => None,
        })
    }

    /// A bool.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |value| match *value {
            Value::Bool(v) => Some(v),
            _ => None,
        })
    }

    /// A string.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type or bytes that are not UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a valid UTF-8 string", |value| match value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// An array whose elements are strings.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type.
    pub fn strings(&self, key: &str) -> Result<Option<&Array>> {
        self.array(key, ValueType::String)
    }

    /// An array of `f32`.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let array = self.array(key, ValueType::F32)?;
        Ok(array.map(|array| {
            let (chunks, _) = array.bytes.as_chunks();
            chunks.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }))
    }

    /// An array of `i32`.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        let array = self.array(key, ValueType::I32)?;
        Ok(array.map(|array| {
            let (chunks, _) = array.bytes.as_chunks();
            chunks.iter().map(|b| i32::from_le_bytes(*b)).collect()
        }))
    }

    /// An array of bytes, which files also write as `i8`.
    ///
    /// # Errors
    /// `invalid-model` for a wrong type.
    pub fn bytes(&self, key: &str) -> Result<Option<&[u8]>> {
        self.typed(key, "an array of bytes", |value| match value {
            Value::Array(array) => {
                let is_byte = matches!(array.element_type, ValueType::U8 | ValueType::I8);
                is_byte.then_some(array.bytes.as_slice())
            }
            _ => None,
        })
    }

    fn array(&self, key: &str, element_type: ValueType) -> Result<Option<&Array>> {
        let expected = match element_type {
            ValueType::String => "an array of strings",
            ValueType::F32 => "an array of f32",
            _ => "an array of i32",
        };
        self.typed(key, expected, |value| match value {
            Value::Array(array) if array.element_type == element_type => Some(array),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        convert(value)
            .map(Some)
            .ok_or_else(|| invalid_model(key, expected, describe(value)))
    }
}

/// Describes a value for an error message: its type, and the value itself if it is short.
fn describe(value: &Value) -> String {
    match value {
        Value::String(bytes) => format!("a string of {} bytes", bytes.len()),
        Value::Array(array) => {
            format!("an array of {} {}", array.len(), array.element_type.name())
        }
        other => format!("{other:?}"),
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::F32(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::tests::counted;

    #[test]
    fn an_element_is_found_without_those_before_it() {
        for n in [1_000, 2_000] {
            let texts: Vec<_> = (0..n).map(|i| i.to_string()).collect();
            let array = Array::strings(&texts);
            let (last, steps) = counted(|| array.get(n - 1));
            assert_eq!(last, Some(Value::from(texts[n - 1].as_str())));
            assert_eq!(steps, 1, "of {n} strings");
            assert_eq!(array.get(n), None);
            let (all, steps) = counted(|| array.iter_strings().map(<[u8]>::len).sum::<usize>());
            assert_eq!(all, texts.iter().map(String::len).sum::<usize>());
            assert_eq!(steps, n as u64);
        }
    }
}
