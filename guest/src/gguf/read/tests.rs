//! Tests the reader with ggml's own test files, and with one file of our own per published class of bug
//! (`tests/data/malformed/README.md`).

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::gguf::Writer;
use crate::test_data::{data, shared};

/// What `gust inspect` does with a file: it accepts a header alone, but rejects data that is cut short.
fn verdict(file: &[u8]) -> Result<Gguf> {
    let gguf = Gguf::read(&file)?;
    if file.len() as u64 > gguf.data_offset {
        gguf.check_data(file.len() as u64)?;
    }
    Ok(gguf)
}

const GGML_FILES: &str = "\
    DATA_MEM_SIZE_OVERFLOW.reject HEADER_BAD_MAGIC.reject HEADER_BAD_N_KV.reject HEADER_BAD_N_TENSORS.reject
    HEADER_BAD_VERSION_0.reject HEADER_BAD_VERSION_1.reject HEADER_BAD_VERSION_FUTURE.reject HEADER_EMPTY.accept
    KV_BAD_ALIGN.reject KV_BAD_KEY_SIZE.reject KV_BAD_TYPE.reject KV_DUPLICATE_KEY.reject KV_EMPTY_KEY.reject
    KV_RANDOM_KV.accept KV_WRONG_TYPE_ALIGN.reject TENSORS_BAD_ALIGN.reject TENSORS_BAD_NAME_SIZE.reject
    TENSORS_BAD_N_DIMS.reject TENSORS_BAD_OFFSET.reject TENSORS_BAD_SHAPE.reject TENSORS_BAD_TYPE.reject
    TENSORS_CUSTOM_ALIGN.accept TENSORS_DUPLICATE_NAME.reject TENSORS_INCONSISTENT_ALIGN.reject
    TENSORS_NBYTES_PAD_WRAP.reject TENSORS_NBYTES_TOO_BIG.reject TENSORS_NE_TOO_BIG.reject TENSORS_SUCCESS.accept
    TENSORS_ZERO_DIM.accept";

/// Those of ggml's files that have the data of tensors in them, and are too big to come with the project.
const BIG_GGML_FILES: &str = "\
    DATA_BAD_ALIGN.reject DATA_CUSTOM_ALIGN.accept DATA_INCONSISTENT_ALIGN.reject DATA_NOT_ENOUGH_DATA.reject
    DATA_SUCCESS.accept";

fn check_verdict(name: &str, file: &[u8]) {
    let found = verdict(file);
    assert_eq!(
        found.is_ok(),
        name.ends_with(".accept"),
        "{name}: {:?}",
        found.err()
    );
}

#[test]
fn ggmls_files_get_ggmls_verdict() {
    let names: Vec<&str> = GGML_FILES.split_whitespace().collect();
    assert_eq!(names.len(), 29);
    for name in names {
        check_verdict(name, &data(&format!("malformed/{name}.gguf")));
    }
}

#[test]
fn ggmls_big_files_get_ggmls_verdict() {
    for name in BIG_GGML_FILES.split_whitespace() {
        let Some(file) = shared(&format!("malformed/{name}.gguf")) else {
            return;
        };
        check_verdict(name, &file);
    }
}

/// A small valid file: two keys and a tensor of 64 zeros.
fn sound() -> Vec<u8> {
    let mut writer = Writer::default();
    writer
        .metadata("general.architecture", "llama")
        .metadata("some.number", 7);
    let size = writer.tensor("weight", TensorType::F32, &[64]);
    let mut file = writer.header();
    file.resize(file.len() + size as usize, 0);
    file
}

/// A header with these counts, followed by `rest`.
fn header(n_tensors: u64, n_kv: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(n_tensors.to_le_bytes());
    file.extend(n_kv.to_le_bytes());
    file.extend(rest.concat());
    file
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A tensor's row in the table.
fn row(name: &str, dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
    bytes.extend(ty.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

#[track_caller]
fn assert_rejected(file: Vec<u8>, words: &[&str]) {
    let error = verdict(&file).expect_err("a broken file");
    let message = error.to_string();
    assert!(
        matches!(error, Error::InvalidModel(_) | Error::Unsupported(_)),
        "{message}"
    );
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn reads_what_was_written() {
    let file = sound();
    let gguf = verdict(&file).unwrap();
    assert_eq!(
        gguf.metadata.str("general.architecture").unwrap(),
        Some("llama")
    );
    assert_eq!(gguf.metadata.u32("some.number").unwrap(), Some(7));
    assert_eq!(gguf.metadata.u32("absent").unwrap(), None);
    let tensor = gguf.tensor("weight").unwrap();
    assert_eq!(
        (tensor.ty, tensor.size, &tensor.shape[..]),
        (TensorType::F32, 256, &[64][..])
    );
    assert_eq!(tensor.offset + tensor.size, file.len() as u64);
}

#[test]
fn a_file_that_is_no_gguf() {
    assert_rejected(Vec::new(), &["magic", "4 bytes", "0"]);
    assert_rejected(b"GG".to_vec(), &["magic"]);
    assert_rejected(b"PK\x03\x04 some archive".to_vec(), &["GGUF", "PK"]);
}

#[test]
fn a_big_endian_file_is_named_as_such() {
    assert_rejected(
        b"GGUF\0\0\0\x03aaaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
        &["little-endian", "big-endian"],
    );
}

/// CVE-2024-25664, CVE-2024-25666 and similar: a count whose product with a size wraps.
#[test]
fn counts_are_compared_with_the_file() {
    for count in [1, 1 << 32, u64::MAX / 88 + 1, u64::MAX] {
        assert_rejected(header(count, 0, &[]), &["number of tensors"]);
        assert_rejected(header(0, count, &[]), &["number of metadata keys"]);
    }
}

/// CVE-2024-25665: a length whose sum with 1 wraps. ggml PR #1516: a length that is passed to the allocator.
#[test]
fn string_lengths_are_compared_with_the_file() {
    for length in [100u64, 1 << 30, u64::MAX] {
        assert_rejected(
            header(0, 1, &[&length.to_le_bytes(), &[0; 90]]),
            &["metadata key 0"],
        );
        let key = text("key");
        let string = 8u32.to_le_bytes();
        let rest: [&[u8]; 4] = [&key, &string, &length.to_le_bytes(), &[0; 20]];
        assert_rejected(header(0, 1, &rest), &["key"]);
    }
}

/// CVE-2024-25667 and CVE-2024-25668: the count of an array.
#[test]
fn array_counts_are_compared_with_the_file() {
    for (ty, count) in [
        (8u32, u64::MAX / 16 + 1),
        (8, 1 << 40),
        (4, u64::MAX / 4 + 1),
        (0, 1 << 33),
    ] {
        let key = text("key");
        let rest: [&[u8]; 5] = [
            &key,
            &9u32.to_le_bytes(),
            &ty.to_le_bytes(),
            &count.to_le_bytes(),
            &[0; 40],
        ];
        assert_rejected(header(0, 1, &rest), &["key", "at most"]);
    }
}

/// GGUF-PY-F001: arrays in arrays, with a recursive call per level.
#[test]
fn arrays_of_arrays_are_refused_without_descending() {
    let (key, array) = (text("key"), 9u32.to_le_bytes());
    let nested = [array, array].concat().repeat(1000);
    assert_rejected(
        header(0, 1, &[&key, &array, &array, &nested]),
        &["key", "array of arrays"],
    );
}

/// llama.cpp #19856: type numbers used as table indices.
#[test]
fn unknown_type_numbers() {
    for ty in [13u32, 255, u32::MAX] {
        let key = text("key");
        let rest: [&[u8]; 3] = [&key, &ty.to_le_bytes(), &[0; 40]];
        assert_rejected(header(0, 1, &rest), &["key", "type"]);
        let array: [&[u8]; 4] = [&key, &9u32.to_le_bytes(), &ty.to_le_bytes(), &[0; 40]];
        assert_rejected(header(0, 1, &array), &["key", "type"]);
    }
    for ty in [4u32, 5, 200, u32::MAX] {
        assert_rejected(
            header(1, 0, &[&row("w", &[32], ty, 0)]),
            &["tensor `w`", "type"],
        );
    }
}

/// CVE-2024-21802: more dimensions than fit into the array.
#[test]
fn numbers_of_dimensions() {
    for n_dims in [0, 5, 1000] {
        let dims = vec![1; n_dims];
        assert_rejected(
            header(1, 0, &[&row("w", &dims, 0, 0)]),
            &["tensor `w`", "dimensions"],
        );
    }
    let mut wild = row("w", &[1, 1], 0, 0);
    wild[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_rejected(header(1, 0, &[&wild]), &["4294967295 dimensions"]);
}

/// CVE-2026-33298: dimensions whose product wraps to a small number.
#[test]
fn products_of_dimensions_do_not_wrap() {
    for dims in [[1 << 32, 1 << 32], [u64::MAX, 2], [1 << 62, 4]] {
        assert_rejected(
            header(1, 0, &[&row("w", &dims, 0, 0)]),
            &["tensor `w`", "2^63"],
        );
    }
}

/// CVE-2025-53630, CVE-2026-27940, ggml's NBYTES_PAD_WRAP: sums of sizes wrap, and so does their padding.
#[test]
fn sums_of_sizes_do_not_wrap() {
    let huge = (1u64 << 62) / 4;
    let rows: Vec<u8> = (0..5)
        .flat_map(|i| row(&format!("w{i}"), &[huge * 2], 0, i * (huge * 8)))
        .collect();
    assert_rejected(header(5, 0, &[&rows]), &["w1", "2^64"]);
}

/// CVE-2026-7482 (Bleeding Llama): data past the end of the file.
#[test]
fn data_lie_within_the_file() {
    let file = sound();
    for missing in [1, 100, 255] {
        let cut = file[..file.len() - missing].to_vec();
        assert_rejected(cut, &["data of tensor `weight`", "cut short"]);
    }
    let outside = header(1, 0, &[&row("w", &[32], 0, 1 << 40), &[0; 500]]);
    assert_rejected(outside, &["offset of tensor `w`"]);
}

/// CVE-2025-0317: division by an alignment of 0. ggml PR #26318: an alignment of a wrong type. PR #1516: a huge one.
#[test]
fn alignments() {
    let with = |ty: u32, value: &[u8]| {
        let key = text("general.alignment");
        header(0, 1, &[&key, &ty.to_le_bytes(), value])
    };
    for alignment in [0u32, 3, 24, 1 << 17, 1 << 30] {
        assert_rejected(
            with(4, &alignment.to_le_bytes()),
            &["general.alignment", "power of two"],
        );
    }
    assert_rejected(
        with(5, &32i32.to_le_bytes()),
        &["general.alignment", "u32", "i32"],
    );
    assert_rejected(with(8, &text("32")), &["general.alignment", "string"]);
    assert!(verdict(&with(4, &64u32.to_le_bytes())).is_ok());
}

#[test]
fn names() {
    assert_rejected(
        header(1, 0, &[&row("", &[32], 0, 0)]),
        &["name of tensor 0"],
    );
    assert_rejected(
        header(1, 0, &[&row(&"x".repeat(64), &[32], 0, 0)]),
        &["name of tensor 0", "63"],
    );
    let twice = [row("w", &[8], 0, 0), row("w", &[8], 0, 32)].concat();
    assert_rejected(header(2, 0, &[&twice]), &["`w` twice"]);
    let not_text = [2u64.to_le_bytes().as_slice(), &[0xff, 0xfe], &[0; 40]].concat();
    assert_rejected(header(0, 1, &[&not_text]), &["UTF-8"]);
}

/// mapfuzz: values of a different type than the key's reader expects.
#[test]
fn typed_getters_refuse_other_types() {
    let mut writer = Writer::default();
    writer
        .metadata("text", "x")
        .metadata("number", 1)
        .metadata("float", f32::NAN);
    writer
        .metadata("floats", Array::f32s([1.0]))
        .metadata("flag", true);
    writer.metadata("bytes", Value::String(vec![0xff]));
    writer
        .metadata("negative", Value::I32(-1))
        .metadata("wide", Value::U64(1 << 40));
    let gguf = verdict(&writer.header()).unwrap();
    let m = &gguf.metadata;
    assert!(m.u32("text").is_err() && m.u32("negative").is_err() && m.u32("wide").is_err());
    assert!(m.f32("number").is_err() && m.f32("float").is_err());
    assert!(m.str("number").is_err() && m.str("bytes").is_err());
    assert!(m.bool("number").is_err());
    assert!(m.strings("floats").is_err() && m.i32s("floats").is_err() && m.f32s("text").is_err());
    assert_eq!(m.f32s("floats").unwrap(), Some(vec![1.0]));
    assert_eq!(m.bool("flag").unwrap(), Some(true));
}

/// A blob that checks each request: nothing past the end of the file may be read, and so allocated, and never much at a
/// time, of which the host would hold a copy.
#[test]
fn reads_no_more_than_the_file() {
    struct Counting(Vec<u8>);
    impl Blob for Counting {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
            assert!(
                offset + length as u64 <= self.size(),
                "{length} bytes at {offset}"
            );
            assert!(length as u64 <= CHUNK, "{length} bytes at a time");
            self.0.read(offset, length)
        }
    }
    for file in [
        sound(),
        header(1 << 50, 1 << 50, &[]),
        header(0, 1, &[&[0xff; 64]]),
    ] {
        let _ = Gguf::read(&Counting(file));
    }
    let long = "long ".repeat(1_000_000);
    let mut writer = Writer::default();
    writer.metadata("a.text", long.as_str());
    let file = Gguf::read(&Counting(writer.header())).unwrap();
    assert_eq!(file.metadata.str("a.text").unwrap(), Some(long.as_str()));
}

proptest! {
    /// Any bytes give an error or a checked file, never a panic.
    #[test]
    fn survives_any_change(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..20), cut in 0usize..500) {
        let mut file = sound();
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        file.truncate(cut.max(8));
        if let Ok(gguf) = verdict(&file) {
            for tensor in &gguf.tensors {
                prop_assert!(gguf.data_offset >= file.len() as u64 || tensor.offset + tensor.size <= file.len() as u64);
            }
        }
    }
}
