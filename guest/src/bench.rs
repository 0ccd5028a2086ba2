//! The kernels as a separate component for benchmarking (feature `bench`). `cargo xtask bench --kernels` runs it in
//! place of the engine, built with the engine's flags.
//!
//! It has no clock: the host prepares the work, requests a number of repetitions, and times the call. In the order of
//! use: the world, the work ([`Work`]), and the two ceilings that the kernels are compared with, [`read`] and
//! [`multiply_add`], which are here so that the same compiler builds them.

#[allow(unsafe_code, reason = "generated: lifting and lowering at the border")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from the text below"
)]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package gust:bench;

            world kernels {
                /// The weight types that have kernels.
                export types: func() -> list<string>;
                /// Makes a matrix of at least one row and about this many bytes, and inputs for `tokens` rows of
                /// activations. Returns the matrix's rows and bytes.
                export prepare: func(ty: string, cols: u32, bytes: u32, tokens: u32) -> result<tuple<u32, u32>, string>;
                /// Multiplies the matrix with the inputs, `times` times.
                export multiply: func(times: u32);
                /// Quantises the inputs, `times` times.
                export quantize: func(times: u32);
                /// Reads the matrix's bytes and does almost nothing with them, `times` times.
                export read: func(times: u32) -> u64;
                /// Multiplies and adds small integers in registers; returns the number of multiplications.
                export multiply-add: func(times: u32) -> u64;
            }
        ",
    });
    use super::Component;
    export!(Component);
}

use core::arch::wasm32::*;
use std::cell::RefCell;
use std::hint::black_box;

use crate::gguf::TensorType;
use crate::kernels::{self, Activations, Rows};
use crate::quant;

macro_rules! samples {
    ($($with_test_data:ident)*) => {
        &[
            $((
                TensorType::$with_test_data,
                include_bytes!(concat!("quant/testdata/", stringify!($with_test_data), ".bin")),
            ),)*
            // 0.5 and 1.
            (TensorType::F16, &[0x00, 0x38, 0x00, 0x3c]),
            (TensorType::F32, &[0, 0, 0x00, 0x3f, 0, 0, 0x80, 0x3f]),
        ]
    };
}

/// Types, and some weights of each that are neither subnormal nor infinite.
const TYPES: &[(TensorType, &[u8])] = samples!(
    Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_S IQ2_XS
    IQ2_XXS IQ1_M IQ1_S TQ2_0 TQ1_0 Q2_0 Q1_0 MXFP4 NVFP4 BF16
);

struct Component;

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

impl bindings::Guest for Component {
    fn types() -> Vec<String> {
        let packed = TYPES.iter().filter_map(|(ty, _)| quant::packed_type(*ty));
        let types = TYPES.iter().map(|(ty, _)| *ty).chain(packed);
        types.map(|ty| ty.name().to_owned()).collect()
    }

    fn prepare(ty: String, cols: u32, bytes: u32, tokens: u32) -> Result<(u32, u32), String> {
        WORK.with_borrow_mut(|work| {
            work.prepare(&ty, cols as usize, bytes as usize, tokens as usize)
        })
    }

    fn multiply(times: u32) {
        WORK.with_borrow_mut(|work| work.multiply(times));
    }

    fn quantize(times: u32) {
        WORK.with_borrow_mut(|work| work.quantize(times));
    }

    fn read(times: u32) -> u64 {
        WORK.with_borrow(|work| {
            (0..times)
                .map(|_| read(&work.matrix))
                .fold(0, |all, x| all ^ x)
        })
    }

    fn multiply_add(times: u32) -> u64 {
        multiply_add(times)
    }
}

/// One product at a time.
struct Work {
    ty: TensorType,
    cols: usize,
    /// Reused for the next matrix, because a component cannot give memory back.
    matrix: Vec<u8>,
    /// `[tokens, cols]`, as numbers and quantised.
    x: Vec<f32>,
    activations: Activations,
    /// `[tokens, rows]`
    out: Vec<f32>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            ty: TensorType::F32,
            cols: 1,
            matrix: Vec::new(),
            x: Vec::new(),
            activations: Activations::default(),
            out: Vec::new(),
        }
    }
}

impl Work {
    fn prepare(
        &mut self,
        ty: &str,
        cols: usize,
        bytes: usize,
        tokens: usize,
    ) -> Result<(u32, u32), String> {
        let found = TYPES.iter().find_map(|&(plain, sample)| {
            let packed = quant::packed_type(plain).filter(|packed| packed.name() == ty);
            packed
                .or((plain.name() == ty).then_some(plain))
                .map(|ty| (ty, sample))
        });
        let (ty, sample) = found.ok_or_else(|| format!("there is no kernel for type {ty}"))?;
        let block = ty.block_len() as usize;
        if cols == 0 || !cols.is_multiple_of(block.max(32)) {
            return Err(format!(
                "{}: expected columns in whole blocks, found {cols}",
                ty.name()
            ));
        }
        let row_bytes = cols / block * ty.block_bytes() as usize;
        let together = quant::rows_together(ty);
        let rows = (bytes / row_bytes / together).max(1) * together;
        (self.ty, self.cols) = (ty, cols);
        self.matrix.clear();
        self.matrix.reserve_exact(rows * row_bytes);
        while self.matrix.len() < rows * row_bytes {
            let left = rows * row_bytes - self.matrix.len();
            self.matrix
                .extend_from_slice(&sample[..left.min(sample.len())]);
        }
        if together > 1 {
            let mut packed = vec![0; together * row_bytes];
            for rows in self.matrix.chunks_exact_mut(packed.len()) {
                kernels::pack(ty, cols, rows, &mut packed);
                rows.copy_from_slice(&packed);
            }
        }
        // Small integers of both signs, never the same one twice in a row.
        let value = |i: usize| (i * 37 % 101) as f32 - 50.0;
        self.x = (0..tokens * cols).map(value).collect();
        self.out = vec![0.0; tokens * rows];
        Ok((rows as u32, self.matrix.len() as u32))
    }

    fn multiply(&mut self, times: u32) {
        let weights = Rows {
            ty: self.ty,
            cols: self.cols,
            bytes: &self.matrix,
        };
        let reader = [self.ty].into_iter();
        let input = self.activations.quantize(&self.x, self.cols, reader);
        for _ in 0..times {
            kernels::matmul(weights, input, black_box(&mut self.out));
        }
    }

    fn quantize(&mut self, times: u32) {
        for _ in 0..times {
            let reader = [self.ty].into_iter();
            black_box(self.activations.quantize(&self.x, self.cols, reader));
        }
    }
}

/// The exclusive or of all bytes, eight at a time, as fast as memory delivers them. A remainder of less than 64 bytes
/// is not read.
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [i64x2_splat(0); 4];
    for line in bytes.as_chunks::<64>().0 {
        for (sum, part) in sums.iter_mut().zip(line.as_chunks::<16>().0) {
            let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| part[at + i]));
            *sum = v128_xor(*sum, u64x2(half(0), half(8)));
        }
    }
    let sum = v128_xor(v128_xor(sums[0], sums[1]), v128_xor(sums[2], sums[3]));
    u64x2_extract_lane::<0>(sum) ^ u64x2_extract_lane::<1>(sum)
}

/// Twelve independent chains of one relaxed 8-bit dot product (`vpmaddubsw` on x86) and one 16-bit addition (`vpaddw`),
/// all in registers: more chains than the two instructions have cycles of latency, so nothing stalls. No kernel on
/// 8-bit integers that accumulates in 16 bits does more multiplications per second. Returns their number.
fn multiply_add(times: u32) -> u64 {
    const CHAINS: usize = 12;
    let mut sums = [i16x8_splat(black_box(1)); CHAINS];
    let (weights, step) = (i8x16_splat(black_box(7)), i16x8_splat(black_box(3)));
    for _ in 0..times {
        for sum in &mut sums {
            *sum = i16x8_add(dot_i7(*sum, weights), step);
        }
    }
    black_box(sums.map(|sum| i16x8_extract_lane::<0>(sum)));
    u64::from(times) * CHAINS as u64 * 16
}

#[cfg(target_feature = "relaxed-simd")]
fn dot_i7(a: v128, b: v128) -> v128 {
    i16x8_relaxed_dot_i8x16_i7x16(a, b)
}

/// Without relaxed-simd: the same number of multiplications, 16 bits wide.
#[cfg(not(target_feature = "relaxed-simd"))]
fn dot_i7(a: v128, b: v128) -> v128 {
    i16x8_add(i16x8_extmul_low_i8x16(a, b), i16x8_extmul_high_i8x16(a, b))
}
