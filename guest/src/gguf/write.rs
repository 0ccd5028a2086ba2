//! The writer, which tools and tests use to make files. It writes whatever it is given and checks nothing.

use super::read::Gguf;
use super::types::TensorType;
use super::value::{Array, Value, ValueType};
use crate::blob::Blob;
use crate::error::Result;

/// Collects metadata and tensors, and returns the bytes that come before the data. The caller then writes each tensor's
/// data in the same order, padded to a multiple of [`Writer::ALIGNMENT`].
#[derive(Debug, Clone, Default)]
pub struct Writer {
    metadata: Vec<u8>,
    n_kv: u64,
    tensors: Vec<u8>,
    n_tensors: u64,
    next_offset: u64,
}

impl Writer {
    /// The alignment that each tensor's data is padded to, in bytes: GGUF's default.
    pub const ALIGNMENT: u64 = 32;

    /// Adds a key.
    pub fn metadata(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        string(&mut self.metadata, key.as_bytes());
        (value.value_type() as u32).put(&mut self.metadata);
        put_value(&mut self.metadata, &value);
        self.n_kv += 1;
        self
    }

    /// Adds a tensor of `shape` (the fastest-varying dimension first), and returns the size of its data in bytes.
    pub fn tensor(&mut self, name: &str, ty: TensorType, shape: &[u64]) -> u64 {
        let size = shape.iter().product::<u64>() / ty.block_len() * ty.block_bytes();
        string(&mut self.tensors, name.as_bytes());
        (shape.len() as u32).put(&mut self.tensors);
        shape.iter().for_each(|dim| dim.put(&mut self.tensors));
        ty.id().put(&mut self.tensors);
        self.next_offset.put(&mut self.tensors);
        self.next_offset += size.next_multiple_of(Self::ALIGNMENT);
        self.n_tensors += 1;
        size
    }

    /// The tensors of a valid file in `n_files` files, as llama.cpp's `gguf-split` would write them: the metadata in the
    /// first.
    ///
    /// # Errors
    /// As [`Gguf::read`].
    pub fn split(file: &[u8], n_files: u16) -> Result<Vec<Vec<u8>>> {
        let gguf = Gguf::read(&file)?;
        let tensors = &gguf.tensors;
        let per_file = tensors.len().div_ceil(n_files.max(1).into());
        let parts = (0..n_files).map(|no| {
            let mut writer = Self::default();
            if no == 0 {
                for (key, value) in gguf.metadata.iter() {
                    writer.metadata(key, value.clone());
                }
            }
            writer.metadata("split.no", Value::U16(no));
            writer.metadata("split.count", Value::U16(n_files));
            writer.metadata("split.tensors.count", Value::I32(tensors.len() as i32));
            let mut data = Vec::new();
            for tensor in tensors
                .iter()
                .skip(usize::from(no) * per_file)
                .take(per_file)
            {
                writer.tensor(&tensor.name, tensor.ty, &tensor.shape);
                data.extend(file.read(tensor.offset, tensor.size as usize)?);
                data.resize(data.len().next_multiple_of(Self::ALIGNMENT as usize), 0);
            }
            Ok([writer.header(), data].concat())
        });
        parts.collect()
    }

    /// Everything before the data, padded.
    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        3u32.put(&mut bytes);
        self.n_tensors.put(&mut bytes);
        self.n_kv.put(&mut bytes);
        bytes.extend_from_slice(&self.metadata);
        bytes.extend_from_slice(&self.tensors);
        bytes.resize(bytes.len().next_multiple_of(Self::ALIGNMENT as usize), 0);
        bytes
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    (text.len() as u64).put(out);
    out.extend_from_slice(text);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => v.put(out),
        Value::I8(v) => v.put(out),
        Value::U16(v) => v.put(out),
        Value::I16(v) => v.put(out),
        Value::U32(v) => v.put(out),
        Value::I32(v) => v.put(out),
        Value::F32(v) => v.put(out),
        Value::U64(v) => v.put(out),
        Value::I64(v) => v.put(out),
        Value::F64(v) => v.put(out),
        Value::Bool(v) => u8::from(*v).put(out),
        Value::String(text) => string(out, text),
        Value::Array(array) => put_array(out, array),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    (array.element_type() as u32).put(out);
    (array.len() as u64).put(out);
    match array.element_type() {
        ValueType::String => array.iter_strings().for_each(|text| string(out, text)),
        _ => out.extend_from_slice(&array.bytes),
    }
}

/// Appends a number in little-endian.
trait Put {
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! put {
    ($($number:ty)*) => {$(
        impl Put for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

put!(u8 i8 u16 i16 u32 i32 f32 u64 i64 f64);
