//! A model file in the packed layout (see [`quant`]), produced while it is read.
//!
//! Packing moves bytes within matrices and changes their type numbers; everything else stays where it is, and the file
//! keeps its size.

use std::ops::Range;

use crate::blob::Blob;
use crate::error::{Result, invalid_argument, invalid_model, reserve};
use crate::gguf::{Gguf, TensorType};
use crate::{kernels, quant};

/// The most bytes produced by one call. A matrix whose interleaved rows exceed this is not packed.
const MAX_READ: usize = 1 << 24;

/// A packed view of a file.
pub struct PackedFile<B> {
    blob: B,
    /// In file order.
    matrices: Vec<Matrix>,
}

/// A matrix that changes its layout.
struct Matrix {
    /// Its packed type.
    ty: TensorType,
    /// The position of its type number, in bytes from the start of the file.
    type_at: u64,
    data: Range<u64>,
    cols: usize,
    /// Bytes of one group of interleaved rows.
    rows: u64,
}

impl<B: Blob> PackedFile<B> {
    /// Finds the matrices that can be packed: those of a type with a packed layout, whose number of rows is a multiple
    /// of the rows that are interleaved.
    ///
    /// # Errors
    /// As [`Gguf::read`] and [`Gguf::check_data`]; `unsupported` for one of several files.
    pub fn of(blob: B) -> Result<Self> {
        let gguf = Gguf::read(&blob)?;
        gguf.check_whole()?;
        gguf.check_data(blob.size())?;
        let matrices = gguf.tensors.iter().filter_map(|tensor| {
            let ty = quant::packed_type(tensor.ty)?;
            let [cols, rows] = tensor.shape[..] else {
                return None;
            };
            let together = quant::rows_together(ty) as u64;
            let matrix = Matrix {
                ty,
                cols: usize::try_from(cols).ok()?,
                type_at: tensor.type_at,
                data: tensor.offset..tensor.offset + tensor.size,
                rows: tensor.size.checked_div(rows)?.checked_mul(together)?,
            };
            let sizes = 1..=MAX_READ as u64;
            (rows.is_multiple_of(together) && sizes.contains(&matrix.rows)).then_some(matrix)
        });
        let matrices = matrices.collect();
        Ok(Self { blob, matrices })
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.blob.size()
    }

    /// How many tensors change their layout.
    pub fn changed_tensors(&self) -> usize {
        self.matrices.len()
    }

    /// Reads `length` bytes from `offset`, or fewer at the end of the file.
    ///
    /// # Errors
    /// `invalid-argument` for more than 16 MiB, `invalid-model` for a scale that is not finite, `out-of-memory`, `io`.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length > MAX_READ {
            return Err(invalid_argument(
                "length",
                format!("at most {MAX_READ}"),
                length,
            ));
        }
        let end = self.size().min(offset.saturating_add(length as u64));
        let mut out = Vec::new();
        reserve(&mut out, end.saturating_sub(offset) as usize)?;
        let mut at = offset;
        let next = self
            .matrices
            .partition_point(|matrix| matrix.data.end <= offset);
        for matrix in &self.matrices[next..] {
            if at >= end {
                break;
            }
            if at < matrix.data.start {
                self.copy(at..end.min(matrix.data.start), &mut out)?;
                at = end.min(matrix.data.start);
            }
            if at < end {
                let to = end.min(matrix.data.end);
                self.pack(matrix, at..to, &mut out)?;
                at = to;
            }
        }
        if at < end {
            self.copy(at..end, &mut out)?;
        }
        Ok(out)
    }

    /// Appends bytes outside the packed matrices, with the new type numbers.
    fn copy(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.extend(
            self.blob
                .read(range.start, (range.end - range.start) as usize)?,
        );
        let copied = &mut out[start..];
        let first = self
            .matrices
            .partition_point(|matrix| matrix.type_at + 4 <= range.start);
        let numbered = self.matrices[first..].iter();
        for matrix in numbered.take_while(|matrix| matrix.type_at < range.end) {
            for (at, byte) in (matrix.type_at..).zip(matrix.ty.id().to_le_bytes()) {
                if range.contains(&at) {
                    copied[(at - range.start) as usize] = byte;
                }
            }
        }
        Ok(())
    }

    /// Appends bytes of a packed matrix.
    fn pack(&self, matrix: &Matrix, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        // Whole groups of rows.
        let group = |at: u64| (at - matrix.data.start) / matrix.rows;
        let first = matrix.data.start + group(range.start) * matrix.rows;
        let last = matrix.data.start + (group(range.end - 1) + 1) * matrix.rows;
        let rows = self.blob.read(first, (last - first) as usize)?;
        let mut packed = Vec::new();
        reserve(&mut packed, rows.len())?;
        packed.resize(rows.len(), 0);
        if !kernels::pack(matrix.ty, matrix.cols, &rows, &mut packed) {
            return Err(invalid_model(
                "a matrix to be packed",
                "scales that are finite numbers",
                "one that is infinite or not a number",
            ));
        }
        out.extend_from_slice(
            &packed[(range.start - first) as usize..(range.end - first) as usize],
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
