//! The reader: a blob in, checked metadata and a checked tensor table out. It does not touch tensor data.

use std::collections::HashMap;

use super::types::TensorType;
use super::value::{Array, Metadata, Value, ValueType};
use crate::blob::Blob;
use crate::error::{Error, Result, invalid_model, unsupported};

const MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: u32 = 32;
/// An alignment above this is an attack, not a layout.
const MAX_ALIGNMENT: u32 = 65_536;
/// GGUF's limit on the length of a key, in bytes.
const MAX_KEY: u64 = 65_535;
/// ggml's limit on the length of a tensor's name, in bytes, without the terminating zero.
const MAX_NAME: u64 = 63;
const MAX_DIMS: u32 = 4;
/// Headers of real models stay below 30 MB.
const MAX_HEADER: u64 = 1 << 28;
/// How much of the header is fetched at a time, in bytes.
const CHUNK: u64 = 1 << 20;

/// A file's metadata and tensor table.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// 2 or 3.
    pub version: u32,
    /// All keys and values.
    pub metadata: Metadata,
    /// All tensors, in file order.
    pub tensors: Vec<TensorInfo>,
    /// The offset of the tensor data, in bytes.
    pub data_offset: u64,
    /// The alignment that each tensor's data is padded to, in bytes.
    alignment: u64,
    by_name: HashMap<String, usize>,
}

/// One row of the tensor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// For example `blk.0.attn_q.weight`.
    pub name: String,
    /// The element type.
    pub ty: TensorType,
    /// Elements per dimension, the fastest-varying first; 1 to 4 dimensions.
    pub shape: Vec<u64>,
    /// The offset from the start of the file, in bytes.
    pub offset: u64,
    /// The size in bytes.
    pub size: u64,
    /// The position of its type number, in bytes from the start of the file.
    pub(crate) type_at: u64,
}

impl Gguf {
    /// Reads and checks everything before the tensor data.
    ///
    /// # Errors
    /// `invalid-model` for anything that the format does not allow or that the file's size contradicts, `unsupported`
    /// for an unknown version, byte order or tensor type, `io`.
    pub fn read(blob: &dyn Blob) -> Result<Self> {
        let mut reader = Reader::new(blob);
        let header = read_header(&mut reader)?;
        let metadata = read_metadata(&mut reader, header.n_kv)?;
        let alignment = alignment(&metadata)?;
        let (mut tensors, by_name) = read_tensors(&mut reader, header.n_tensors)?;
        let data_offset = reader.position().next_multiple_of(alignment);
        place_tensors(&mut tensors, data_offset, alignment)?;
        Ok(Self {
            version: header.version,
            metadata,
            tensors,
            data_offset,
            alignment,
            by_name,
        })
    }

    /// Checks that every tensor's data, including its padding, lies within a file of `file_size` bytes.
    ///
    /// # Errors
    /// `invalid-model`, naming the first tensor that does not.
    pub fn check_data(&self, file_size: u64) -> Result<()> {
        // This cannot overflow: `place_tensors` has checked the sums.
        let end =
            |tensor: &TensorInfo| tensor.offset + tensor.size.next_multiple_of(self.alignment);
        match self.tensors.iter().find(|tensor| end(tensor) > file_size) {
            Some(tensor) => Err(invalid_model(
                format!("data of tensor `{}`", tensor.name),
                format!("a file of at least {} bytes", end(tensor)),
                format!("one of {file_size} bytes; it is cut short, download it again"),
            )),
            None => Ok(()),
        }
    }

    /// Adds the tensors of another file, whose first byte is at `start` from now on.
    ///
    /// # Errors
    /// `invalid-model` for a tensor that both files have. `start` plus the file's size must be below 2^64.
    pub(super) fn append(&mut self, other: Self, start: u64) -> Result<()> {
        for mut tensor in other.tensors {
            tensor.offset += start;
            tensor.type_at += start;
            let number = self.tensors.len();
            if self.by_name.insert(tensor.name.clone(), number).is_some() {
                let found = format!("`{}` in two files", tensor.name);
                return Err(invalid_model("tables of tensors", "each name once", found));
            }
            self.tensors.push(tensor);
        }
        Ok(())
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.number_of(name).map(|at| &self.tensors[at])
    }

    /// The number of the tensor with this name in [`Gguf::tensors`].
    pub(crate) fn number_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

struct Header {
    version: u32,
    n_tensors: u64,
    n_kv: u64,
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header> {
    let magic: [u8; 4] = reader.array("magic")?;
    if magic != MAGIC {
        return Err(invalid_model(
            "file",
            "a GGUF file, which starts with `GGUF`",
            format!("one that starts with `{}`", magic.escape_ascii()),
        ));
    }
    let version = reader.u32("version")?;
    match version {
        2 | 3 => {}
        // A big-endian 2 or 3, read as little-endian.
        0x0200_0000 | 0x0300_0000 => {
            return Err(unsupported(
                "byte order",
                "a little-endian GGUF file",
                "a big-endian one; convert it with gguf-py's gguf_convert_endian",
            ));
        }
        _ => {
            return Err(unsupported(
                "GGUF version",
                "2 or 3",
                format!("{version}; convert the model again"),
            ));
        }
    }
    let n_tensors = reader.count("number of tensors", 8 + 4 + 8 + 4 + 8)?;
    let n_kv = reader.count("number of metadata keys", 8 + 1 + 4 + 1)?;
    Ok(Header {
        version,
        n_tensors,
        n_kv,
    })
}

fn read_metadata(reader: &mut Reader<'_>, n_kv: u64) -> Result<Metadata> {
    let mut metadata = Metadata::default();
    for nth in 0..n_kv {
        let subject = format!("metadata key {nth}");
        let key = reader.text(&subject, MAX_KEY)?;
        let ty = reader.value_type(&key)?;
        let value = reader.value(&key, ty)?;
        if !metadata.insert(key.clone(), value) {
            return Err(invalid_model(
                subject,
                "each key once",
                format!("`{key}` twice"),
            ));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    let key = "general.alignment";
    let alignment = match metadata.get(key) {
        None => DEFAULT_ALIGNMENT,
        Some(Value::U32(alignment)) => *alignment,
        Some(other) => return Err(invalid_model(key, "a u32", other.value_type().name())),
    };
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        let expected = format!("a power of two up to {MAX_ALIGNMENT}");
        return Err(invalid_model(key, expected, alignment));
    }
    Ok(alignment.into())
}

type TensorTable = (Vec<TensorInfo>, HashMap<String, usize>);

/// The table as stored: offsets are still relative to the data section.
fn read_tensors(reader: &mut Reader<'_>, n_tensors: u64) -> Result<TensorTable> {
    let (mut tensors, mut by_name) = (Vec::new(), HashMap::new());
    for nth in 0..n_tensors {
        let name = reader.text(&format!("name of tensor {nth}"), MAX_NAME)?;
        let tensor = read_tensor(reader, name)?;
        if by_name.insert(tensor.name.clone(), tensors.len()).is_some() {
            let found = format!("`{}` twice", tensor.name);
            return Err(invalid_model("table of tensors", "each name once", found));
        }
        tensors.push(tensor);
    }
    Ok((tensors, by_name))
}

fn read_tensor(reader: &mut Reader<'_>, name: String) -> Result<TensorInfo> {
    let subject = format!("tensor `{name}`");
    let n_dims = reader.u32(&subject)?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        let found = format!("{n_dims} dimensions");
        return Err(invalid_model(subject, format!("1 to {MAX_DIMS}"), found));
    }
    let mut shape = Vec::with_capacity(n_dims as usize);
    for _ in 0..n_dims {
        shape.push(reader.u64(&subject)?);
    }
    let type_at = reader.position();
    let id = reader.u32(&subject)?;
    let ty = TensorType::from_id(id).ok_or_else(|| {
        unsupported(
            &subject,
            "a tensor type of ggml or gust",
            format!("type {id}"),
        )
    })?;
    if !shape[0].is_multiple_of(ty.block_len()) {
        return Err(invalid_model(
            subject,
            format!(
                "rows of whole {} blocks, {} elements each",
                ty.name(),
                ty.block_len()
            ),
            format!("rows of {} elements", shape[0]),
        ));
    }
    let size = shape
        .iter()
        .try_fold(1u64, |product, &dim| product.checked_mul(dim))
        .filter(|&elements| i64::try_from(elements).is_ok())
        .and_then(|elements| (elements / ty.block_len()).checked_mul(ty.block_bytes()))
        .ok_or_else(|| invalid_model(&subject, "fewer than 2^63 elements", format!("{shape:?}")))?;
    let offset = reader.u64(&subject)?;
    Ok(TensorInfo {
        name,
        ty,
        shape,
        offset,
        size,
        type_at,
    })
}

/// Checks that the tensors follow one another without gaps, as ggml requires, and makes their offsets absolute.
fn place_tensors(tensors: &mut [TensorInfo], data_offset: u64, alignment: u64) -> Result<()> {
    let mut next = 0u64;
    for tensor in tensors {
        let subject = format!("offset of tensor `{}`", tensor.name);
        if tensor.offset != next {
            return Err(invalid_model(subject, next, tensor.offset));
        }
        let end = next.checked_add(tensor.size);
        next = end
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .filter(|next| next.checked_add(data_offset).is_some())
            .ok_or_else(|| invalid_model(&subject, "an end below 2^64", "a larger one"))?;
        tensor.offset += data_offset;
    }
    Ok(())
}

/// Reads forward through a blob, never past its end.
struct Reader<'a> {
    blob: &'a dyn Blob,
    size: u64,
    /// The bytes from `start` on that have been fetched and not yet dropped.
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been consumed.
    at: usize,
    /// The offset of `buffer` in the blob.
    start: u64,
}

impl<'a> Reader<'a> {
    fn new(blob: &'a dyn Blob) -> Self {
        Self {
            blob,
            size: blob.size(),
            buffer: Vec::new(),
            at: 0,
            start: 0,
        }
    }

    fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    fn remaining(&self) -> u64 {
        self.size - self.position()
    }

    /// Reads the next `length` bytes. `subject` names what is read, for the error message.
    fn bytes(&mut self, subject: &str, length: u64) -> Result<&[u8]> {
        if length > self.remaining() {
            return Err(invalid_model(
                subject,
                format!("{length} bytes"),
                format!("{} before the end of the file", self.remaining()),
            ));
        }
        if self.position() + length > MAX_HEADER {
            return Err(unsupported(
                subject,
                format!("a header of at most {MAX_HEADER} bytes"),
                "a longer one",
            ));
        }
        let length = length as usize;
        if self.buffer.len() - self.at < length {
            self.start += self.at as u64;
            self.buffer.drain(..self.at);
            self.at = 0;
            while self.buffer.len() < length {
                let from = self.start + self.buffer.len() as u64;
                let fetch = CHUNK.min(self.size - from) as usize;
                let bytes = self.blob.read(from, fetch)?;
                if bytes.len() != fetch {
                    let found = format!("expected to read {fetch} bytes, found {}", bytes.len());
                    return Err(Error::Io(found));
                }
                self.buffer.extend(bytes);
            }
        }
        let bytes = &self.buffer[self.at..self.at + length];
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, subject: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(subject, N as u64)?);
        Ok(array)
    }

    fn u32(&mut self, subject: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(subject)?))
    }

    fn u64(&mut self, subject: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(subject)?))
    }

    /// Reads a number of items of at least `min_size` bytes each, which must fit into the rest of the file.
    fn count(&mut self, subject: &str, min_size: u64) -> Result<u64> {
        let count = self.u64(subject)?;
        let most = self.remaining() / min_size;
        if count > most {
            let expected = format!("at most {most}, as many as fit into the file");
            return Err(invalid_model(subject, expected, count));
        }
        Ok(count)
    }

    fn string(&mut self, subject: &str) -> Result<Vec<u8>> {
        let length = self.u64(subject)?;
        Ok(self.bytes(subject, length)?.to_vec())
    }

    /// A name: UTF-8, not empty, at most `most` bytes.
    fn text(&mut self, subject: &str, most: u64) -> Result<String> {
        let length = self.u64(subject)?;
        if !(1..=most).contains(&length) {
            let found = format!("{length} bytes");
            return Err(invalid_model(subject, format!("1 to {most} bytes"), found));
        }
        String::from_utf8(self.bytes(subject, length)?.to_vec())
            .map_err(|_| invalid_model(subject, "UTF-8", "invalid UTF-8"))
    }

    fn value_type(&mut self, key: &str) -> Result<ValueType> {
        let id = self.u32(key)?;
        ValueType::from_id(id)
            .ok_or_else(|| invalid_model(key, "a value type from 0 to 12", format!("type {id}")))
    }

    fn value(&mut self, key: &str, ty: ValueType) -> Result<Value> {
        Ok(match ty {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.array(key)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.array(key)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.array(key)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.array(key)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(self.array(key)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.array(key)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array(key)?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(self.array(key)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.array(key)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array(key)?)),
            ValueType::Bool => Value::Bool(self.array::<1>(key)? != [0]),
            ValueType::String => Value::String(self.string(key)?),
            ValueType::Array => Value::Array(self.array_value(key)?),
        })
    }

    fn array_value(&mut self, key: &str) -> Result<Array> {
        let element_type = self.value_type(key)?;
        if element_type == ValueType::Array {
            let expected = "an array of numbers or strings";
            return Err(unsupported(key, expected, "an array of arrays"));
        }
        let size = element_type.min_size();
        let count = self.count(key, size)?;
        if element_type != ValueType::String {
            // This cannot overflow: `count` was checked against the bytes that remain.
            return Ok(Array {
                element_type,
                bytes: self.bytes(key, count * size)?.to_vec(),
                ends: Vec::new(),
            });
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let length = self.u64(key)?;
            bytes.extend_from_slice(self.bytes(key, length)?);
            // `MAX_HEADER` keeps this below 2^32.
            ends.push(bytes.len() as u32);
        }
        Ok(Array {
            element_type,
            bytes,
            ends,
        })
    }
}

#[cfg(test)]
mod tests;
