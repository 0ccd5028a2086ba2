//! Values of interest: numbers at the edges, files to change, and the changes.

use std::cell::OnceCell;
use std::rc::Rc;

use arbitrary::{Result, Unstructured};
use gust_engine::gguf::{Array, Gguf, TensorType, Value, ValueType};
use gust_engine::loaded::Model;
use gust_engine::session::{Event, GenerationOptions, Session, SessionOptions};
use gust_engine::tiny_models::{Case, Matrices, encoders, named};
use gust_engine::tokenizer::EncodeOptions;

/// The longest data that is written for a tensor whose shape has been changed, in bytes.
const MAX_DATA: u64 = 1 << 18;

/// An integer, more often than not at an edge.
pub fn integer(input: &mut Unstructured<'_>) -> Result<u64> {
    const EDGES: [u64; 28] = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        1 << 20,
        i32::MAX as u64,
        1 << 31,
        u32::MAX as u64,
        i64::MAX as u64,
        u64::MAX,
    ];
    match input.ratio(3, 4)? {
        true => Ok(*input.choose(&EDGES)?),
        false => input.arbitrary(),
    }
}

/// A number, more often than not a strange one.
pub fn float(input: &mut Unstructured<'_>) -> Result<f32> {
    const EDGES: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1e-6,
        1e-45,
        3.4e38,
        -3.4e38,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    match input.ratio(3, 4)? {
        true => Ok(*input.choose(&EDGES)?),
        false => input.arbitrary(),
    }
}

/// A text of some of these pieces, or whatever comes.
pub fn text(input: &mut Unstructured<'_>, pieces: &[&str], most: usize) -> Result<String> {
    let mut text = String::new();
    for _ in 0..input.int_in_range(0..=most)? {
        match input.ratio(7, 8)? {
            true => text.push_str(input.choose(pieces)?),
            false => text.push(input.arbitrary()?),
        }
    }
    Ok(text)
}

/// A value of the type that this one has, or of any.
fn value(input: &mut Unstructured<'_>, old: &Value) -> Result<Value> {
    if let (Value::Array(array), true) = (old, input.ratio(3, 4)?) {
        return changed_array(input, array).map(Value::Array);
    }
    let ty = match input.ratio(3, 4)? {
        true => old.value_type(),
        false => ValueType::from_id(input.int_in_range(0..=12)?).unwrap_or(ValueType::U8),
    };
    Ok(match ty {
        ValueType::U8 => Value::U8(integer(input)? as u8),
        ValueType::I8 => Value::I8(integer(input)? as i8),
        ValueType::U16 => Value::U16(integer(input)? as u16),
        ValueType::I16 => Value::I16(integer(input)? as i16),
        ValueType::U32 => Value::U32(integer(input)? as u32),
        ValueType::I32 => Value::I32(integer(input)? as i32),
        ValueType::F32 => Value::F32(float(input)?),
        ValueType::Bool => Value::Bool(input.arbitrary()?),
        ValueType::String => Value::String(input.arbitrary()?),
        ValueType::U64 => Value::U64(integer(input)?),
        ValueType::I64 => Value::I64(integer(input)? as i64),
        ValueType::F64 => Value::F64(float(input)?.into()),
        ValueType::Array => {
            let count = input.int_in_range(0..=70)?;
            match input.int_in_range(0..=2)? {
                0 => {
                    let items: Result<Vec<_>> = (0..count).map(|_| integer(input)).collect();
                    Value::Array(Array::i32s(items?.into_iter().map(|n| n as i32)))
                }
                1 => {
                    let items: Result<Vec<_>> = (0..count).map(|_| float(input)).collect();
                    Value::Array(Array::f32s(items?))
                }
                _ => {
                    let items: Result<Vec<Vec<u8>>> =
                        (0..count).map(|_| input.arbitrary()).collect();
                    Value::Array(Array::strings(items?))
                }
            }
        }
    })
}

/// The same array with another element, another length, or an element twice.
fn changed_array(input: &mut Unstructured<'_>, array: &Array) -> Result<Array> {
    let mut items: Vec<Value> = (0..array.len()).filter_map(|i| array.get(i)).collect();
    if items.is_empty() {
        return Ok(array.clone());
    }
    let at = input.choose_index(items.len())?;
    match input.int_in_range(0..=4)? {
        0 => items.truncate(at),
        1 => items.push(items[at].clone()),
        2 => {
            let other = input.choose_index(items.len())?;
            items[at] = items[other].clone();
        }
        _ => {
            let old = items[at].clone();
            let new = value(input, &old)?;
            if new.value_type() == old.value_type() {
                items[at] = new;
            }
        }
    }
    let integer = |value: &Value| value.as_integer().unwrap_or_default() as i32;
    Ok(match array.element_type() {
        ValueType::String => Array::strings(items.iter().map(|item| match item {
            Value::String(bytes) => bytes.as_slice(),
            _ => &[],
        })),
        ValueType::F32 => Array::f32s(items.iter().map(|item| match item {
            Value::F32(x) => *x,
            _ => 0.0,
        })),
        ValueType::I32 | ValueType::U32 => Array::i32s(items.iter().map(integer)),
        _ => array.clone(),
    })
}

thread_local! {
    static CASES: OnceCell<Vec<(Case, OnceCell<Vec<u8>>)>> = const { OnceCell::new() };
}

/// A tiny model of some architecture, as a file.
pub fn tiny_model(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    CASES.with(|cases| {
        let cases = cases.get_or_init(|| {
            let all = named().into_iter().chain(encoders());
            all.map(|(_, case)| (case.with_context(32), OnceCell::new()))
                .collect()
        });
        let (case, file) = input.choose(cases)?;
        Ok(file.get_or_init(|| case.file(Matrices::Q8_0)).clone())
    })
}

/// A file that its changes have made wrong somewhere, or nowhere.
pub fn changed_file(input: &mut Unstructured<'_>, file: &[u8]) -> Result<Vec<u8>> {
    let Ok(gguf) = Gguf::read(&file) else {
        // It has been changed before.
        return Ok(file.to_vec());
    };
    let entries = gguf.metadata.iter();
    let mut entries: Vec<_> = entries
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    let tensors = gguf.tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        ty: tensor.ty,
        shape: tensor.shape.clone(),
        data: file
            .get(tensor.offset as usize..)
            .and_then(|rest| rest.get(..tensor.size as usize))
            .unwrap_or_default()
            .to_vec(),
    });
    let mut tensors: Vec<_> = tensors.collect();
    for _ in 0..input.int_in_range(0..=5)? {
        let entry = input.choose_index(entries.len().max(1))?;
        let tensor = input.choose_index(tensors.len().max(1))?;
        match input.int_in_range(0..=8)? {
            0..=2 => {
                if let Some((_, old)) = entries.get_mut(entry) {
                    *old = value(input, old)?;
                }
            }
            3 if !entries.is_empty() => drop(entries.remove(entry)),
            4 => {
                let key: String = input.arbitrary()?;
                let new = value(input, &Value::U32(0))?;
                entries.push((key, new));
            }
            5 => {
                if let Some(tensor) = tensors.get_mut(tensor) {
                    let at = input.choose_index(tensor.shape.len().max(1))?;
                    match tensor.shape.get_mut(at) {
                        Some(dim) if input.ratio(7, 8)? => *dim = integer(input)?,
                        _ => tensor.shape.push(integer(input)?),
                    }
                    tensor.fill();
                }
            }
            6 => {
                if let Some(tensor) = tensors.get_mut(tensor) {
                    let types: Vec<_> = (0..48).filter_map(TensorType::from_id).collect();
                    tensor.ty = *input.choose(&types)?;
                    tensor.fill();
                }
            }
            7 if !tensors.is_empty() => {
                let removed = tensors.remove(tensor);
                if let (true, Some(other)) = (input.arbitrary()?, tensors.first_mut()) {
                    other.name = removed.name;
                }
            }
            _ => {
                // Scales that are not numbers, and the like.
                if let Some(tensor) = tensors.get_mut(tensor) {
                    let bytes: [u8; 4] = input.arbitrary()?;
                    let at = input.choose_index(tensor.data.len().max(1))?;
                    for (old, new) in tensor.data.iter_mut().skip(at).zip(bytes) {
                        *old = new;
                    }
                }
            }
        }
    }
    let mut bytes = write(&entries, &tensors);
    if input.ratio(1, 8)? {
        bytes.truncate(input.choose_index(bytes.len())?);
    }
    Ok(bytes)
}

struct Tensor {
    name: String,
    ty: TensorType,
    shape: Vec<u64>,
    data: Vec<u8>,
}

impl Tensor {
    /// Makes the data as long as the shape says, if that is not too long.
    fn fill(&mut self) {
        let count = self
            .shape
            .iter()
            .try_fold(1u64, |n, dim| n.checked_mul(*dim));
        let size = count.and_then(|n| (n / self.ty.block_len()).checked_mul(self.ty.block_bytes()));
        if let Some(size) = size.filter(|size| *size <= MAX_DATA) {
            self.data.resize(size as usize, 0x11);
        }
    }
}

/// Writes a file, however wrong.
fn write(entries: &[(String, Value)], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    let string = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    for (key, value) in entries {
        string(&mut out, key.as_bytes());
        out.extend((value.value_type() as u32).to_le_bytes());
        put(&mut out, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        string(&mut out, tensor.name.as_bytes());
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor
            .shape
            .iter()
            .for_each(|dim| out.extend(dim.to_le_bytes()));
        out.extend(tensor.ty.id().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += tensor.data.len().next_multiple_of(32);
    }
    for tensor in tensors {
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend_from_slice(&tensor.data);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.push(*v as u8),
        Value::Bool(v) => out.push((*v).into()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::String(bytes) => {
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Value::Array(array) => {
            out.extend((array.element_type() as u32).to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            (0..array.len())
                .filter_map(|i| array.get(i))
                .for_each(|item| put(out, &item));
        }
    }
}

/// Uses a model as far as it goes: errors are fine.
pub fn exercise(model: Rc<Model>) {
    let Ok(tokenizer) = model.tokenizer() else {
        return;
    };
    let tokens = tokenizer.encode("Once upon a time, é\u{301}\n", EncodeOptions::default());
    let tokens = tokens.unwrap_or_default();
    let options = SessionOptions {
        context_length: Some(16),
        kv_type: None,
    };
    let Ok(mut session) = Session::new(model.clone(), options) else {
        return;
    };
    let options = GenerationOptions {
        logprobs: Some(2),
        ..GenerationOptions::default()
    };
    if session.configure(options).is_err() {
        return;
    }
    let mut tokens = &tokens[..tokens.len().min(8)];
    while !tokens.is_empty() {
        match session.feed(tokens) {
            Ok(taken) => tokens = &tokens[taken..],
            Err(_) => return,
        }
    }
    for _ in 0..3 {
        match session.next_token() {
            Ok(Event::Token { .. }) => {}
            _ => break,
        }
    }
    if let Ok(state) = session.save() {
        // Numbers that are not finite are not restored.
        let _ = session.restore(&state);
    }
}
