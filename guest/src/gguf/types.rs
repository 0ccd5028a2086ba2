//! Tensor types: numbers, names and block sizes, ggml's except for the packed ones. [`crate::quant`] defines which of
//! them the engine computes with; the others are listed so that their sizes can be checked and their names shown.

/// A tensor type: ggml's, and gust's packed ones (`_X4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the names of the formats")]
#[expect(non_camel_case_types, reason = "the names are ggml's")]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    I8,
    I16,
    I32,
    I64,
    F64,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q1_0,
    Q2_0,
    Q4_0_X4,
    Q4_1_X4,
    Q5_0_X4,
    Q5_1_X4,
    Q8_0_X4,
    Q4_K_X4,
    Q5_K_X4,
    Q6_K_X4,
    MXFP4_X4,
}

use TensorType::*;

/// Type, number, name, elements per block, bytes per block.
const TABLE: [(TensorType, u32, &str, u64, u64); 44] = [
    (F32, 0, "F32", 1, 4),
    (F16, 1, "F16", 1, 2),
    (Q4_0, 2, "Q4_0", 32, 18),
    (Q4_1, 3, "Q4_1", 32, 20),
    (Q5_0, 6, "Q5_0", 32, 22),
    (Q5_1, 7, "Q5_1", 32, 24),
    (Q8_0, 8, "Q8_0", 32, 34),
    (Q8_1, 9, "Q8_1", 32, 36),
    (Q2_K, 10, "Q2_K", 256, 84),
    (Q3_K, 11, "Q3_K", 256, 110),
    (Q4_K, 12, "Q4_K", 256, 144),
    (Q5_K, 13, "Q5_K", 256, 176),
    (Q6_K, 14, "Q6_K", 256, 210),
    (Q8_K, 15, "Q8_K", 256, 292),
    (IQ2_XXS, 16, "IQ2_XXS", 256, 66),
    (IQ2_XS, 17, "IQ2_XS", 256, 74),
    (IQ3_XXS, 18, "IQ3_XXS", 256, 98),
    (IQ1_S, 19, "IQ1_S", 256, 50),
    (IQ4_NL, 20, "IQ4_NL", 32, 18),
    (IQ3_S, 21, "IQ3_S", 256, 110),
    (IQ2_S, 22, "IQ2_S", 256, 82),
    (IQ4_XS, 23, "IQ4_XS", 256, 136),
    (I8, 24, "I8", 1, 1),
    (I16, 25, "I16", 1, 2),
    (I32, 26, "I32", 1, 4),
    (I64, 27, "I64", 1, 8),
    (F64, 28, "F64", 1, 8),
    (IQ1_M, 29, "IQ1_M", 256, 56),
    (BF16, 30, "BF16", 1, 2),
    (TQ1_0, 34, "TQ1_0", 256, 54),
    (TQ2_0, 35, "TQ2_0", 256, 66),
    (MXFP4, 39, "MXFP4", 32, 17),
    (NVFP4, 40, "NVFP4", 64, 36),
    (Q1_0, 41, "Q1_0", 128, 18),
    (Q2_0, 42, "Q2_0", 64, 18),
    // gust's own: rows interleaved in groups of four, see `quant::packed`.
    (Q4_0_X4, 0x6775_7302, "Q4_0_X4", 32, 18),
    (Q4_1_X4, 0x6775_7303, "Q4_1_X4", 32, 20),
    (Q5_0_X4, 0x6775_7306, "Q5_0_X4", 32, 22),
    (Q5_1_X4, 0x6775_7307, "Q5_1_X4", 32, 24),
    (Q8_0_X4, 0x6775_7308, "Q8_0_X4", 32, 34),
    (Q4_K_X4, 0x6775_730c, "Q4_K_X4", 256, 144),
    (Q5_K_X4, 0x6775_730d, "Q5_K_X4", 256, 176),
    (Q6_K_X4, 0x6775_730e, "Q6_K_X4", 256, 210),
    (MXFP4_X4, 0x6775_7327, "MXFP4_X4", 32, 17),
];

// Checks that each type is at its own index in the table.
const _: () = {
    let mut at = 0;
    while at < TABLE.len() {
        assert!(TABLE[at].0 as usize == at);
        at += 1;
    }
};

impl TensorType {
    /// The type with the number `id`.
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    /// Its number in files.
    pub fn id(self) -> u32 {
        TABLE[self as usize].1
    }

    /// Its name, for example `Q4_K`.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// Elements per block.
    pub const fn block_len(self) -> u64 {
        TABLE[self as usize].3
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> u64 {
        TABLE[self as usize].4
    }
}
