//! Tests dequantisation against ggml (`tests/data/quant`) and gguf-py (`testdata`, written by `generate.py`).

use super::*;

fn assert_matches(ty: TensorType, bytes: &[u8], expected: &[u8]) {
    let expected: Vec<f32> = F32::raws(expected)
        .iter()
        .map(|raw| F32::to_f32(*raw))
        .collect();
    let mut found = vec![f32::NAN; expected.len()];
    dequantize(ty, bytes, &mut found);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || *found == 0.0 && *expected == 0.0;
        assert!(
            same,
            "{} weight {i}: expected {expected}, found {found}",
            ty.name()
        );
    }
}

#[test]
fn equals_gguf_py() {
    macro_rules! check {
        ($ty:ident) => {
            assert_matches(
                TensorType::$ty,
                include_bytes!(concat!("testdata/", stringify!($ty), ".bin")),
                include_bytes!(concat!("testdata/", stringify!($ty), ".f32")),
            )
        };
    }
    check!(BF16);
    each_format!(check);
}

#[test]
fn equals_ggml() {
    for ty in [
        TensorType::F16,
        TensorType::Q4_0,
        TensorType::Q8_0,
        TensorType::Q4_K,
        TensorType::Q6_K,
    ] {
        let name = ty.name();
        let bytes = crate::test_data::data(&format!("quant/{name}.bin"));
        let expected = crate::test_data::data(&format!("quant/{name}.expected.f32"));
        assert_matches(ty, &bytes, &expected);
    }
}

#[test]
fn floats_pass_through() {
    let values = [0.0, -0.0, 1.5, f32::INFINITY, f32::MIN_POSITIVE / 2.0];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_matches(TensorType::F32, &bytes, &bytes);
}

#[test]
fn other_numbers_become_floats() {
    let check = |ty, bytes: &[u8], expected: [f32; 2]| {
        let mut found = [f32::NAN; 2];
        dequantize(ty, bytes, &mut found);
        assert_eq!(found, expected, "{}", ty.name());
    };
    let pair = |a: f64, b: f64| [a.to_le_bytes(), b.to_le_bytes()].concat();
    check(TensorType::F64, &pair(0.1, -2.5), [0.1, -2.5]);
    check(TensorType::I8, &[1, 0xff], [1.0, -1.0]);
    check(TensorType::I16, &[2, 1, 0xfe, 0xff], [258.0, -2.0]);
    let pair = |a: i32, b: i32| [a.to_le_bytes(), b.to_le_bytes()].concat();
    check(TensorType::I32, &pair(1 << 20, -3), [1_048_576.0, -3.0]);
    let pair = |a: i64, b: i64| [a.to_le_bytes(), b.to_le_bytes()].concat();
    check(
        TensorType::I64,
        &pair(0, -(1 << 40)),
        [0.0, -(2f32.powi(40))],
    );
}

/// Whatever bytes a file has, they stand for weights.
#[test]
fn any_bytes_are_blocks() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for ty in BLOCKS.iter().chain(ELEMENTS) {
        let size = ty.block_bytes() as usize;
        let mut bytes = [0x00u8, 0x7f, 0x80, 0xff]
            .map(|fill| vec![fill; size])
            .concat();
        bytes.extend((0..100 * size).map(|_| random()));
        let mut out = vec![0.0; bytes.len() / size * ty.block_len() as usize];
        dequantize(*ty, &bytes, &mut out);
        let n_used = out.iter().filter(|x| **x != 0.0).count();
        assert!(n_used > out.len() / 4, "{}: {n_used}", ty.name());
    }
}

#[test]
fn only_the_documented_types_are_supported() {
    use TensorType::*;
    let supported = [
        F32, F16, BF16, F64, I8, I16, I32, I64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K,
        Q5_K, Q6_K, IQ4_NL, IQ4_XS, IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, TQ2_0,
        TQ1_0, Q2_0, Q1_0, MXFP4, NVFP4, Q4_0_X4, Q4_1_X4, Q5_0_X4, Q5_1_X4, Q8_0_X4, Q4_K_X4,
        Q5_K_X4, Q6_K_X4, MXFP4_X4,
    ];
    let names = supported_names();
    assert_eq!(names.split(", ").count(), supported.len(), "{names}");
    for ty in supported {
        assert!(names.split(", ").any(|name| name == ty.name()), "{names}");
    }
    for id in (0..64).chain(0x6775_7300..0x6775_7340) {
        let Some(ty) = TensorType::from_id(id) else {
            continue;
        };
        assert_eq!(is_supported(ty), supported.contains(&ty), "{}", ty.name());
    }
}

#[test]
fn packing_moves_bits_and_changes_none() {
    let packed = BLOCKS.iter().filter_map(|&ty| Some((ty, packed_type(ty)?)));
    for (ty, packed_ty) in packed {
        let (cols, row) = (
            512,
            512 / ty.block_len() as usize * ty.block_bytes() as usize,
        );
        // Bytes differ from their neighbours, and none is the upper one of an f16 that is infinite or NaN.
        let rows: Vec<u8> = (0..11 * row)
            .map(|i| (i * 7 + i / 256) as u8 & 0xbf)
            .collect();
        let mut packed = vec![0; rows.len()];
        assert!(crate::kernels::pack(packed_ty, cols, &rows, &mut packed));
        assert_ne!(packed, rows);
        let ones = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!(ones(&packed), ones(&rows));
        for r in 0..11 {
            let (mut expected, mut found) = (vec![0.0; cols], vec![1.0; cols]);
            dequantize(ty, &rows[r * row..][..row], &mut expected);
            dequantize_row(packed_ty, &packed, r, &mut found);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{} row {r}", ty.name());
        }
    }
}

#[test]
fn a_quad_of_4_bit_weights_is_as_documented() {
    let block = |row: u8| std::array::from_fn(|i| 32 * row + i as u8);
    let quad = Q4_0::quad([&block(0), &block(1), &block(2), &block(3)]);
    // Scales of the four rows, then four bytes of each, and the next four.
    assert_eq!(quad[..8], [0, 1, 32, 33, 64, 65, 96, 97]);
    assert_eq!(
        quad[8..24],
        [2, 3, 4, 5, 34, 35, 36, 37, 66, 67, 68, 69, 98, 99, 100, 101]
    );
    assert_eq!(quad[24..28], [6, 7, 8, 9]);
}

/// What sums in 16 bits rely on.
#[test]
fn no_quant_is_larger_than_it_may_be() {
    macro_rules! check {
        ($format:ident) => {{
            let mut state = 1u64;
            for _ in 0..200 {
                let mut block = $format::EMPTY;
                for byte in &mut block {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    *byte = (state >> 56) as u8;
                }
                for g in 0..<$format as Format>::GROUPS {
                    let quants = $format::quants(&block, g);
                    let all_fit = quants
                        .iter()
                        .all(|q| (0..=$format::MOST).contains(&i16::from(*q)));
                    assert!($format::SIGNED || all_fit, "{}", stringify!($format));
                }
            }
        }};
    }
    each_format!(check);
}
