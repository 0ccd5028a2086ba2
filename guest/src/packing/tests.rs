//! Tests of packed files: which bytes move, and that every way of reading gives the same bytes.

use super::*;
use crate::gguf::Writer;

/// A file with three matrices that get packed among other tensors; each byte differs from its neighbours, and no scale is
/// infinite or NaN.
fn file() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.metadata("general.architecture", "llama");
    let mut sizes = Vec::new();
    for (name, ty, shape) in [
        ("norm", TensorType::F32, &[5][..]),
        ("a", TensorType::Q4_0, &[64, 8]),
        ("six_rows", TensorType::Q8_0, &[32, 6]),
        ("b", TensorType::Q8_0, &[96, 4]),
        ("experts", TensorType::Q4_0, &[32, 4, 2]),
        ("k", TensorType::Q4_K, &[256, 4]),
        ("too_few_bits", TensorType::Q2_K, &[256, 4]),
    ] {
        sizes.push(writer.tensor(name, ty, shape));
    }
    let mut bytes = writer.header();
    for (nth, size) in sizes.into_iter().enumerate() {
        let data =
            (0..size.next_multiple_of(Writer::ALIGNMENT)).map(|i| (i * 13 + 2 * nth as u64) as u8);
        bytes.extend(data);
    }
    bytes
}

#[test]
fn matrices_of_packed_types_move_and_nothing_else() {
    let bytes = file();
    let packed = PackedFile::of(bytes.as_slice()).expect("a sound file");
    assert_eq!(
        (packed.size(), packed.changed_tensors()),
        (bytes.len() as u64, 3)
    );
    let found = packed.read(0, bytes.len()).expect("can be read");
    let (before, after) = (
        Gguf::read(&bytes.as_slice()).expect("sound"),
        Gguf::read(&found).expect("sound"),
    );
    for (old, new) in before.tensors.iter().zip(&after.tensors) {
        assert_eq!(
            (&old.name, &old.shape, old.offset),
            (&new.name, &new.shape, new.offset)
        );
        let data = old.offset as usize..(old.offset + old.size) as usize;
        let (expected_ty, is_packed) = match &*old.name {
            "a" => (TensorType::Q4_0_X4, true),
            "b" => (TensorType::Q8_0_X4, true),
            "k" => (TensorType::Q4_K_X4, true),
            _ => (old.ty, false),
        };
        assert_eq!(new.ty, expected_ty, "{}", old.name);
        let (old_data, new_data) = (&bytes[data.clone()], &found[data]);
        if !is_packed {
            assert_eq!(old_data, new_data, "{}", old.name);
            continue;
        }
        let cols = old.shape[0] as usize;
        for (r, row) in old_data
            .chunks(old_data.len() / old.shape[1] as usize)
            .enumerate()
        {
            let (mut plain, mut packed) = (vec![0.0; cols], vec![1.0; cols]);
            quant::dequantize(old.ty, row, &mut plain);
            quant::dequantize_row(new.ty, new_data, r, &mut packed);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&plain), bits(&packed), "{} row {r}", old.name);
        }
    }
    // The header differs only in the three type numbers.
    let header = before.data_offset as usize;
    let changed = (0..header).filter(|&i| bytes[i] != found[i]).count();
    assert!((3..=12).contains(&changed), "{changed} bytes of the header");
}

#[test]
fn it_can_be_read_in_any_steps() {
    let bytes = file();
    let packed = PackedFile::of(bytes.as_slice()).expect("a sound file");
    let whole = packed.read(0, bytes.len()).expect("can be read");
    for step in [1, 3, 17, 71, 1000] {
        let mut parts = Vec::new();
        while parts.len() < whole.len() {
            parts.extend(packed.read(parts.len() as u64, step).expect("can be read"));
        }
        assert_eq!(parts, whole, "in steps of {step}");
    }
    let end = bytes.len() as u64;
    for offset in [end, end + 1, u64::MAX] {
        assert_eq!(packed.read(offset, 10), Ok(Vec::new()), "at {offset}");
    }
    assert!(packed.read(0, MAX_READ + 1).is_err());
}

#[test]
fn a_file_that_is_cut_short_is_not_packed() {
    let bytes = file();
    let error = PackedFile::of(&bytes[..bytes.len() - 200])
        .err()
        .expect("an error");
    assert!(error.to_string().contains("cut short"), "{error}");
}

#[test]
fn what_is_packed_has_nothing_left_to_pack() {
    let bytes = file();
    let packed = PackedFile::of(bytes.as_slice()).expect("a sound file");
    let again = PackedFile::of(packed.read(0, bytes.len()).expect("can be read"));
    assert_eq!(again.expect("a sound file").changed_tensors(), 0);
}
