//! Dequantisation against ggml (`../shared/data/quant`) and gguf-py (`testdata`, written by `generate.py`).

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
        ($($ty:ident)*) => {$(
            assert_matches(
                TensorType::$ty,
                include_bytes!(concat!("testdata/", stringify!($ty), ".bin")),
                include_bytes!(concat!("testdata/", stringify!($ty), ".f32")),
            );
        )*};
    }
    check!(BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS);
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
        let Some(bytes) = crate::test_data::shared(&format!("quant/{name}.bin")) else {
            return;
        };
        let Some(expected) = crate::test_data::shared(&format!("quant/{name}.expected.f32")) else {
            return;
        };
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
fn only_the_documented_types_are_supported() {
    use TensorType::*;
    let supported = [
        F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS,
    ];
    for id in 0..64 {
        let Some(ty) = TensorType::from_id(id) else {
            continue;
        };
        assert_eq!(is_supported(ty), supported.contains(&ty), "{}", ty.name());
    }
}
