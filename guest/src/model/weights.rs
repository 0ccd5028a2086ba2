//! The weights: which tensors a layer has, checked for shape and type, and this instance's rows of each.

use std::ops::Range;
use std::rc::Rc;

use super::group::Place;
use super::layer::Layer;
use super::plan::Plan;
use super::region::Region;
use super::rope::Ropes;
use crate::blob::{Blob, PAGE};
use crate::error::{Result, invalid_model, unsupported};
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::kernels::Rows;
use crate::quant;

/// Tensors smaller than this are copied, because a mapping costs the host more than it saves. In bytes.
const SMALLEST_MAPPING: u64 = 1 << 18;

/// Whether weights may be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Mapped if the provider supports it, otherwise copied.
    Allowed,
    /// Always copied.
    Copy,
}

/// Rows of a matrix, as stored in the file.
pub(crate) struct Matrix {
    ty: TensorType,
    cols: usize,
    data: Region,
}

impl Matrix {
    /// All rows of this instance.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows {
            ty: self.ty,
            cols: self.cols,
            bytes: self.data.bytes(),
        }
    }

    /// The number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.data.bytes().len() / row_bytes(self.ty, self.cols)
    }

    /// Row `r` as numbers, `[cols]`.
    pub(crate) fn row(&self, r: usize, out: &mut [f32]) {
        quant::dequantize_row(self.ty, self.data.bytes(), r, out);
    }
}

fn row_bytes(ty: TensorType, cols: usize) -> usize {
    cols / ty.block_len() as usize * ty.block_bytes() as usize
}

/// Rows of several matrices of one shape, such as those of experts.
pub(crate) struct Matrices {
    ty: TensorType,
    cols: usize,
    /// This instance's rows of each.
    n_rows: usize,
    /// One for all, if these are all rows of all of them; otherwise one for each.
    data: Vec<Region>,
}

impl Matrices {
    /// All rows of matrix `i` that this instance has.
    pub(crate) fn rows(&self, i: usize) -> Rows<'_> {
        let length = self.n_rows * row_bytes(self.ty, self.cols);
        let bytes = match &*self.data {
            [all] => &all.bytes()[i * length..][..length],
            each => each[i].bytes(),
        };
        Rows {
            ty: self.ty,
            cols: self.cols,
            bytes,
        }
    }

    /// The number of rows of each matrix.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }
}

/// This instance's rows of a projection: a matrix and an optional bias.
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    /// `[rows]`.
    pub(crate) bias: Option<Vec<f32>>,
}

/// All weights that this instance needs.
pub(crate) struct Weights {
    /// `[V, E]`, all rows, because any token may occur.
    pub(crate) token_embd: Rc<Matrix>,
    pub(crate) layers: Vec<Layer>,
    /// What the layers rotate queries and keys by.
    pub(crate) ropes: Ropes,
    /// `[E]`
    pub(crate) output_norm: Vec<f32>,
    /// `[V, E]`, this instance's rows; the embedding matrix if the file has no separate one.
    pub(crate) output: Rc<Matrix>,
    /// Bytes that were mapped.
    pub(crate) mapped_bytes: u64,
}

impl Weights {
    /// Loads the rows of `place` of a file's tensors. The caller has checked that their data lies within `blob`.
    ///
    /// # Errors
    /// `invalid-model` for a tensor that is missing or has a wrong shape, `unsupported` for a type that the kernels do
    /// not support, `out-of-memory`, `io`.
    pub(crate) fn load(
        gguf: &Gguf,
        blob: &dyn Blob,
        mapping: Mapping,
        plan: &Plan,
        place: Place,
    ) -> Result<Self> {
        let source = Some((blob, mapping));
        Self::collect(&mut Loader::new(gguf, source, place), plan)
    }

    /// The memory that the rows of `place` take, without loading them.
    ///
    /// # Errors
    /// As [`Weights::load`], except for errors while reading.
    pub(crate) fn weigh(gguf: &Gguf, plan: &Plan, place: Place) -> Result<Weight> {
        let mut loader = Loader::new(gguf, None, place);
        Self::collect(&mut loader, plan)?;
        Ok(loader.weight)
    }

    fn collect(loader: &mut Loader<'_>, plan: &Plan) -> Result<Self> {
        let Plan {
            n_embd, n_vocab, ..
        } = *plan;
        let token_embd = Rc::new(loader.matrix("token_embd", [n_embd, n_vocab], 0..n_vocab)?);
        let (mut layers, mut ropes) = (Vec::new(), Ropes::default());
        for (l, spec) in plan.layers.iter().enumerate() {
            layers.push(Layer::load(loader, &mut ropes, plan, l, spec)?);
        }
        let output_norm = loader.vector("output_norm.weight", n_embd)?;
        let is_tied = loader.gguf.tensor("output.weight").is_none();
        let rows = loader.place.rows(n_vocab);
        let output = if is_tied && rows.len() == n_vocab {
            Rc::clone(&token_embd)
        } else {
            let name = if is_tied { "token_embd" } else { "output" };
            Rc::new(loader.matrix(name, [n_embd, n_vocab], rows)?)
        };
        loader.check_all_read(plan)?;
        Ok(Self {
            token_embd,
            layers,
            ropes,
            output_norm,
            output,
            mapped_bytes: loader.mapped_bytes,
        })
    }
}

/// How much of an instance's memory the weights take, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weight {
    /// All matrices.
    pub(crate) bytes: u64,
    /// The largest matrix.
    pub(crate) largest: u64,
}

/// Loads tensors. Without a source it only adds up their sizes: then matrices are empty and vectors are zeros.
pub(crate) struct Loader<'a> {
    gguf: &'a Gguf,
    source: Option<(&'a dyn Blob, Mapping)>,
    /// Whose rows are loaded.
    pub(crate) place: Place,
    /// For each tensor of the file, whether it has been asked for.
    is_read: Vec<bool>,
    mapped_bytes: u64,
    weight: Weight,
}

impl<'a> Loader<'a> {
    fn new(gguf: &'a Gguf, source: Option<(&'a dyn Blob, Mapping)>, place: Place) -> Self {
        Self {
            gguf,
            source,
            place,
            is_read: vec![false; gguf.tensors.len()],
            mapped_bytes: 0,
            weight: Weight::default(),
        }
    }

    /// `name.weight` and, if there is one, `name.bias`.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        shape: [usize; 2],
        rows: &Range<usize>,
    ) -> Result<Linear> {
        let bias = self.optional_vector(&format!("{name}.bias"), shape[1])?;
        Ok(Linear {
            weight: self.matrix(name, shape, rows.clone())?,
            bias: bias.map(|bias| bias[rows.clone()].to_vec()),
        })
    }

    /// Some rows of `name.weight`, whose shape is `[cols, rows]` in GGUF's order.
    pub(crate) fn matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
    ) -> Result<Matrix> {
        let tensor = self.tensor(&format!("{name}.weight"), &shape)?;
        check_groups(name, tensor, shape[1], &rows)?;
        let row_size = row_bytes(tensor.ty, shape[0]) as u64;
        // Within the file: `rows` lies within the shape, and the whole tensor was checked.
        let offset = tensor.offset + rows.start as u64 * row_size;
        let length = rows.len() as u64 * row_size;
        Ok(Matrix {
            ty: tensor.ty,
            cols: shape[0],
            data: self.region(offset, length)?,
        })
    }

    /// Some rows of each matrix in `name.weight`, whose shape is `[cols, rows, matrices]` in GGUF's order.
    pub(crate) fn matrices(
        &mut self,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
    ) -> Result<Matrices> {
        let tensor = self.tensor(&format!("{name}.weight"), &shape)?;
        let [cols, all_rows, n] = shape;
        check_groups(name, tensor, all_rows, rows)?;
        let row_size = row_bytes(tensor.ty, cols) as u64;
        let data = if rows.len() == all_rows {
            vec![self.region(tensor.offset, tensor.size)?]
        } else {
            let region = |i: usize| {
                let first = (i * all_rows + rows.start) as u64;
                self.region(
                    tensor.offset + first * row_size,
                    rows.len() as u64 * row_size,
                )
            };
            (0..n).map(region).collect::<Result<_>>()?
        };
        Ok(Matrices {
            ty: tensor.ty,
            cols,
            n_rows: rows.len(),
            data,
        })
    }

    /// A vector, as numbers.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let tensor = self.tensor(name, &[len])?;
        if quant::is_packed(tensor.ty) {
            return Err(unsupported(
                format!("tensor `{name}`"),
                "a type that is not packed, because it is a vector",
                tensor.ty.name(),
            ));
        }
        let (ty, offset, size) = (tensor.ty, tensor.offset, tensor.size);
        let mut out = vec![0.0; len];
        let Some((blob, _)) = self.source else {
            return Ok(out);
        };
        let bytes = blob.read(offset, size as usize)?;
        if bytes.len() as u64 != size {
            return Err(crate::error::Error::Io(format!(
                "{name}: the provider returned {} bytes, not as many as requested",
                bytes.len()
            )));
        }
        quant::dequantize(ty, &bytes, &mut out);
        Ok(out)
    }

    pub(crate) fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        match self.gguf.tensor(name) {
            Some(_) => self.vector(name, len).map(Some),
            None => Ok(None),
        }
    }

    /// Checks that every tensor of the file has been read: one that the plan does not know would change the numbers.
    fn check_all_read(&self, plan: &Plan) -> Result<()> {
        let mut tensors = self.gguf.tensors.iter().zip(&self.is_read);
        match tensors.find(|(_, is_read)| !**is_read) {
            None => Ok(()),
            Some((tensor, _)) => Err(unsupported(
                format!("tensor `{}`", tensor.name),
                format!("a tensor of architecture {}", plan.architecture),
                "one that the engine does not know",
            )),
        }
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo> {
        let subject = format!("tensor `{name}`");
        let number = self.gguf.number_of(name);
        let number =
            number.ok_or_else(|| invalid_model(&subject, "a tensor with this name", "none"))?;
        self.is_read[number] = true;
        let tensor = &self.gguf.tensors[number];
        let same = tensor
            .shape
            .iter()
            .copied()
            .eq(shape.iter().map(|&dim| dim as u64));
        if !same {
            let (expected, found) = (format!("shape {shape:?}"), format!("{:?}", tensor.shape));
            return Err(invalid_model(subject, expected, found));
        }
        if !quant::is_supported(tensor.ty) {
            let expected = format!("one of the types {}", quant::supported_names());
            return Err(unsupported(subject, expected, tensor.ty.name()));
        }
        Ok(tensor)
    }

    fn region(&mut self, offset: u64, length: u64) -> Result<Region> {
        // Regions start and end at page boundaries.
        let pages = (length / PAGE as u64 + 2) * PAGE as u64;
        self.weight.bytes = self.weight.bytes.saturating_add(pages);
        self.weight.largest = self.weight.largest.max(pages);
        let Some((blob, mapping)) = self.source else {
            return Ok(Region::EMPTY);
        };
        let length = usize::try_from(length)
            .map_err(|_| invalid_model("a tensor", "less than 4 GiB", format!("{length} bytes")))?;
        if mapping == Mapping::Copy || (length as u64) < SMALLEST_MAPPING {
            return Region::copy(blob, offset, length);
        }
        let region = Region::map(blob, offset, length)?;
        if region.is_mapped {
            self.mapped_bytes += length as u64;
        }
        Ok(region)
    }
}

/// Checks that `rows` of a matrix with `n` are whole groups, if the type has rows interleaved.
fn check_groups(name: &str, tensor: &TensorInfo, n: usize, rows: &Range<usize>) -> Result<()> {
    let together = quant::rows_together(tensor.ty);
    if [n, rows.start, rows.end]
        .iter()
        .all(|row| row.is_multiple_of(together))
    {
        return Ok(());
    }
    let expected = format!(
        "each share of a {} matrix in whole groups of {together} rows",
        tensor.ty.name()
    );
    Err(unsupported(
        format!("tensor `{name}.weight`"),
        expected,
        format!("rows {rows:?} of {n}"),
    ))
}
