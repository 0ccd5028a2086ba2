//! A model file with a longer context, so that prompts leave every window: the same weights under another
//! `context_length`. Both programs are given it.

use gust_engine::blob::Blob;
use gust_engine::error::Error;
use gust_engine::gguf::{Gguf, Value, Writer};

/// The file with a context of `n` tokens. Where each position has a row of its own, the rows repeat.
pub(crate) fn longer(file: &[u8], n: u32) -> Result<Vec<u8>, Error> {
    let gguf = Gguf::read(&file)?;
    gguf.check_data(file.len() as u64)?;
    let mut writer = Writer::default();
    for (key, value) in gguf.metadata.iter() {
        let value = match key.ends_with(".context_length") {
            true => Value::U32(n),
            false => value.clone(),
        };
        writer.metadata(key, value);
    }
    let mut data = Vec::new();
    for tensor in &gguf.tensors {
        let mut shape = tensor.shape.clone();
        if tensor.name == "position_embd.weight" {
            shape[1] = n.into();
        }
        let size = writer.tensor(&tensor.name, tensor.ty, &shape) as usize;
        let rows = file.read(tensor.offset, tensor.size as usize)?;
        data.extend(rows.iter().cycle().take(size));
        data.resize(data.len().next_multiple_of(Writer::ALIGNMENT as usize), 0);
    }
    Ok([writer.header(), data].concat())
}

#[cfg(test)]
mod tests {
    use gust_engine::gguf::TensorType;

    use super::*;

    #[test]
    fn weights_stay_and_rows_of_positions_repeat() {
        let mut writer = Writer::default();
        writer.metadata("gpt2.context_length", 2);
        writer.metadata("gpt2.block_count", 1);
        writer.tensor("position_embd.weight", TensorType::F32, &[3, 2]);
        writer.tensor("output_norm.weight", TensorType::F32, &[3]);
        let mut short = writer.header();
        let numbers = |from: u8, n: u8| (from..from + n).flat_map(|x| f32::from(x).to_le_bytes());
        short.extend(numbers(1, 6));
        short.resize(short.len().next_multiple_of(32), 0);
        short.extend(numbers(7, 3));
        short.resize(short.len().next_multiple_of(32), 0);

        let long = longer(&short, 5).unwrap();
        let gguf = Gguf::read(&long).unwrap();
        gguf.check_data(long.len() as u64).unwrap();
        assert_eq!(gguf.metadata.u32("gpt2.context_length").unwrap(), Some(5));
        assert_eq!(gguf.metadata.u32("gpt2.block_count").unwrap(), Some(1));
        let data = |name: &str| {
            let tensor = gguf.tensor(name).unwrap();
            long.read(tensor.offset, tensor.size as usize).unwrap()
        };
        let rows = numbers(1, 6).chain(numbers(1, 6)).chain(numbers(1, 3));
        assert!(data("position_embd.weight").into_iter().eq(rows));
        assert!(data("output_norm.weight").into_iter().eq(numbers(7, 3)));
    }
}
