//! Random weights in the layout of each type (ggml's `ggml-common.h`): all bytes random, then the scales set so that
//! the weights have a standard deviation near 0.02 and a mean near 0, as trained ones do. Logits stay finite.

use gust_engine::gguf::TensorType;

use crate::model::{Content, Tensor};

/// The standard deviation of a weight.
const DEVIATION: f32 = 0.02;

/// Bytes that are made at a time, about.
const CHUNK: u64 = 1 << 20;

/// Makes the bytes of one tensor, chunk by chunk.
pub(crate) struct Blocks {
    random: u64,
    elements: usize,
    bytes: Vec<u8>,
}

impl Blocks {
    /// Another seed or another tensor gives other numbers.
    pub(crate) fn new(seed: u64, tensor: u64) -> Self {
        Self {
            random: seed.rotate_left(32) ^ tensor.wrapping_mul(0xD134_2543_DE82_EF95),
            elements: 0,
            bytes: Vec::new(),
        }
    }

    /// The next whole blocks: at most `left` bytes, which must be whole blocks too.
    pub(crate) fn next(&mut self, tensor: &Tensor, left: u64) -> &[u8] {
        let block = tensor.ty.block_bytes();
        let size = left.min(CHUNK / block * block);
        self.fill(size as usize);
        match tensor.ty {
            TensorType::F32 => self.floats(&tensor.content),
            ty => {
                for block in self.bytes.chunks_exact_mut(block as usize) {
                    set_scales(ty, block);
                }
            }
        }
        &self.bytes
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn fill(&mut self, size: usize) {
        self.bytes.clear();
        while self.bytes.len() < size {
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            self.bytes.extend_from_slice(&mixed.to_le_bytes());
        }
        self.bytes.truncate(size);
    }

    fn floats(&mut self, content: &Content) {
        let (floats, _) = self.bytes.as_chunks_mut::<4>();
        for float in floats {
            let value = match content {
                // Uniform: a width of the square root of 12 has deviation 1.
                Content::Random => {
                    let unit = i32::from_le_bytes(*float) as f32 / 2.0f32.powi(32);
                    unit * 12.0f32.sqrt() * DEVIATION
                }
                Content::Ones => 1.0,
                Content::Given(values) => values.get(self.elements).copied().unwrap_or(1.0),
            };
            *float = value.to_le_bytes();
            self.elements += 1;
        }
    }
}

/// Sets the scales of a block of random bytes. Where all levels are on one side of 0, a scale of random sign keeps the
/// mean at 0.
fn set_scales(ty: TensorType, block: &mut [u8]) {
    // Deviations of uniform levels: 16 of them 4.6, 32 of them 9.2, 64 of them 18.5, 256 of them 73.9. Scales of
    // sub-blocks, uniform too, multiply them by their root mean square: 36.5 for 0 to 63, 73.9 for -128 to 127.
    match ty {
        TensorType::Q4_0 => scale(block, 0, DEVIATION / 4.6, Sign::Random),
        TensorType::Q5_0 => scale(block, 0, DEVIATION / 9.2, Sign::Random),
        TensorType::Q8_0 => scale(block, 0, DEVIATION / 73.9, Sign::Random),
        TensorType::Q6_K => scale(block, 208, DEVIATION / (18.5 * 73.9), Sign::Random),
        TensorType::Q4_K => {
            let d = DEVIATION / (4.6 * 36.5);
            scale(block, 0, d, Sign::Plus);
            // The offset of a sub-block is 7.5 of its steps: `d * scale * (level - 7.5)`.
            scale(block, 2, d * 7.5, Sign::Plus);
            // Offsets equal scales: bytes 0 to 3 hold four scales, 4 to 7 four offsets (and, in the upper two bits, bits
            // of the other four), 8 to 11 the lower halves of the others, side by side.
            block.copy_within(4..8, 8);
            for pair in &mut block[12..16] {
                *pair = (*pair & 0x0F) * 0x11;
            }
        }
        // The table of models asks for no other type.
        other => unreachable!("no layout for {}", other.name()),
    }
}

enum Sign {
    Plus,
    Random,
}

/// Writes an f16 at `at`, with the sign of the random bits that were there.
fn scale(block: &mut [u8], at: usize, value: f32, sign: Sign) {
    let sign = match sign {
        Sign::Plus => 0,
        Sign::Random => block[at + 1] & 0x80,
    };
    let [low, high] = to_f16(value).to_le_bytes();
    block[at] = low;
    block[at + 1] = high | sign;
}

/// The f16 nearest to a number from 2^-24 to 1, subnormal ones included.
fn to_f16(value: f32) -> u16 {
    let mut exponent = 0;
    let mut mantissa = value;
    while mantissa < 1.0 && exponent > -14 {
        mantissa *= 2.0;
        exponent -= 1;
    }
    let bits = (mantissa * 1024.0).round() as i32;
    // A mantissa of 1024 or more carries its leading bit into the exponent's field.
    (((exponent + 14) << 10) + bits) as u16
}

#[cfg(test)]
mod tests {
    use super::to_f16;

    #[test]
    fn f16_bits_are_those_of_ieee_754() {
        // Normal, the smallest normal, the largest subnormal, the smallest subnormal.
        for (value, bits) in [
            (1.0, 0x3C00),
            (0.5, 0x3800),
            (1365.0 / 4096.0, 0x3555),
            (2.0f32.powi(-14), 0x0400),
            (2.0f32.powi(-24) * 1023.0, 0x03FF),
            (2.0f32.powi(-24), 0x0001),
        ] {
            assert_eq!(to_f16(value), bits, "{value}");
        }
    }
}
