//! The weights: which tensors a layer has, checked for shape and type, and this instance's rows of each.

use std::ops::Range;
use std::rc::Rc;

use super::group::Place;
use super::layer::{Layer, Norm, PerLayerInputs, Streams};
use super::plan::Plan;
use super::pooling::PoolingHead;
use super::region::{Origin, Packing, Region};
use super::rope::Ropes;
use crate::blob::{Blob, PAGE};
use crate::error::{Error, Result, invalid_model, reserve, unsupported};
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
    data: Regions,
}

/// Where several matrices are.
enum Regions {
    /// All in one region, `every` rows apart, the first one after `first` rows.
    Together {
        all: Rc<Region>,
        every: usize,
        first: usize,
    },
    /// Each in its own.
    Apart(Vec<Region>),
}

impl Matrices {
    /// Their type.
    pub(crate) fn ty(&self) -> TensorType {
        self.ty
    }

    /// All rows of matrix `i` that this instance has.
    pub(crate) fn rows(&self, i: usize) -> Rows<'_> {
        let row_bytes = row_bytes(self.ty, self.cols);
        let bytes = match &self.data {
            Regions::Together { all, every, first } => {
                let start = (i * every + first) * row_bytes;
                &all.bytes()[start..][..self.n_rows * row_bytes]
            }
            Regions::Apart(each) => each[i].bytes(),
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

/// This instance's rows of a projection: a matrix, and optionally a scale and a bias.
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    /// Its number among the parts of tensors that adapters can change: see [`Weights::adaptable`].
    pub(crate) number: usize,
    /// The factor of the product.
    pub(crate) scale: Option<f32>,
    /// `[rows]`.
    pub(crate) bias: Option<Vec<f32>>,
}

/// This instance's part of a tensor in the file that an adapter can change. Several parts may be of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adaptable {
    /// The number of the tensor in the file.
    pub(crate) tensor: usize,
    /// The shape of the tensor in GGUF's order, `[cols, rows, matrices]`.
    pub(crate) shape: [usize; 3],
    pub(crate) purpose: Purpose,
    /// This instance's rows of B, in each of the matrices.
    pub(crate) rows: Range<usize>,
}

/// What a matrix is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Multiplying: A is `[cols, r, matrices]`, and B `[r, rows, matrices]`.
    Product,
    /// Looking up a row: A is `[r, rows]`, and B `[r, cols]`.
    Lookup,
}

impl Adaptable {
    /// The shapes of A and B of rank r, in GGUF's order.
    pub(crate) fn shapes(&self, rank: usize) -> [[usize; 3]; 2] {
        let [cols, rows, n] = self.shape;
        match self.purpose {
            Purpose::Product => [[cols, rank, n], [rank, rows, n]],
            Purpose::Lookup => [[rank, rows, n], [rank, cols, n]],
        }
    }
}

/// All weights that this instance needs.
pub(crate) struct Weights {
    /// `[V, E]`, all rows, because any token may occur.
    pub(crate) token_embd: Rc<Matrix>,
    /// Its number among what adapters can change.
    pub(crate) token_embd_number: usize,
    /// `[context, E]`: what is added for the position.
    pub(crate) position_embd: Option<Matrix>,
    /// `[E]`: what is added to each token for its type.
    pub(crate) token_type: Option<Vec<f32>>,
    /// What each layer gets of a token besides.
    pub(crate) per_layer: Option<PerLayerInputs>,
    /// What makes several residual streams of one.
    pub(crate) streams: Option<Streams>,
    /// `[E]`: of what the residual stream starts with.
    pub(crate) token_embd_norm: Option<Norm>,
    pub(crate) layers: Vec<Layer>,
    /// What the layers rotate queries and keys by.
    pub(crate) ropes: Ropes,
    /// `[E]`
    pub(crate) output_norm: Option<Norm>,
    /// `[V, E]`, this instance's rows; the embedding matrix if the file has no separate one. None if there are no logits.
    pub(crate) output: Option<Rc<Matrix>>,
    /// Its number among what adapters can change, if the file has a separate one: a change of the embedding matrix is one
    /// of embeddings alone.
    pub(crate) output_number: Option<usize>,
    /// The factor of the logits.
    pub(crate) output_scale: Option<f32>,
    /// `[V]`, this instance's part.
    pub(crate) output_bias: Option<Vec<f32>>,
    /// What makes vectors of hidden states.
    pub(crate) pooling: PoolingHead,
    /// What adapters can change, by [`Linear::number`].
    pub(crate) adaptable: Rc<[Adaptable]>,
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
        Self::collect(&mut Loader::new(gguf, source, place, plan), plan)
    }

    /// The memory that the rows of `place` take, without loading them.
    ///
    /// # Errors
    /// As [`Weights::load`], except for errors while reading.
    pub(crate) fn weigh(gguf: &Gguf, plan: &Plan, place: Place) -> Result<Weight> {
        let mut loader = Loader::new(gguf, None, place, plan);
        Self::collect(&mut loader, plan)?;
        Ok(loader.weight)
    }

    /// What adapters can change in the model of a file, without loading it.
    ///
    /// # Errors
    /// As [`Weights::load`], except for errors while reading.
    #[cfg(any(test, feature = "tiny-models"))]
    pub(crate) fn adaptable(gguf: &Gguf, plan: &Plan, place: Place) -> Result<Rc<[Adaptable]>> {
        let mut loader = Loader::new(gguf, None, place, plan);
        Ok(Self::collect(&mut loader, plan)?.adaptable)
    }

    fn collect(loader: &mut Loader<'_>, plan: &Plan) -> Result<Self> {
        let Plan {
            n_embd, n_vocab, ..
        } = *plan;
        let token_embd = Rc::new(loader.matrix("token_embd", [n_embd, n_vocab], 0..n_vocab)?);
        let shape = [n_embd, n_vocab, 1];
        let token_embd_number = loader.adaptable("token_embd", shape, Purpose::Lookup, 0..n_embd);
        let position_embd = match plan.input.has_positions {
            false => None,
            true => {
                let n = plan.context_length as usize;
                Some(loader.matrix("position_embd", [n_embd, n], 0..n)?)
            }
        };
        let per_layer = match plan.input.per_layer {
            None => None,
            Some(width) => Some(PerLayerInputs::load(loader, plan, width)?),
        };
        let streams = match plan.input.altup {
            None => None,
            Some(spec) => Some(Streams::load(loader, plan, spec)?),
        };
        let token_type = match plan.input.has_types {
            false => None,
            true => loader.first_row("token_types", n_embd)?,
        };
        let token_embd_norm = match plan.input.has_norm {
            false => None,
            true => Some(Norm::load(loader, "token_embd_norm", n_embd, plan.norm)?),
        };
        let (mut layers, mut ropes) = (Vec::new(), Ropes::default());
        for (l, spec) in plan.layers.iter().enumerate() {
            layers.push(Layer::load(loader, &mut ropes, plan, l, spec)?);
        }
        let output_norm = plan.head.norm;
        let output_norm = output_norm.map(|name| Norm::load(loader, name, n_embd, plan.norm));
        let output_norm = output_norm.transpose()?;
        let is_tied = !loader.has("output.weight");
        let rows = loader.place.rows(n_vocab);
        let output_bias = loader.optional_vector("output.bias", n_vocab)?;
        let output_bias = output_bias.map(|bias| bias[rows.clone()].to_vec());
        let output_scale = loader.scale("output")?;
        let output = if !plan.head.has_logits {
            None
        } else if is_tied && rows.len() == n_vocab {
            Some(Rc::clone(&token_embd))
        } else {
            let name = if is_tied { "token_embd" } else { "output" };
            let matrix = loader.matrix(name, [n_embd, n_vocab], rows.clone())?;
            Some(Rc::new(matrix))
        };
        let output_number = match plan.head.has_logits && !is_tied {
            true => Some(loader.adaptable("output", shape, Purpose::Product, rows)),
            false => None,
        };
        // Adapters change how text is generated, and none of what pools hidden states.
        let adaptable = Rc::from(&*loader.adaptable);
        let pooling = PoolingHead::load(loader, plan)?;
        loader.check_all_read(plan)?;
        Ok(Self {
            token_embd,
            token_embd_number,
            position_embd,
            token_type,
            per_layer,
            streams,
            token_embd_norm,
            layers,
            ropes,
            output_norm,
            output,
            output_number,
            output_scale,
            output_bias,
            pooling,
            adaptable,
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
    /// Tensors that are as if they were not there, without the prefix of a layer.
    unused: &'a [&'static str],
    /// Layers that are as if they were not there.
    unused_layers: Range<usize>,
    /// For each tensor of the file, whether it has been asked for.
    is_read: Vec<bool>,
    /// What adapters can change, so far.
    adaptable: Vec<Adaptable>,
    /// The number of parts so far that keep something of a sequence.
    slots: usize,
    mapped_bytes: u64,
    weight: Weight,
}

impl<'a> Loader<'a> {
    fn new(
        gguf: &'a Gguf,
        source: Option<(&'a dyn Blob, Mapping)>,
        place: Place,
        plan: &'a Plan,
    ) -> Self {
        Self {
            gguf,
            source,
            place,
            unused: &plan.unused,
            unused_layers: plan.layers.len()..plan.layers.len() + plan.n_further_layers,
            is_read: vec![false; gguf.tensors.len()],
            adaptable: Vec::new(),
            slots: 0,
            mapped_bytes: 0,
            weight: Weight::default(),
        }
    }

    /// The number of the next part that keeps something of a sequence.
    pub(crate) fn next_slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// The number of the last part that keeps something of a sequence, for one that keeps something there, too.
    pub(crate) fn last_slot(&self) -> usize {
        self.slots.saturating_sub(1)
    }

    /// Whether a tensor is one of those that are not computed with. The scale of activations in 4 bits is one in any
    /// file: activations have more here.
    fn is_unused(&self, name: &str) -> bool {
        let layer = name
            .strip_prefix("blk.")
            .and_then(|name| name.split_once('.'));
        let (l, tensor) = layer.unwrap_or(("", name));
        tensor.ends_with(".input_scale")
            || self.unused.contains(&tensor)
            || l.parse().is_ok_and(|l| self.unused_layers.contains(&l))
    }

    /// The tensor with this name, if it is computed with.
    fn find(&self, name: &str) -> Option<&'a TensorInfo> {
        let tensor = self.gguf.tensor(name);
        tensor.filter(|_| !self.is_unused(name))
    }

    /// Counts a tensor as read, if there is one: it is not computed with in this layer.
    pub(crate) fn skip(&mut self, name: &str) {
        if let Some(number) = self.gguf.number_of(name) {
            self.is_read[number] = true;
        }
    }

    /// Whether there is a tensor with this name that is computed with.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The shape of a tensor in GGUF's order, if there is one.
    pub(crate) fn shape_of(&self, name: &str) -> Option<&'a [u64]> {
        self.find(name).map(|tensor| &*tensor.shape)
    }

    /// The number of rows of a matrix, if there is one.
    pub(crate) fn rows_of(&self, name: &str) -> Option<u64> {
        self.shape_of(name)?.get(1).copied()
    }

    /// The number of rows of `name.weight`, if there is one; a vector is one row.
    pub(crate) fn n_rows(&self, name: &str) -> Option<usize> {
        let shape = self.shape_of(&format!("{name}.weight"))?;
        let rows = shape.get(1).copied().unwrap_or(1);
        // More rows than fit into `usize` are in no file.
        usize::try_from(rows).ok()
    }

    /// `name.weight`, and if there are any, `name.scale` and `name.bias`.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        shape: [usize; 2],
        rows: &Range<usize>,
    ) -> Result<Linear> {
        let bias = self.optional_vector(&format!("{name}.bias"), shape[1])?;
        let linear = self.linear_alone(name, shape, rows)?;
        Ok(Linear {
            scale: self.scale(name)?,
            bias: bias.map(|bias| bias[rows.clone()].to_vec()),
            ..linear
        })
    }

    /// `name.weight` alone.
    pub(crate) fn linear_alone(
        &mut self,
        name: &str,
        shape: [usize; 2],
        rows: &Range<usize>,
    ) -> Result<Linear> {
        let weight = self.matrix(name, shape, rows.clone())?;
        let [cols, n_rows] = shape;
        Ok(Linear {
            weight,
            number: self.adaptable(name, [cols, n_rows, 1], Purpose::Product, rows.clone()),
            scale: None,
            bias: None,
        })
    }

    /// Lets adapters change `name.weight`, which has been found. Returns its number among what they can change.
    pub(crate) fn adaptable(
        &mut self,
        name: &str,
        shape: [usize; 3],
        purpose: Purpose,
        rows: Range<usize>,
    ) -> usize {
        let tensor = self.gguf.number_of(&format!("{name}.weight"));
        self.adaptable.extend(tensor.map(|tensor| Adaptable {
            tensor,
            shape,
            purpose,
            rows,
        }));
        self.adaptable.len() - 1
    }

    /// As [`Loader::linear`], but the scale is the bias's factor, too.
    pub(crate) fn linear_scaled_last(
        &mut self,
        name: &str,
        shape: [usize; 2],
        rows: &Range<usize>,
    ) -> Result<Linear> {
        let mut linear = self.linear(name, shape, rows)?;
        if let (Some(scale), Some(bias)) = (linear.scale, &mut linear.bias) {
            bias.iter_mut().for_each(|x| *x *= scale);
        }
        Ok(linear)
    }

    /// The factor of a matrix's products, if there is one.
    fn scale(&mut self, name: &str) -> Result<Option<f32>> {
        let scale = self.optional_vector(&format!("{name}.scale"), 1)?;
        Ok(scale.map(|scale| scale[0]))
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
        let packing = packing(tensor.ty, shape[0]);
        let data = self.region(offset, length, packing)?;
        Ok(Matrix {
            ty: type_in(&data, tensor.ty),
            cols: shape[0],
            data,
        })
    }

    /// Some rows of each matrix in `name.weight`, whose shape is `[cols, rows, matrices]` in GGUF's order.
    pub(crate) fn matrices(
        &mut self,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
    ) -> Result<Matrices> {
        let [_, all_rows, _] = shape;
        let all = match rows.len() == all_rows {
            true => Some(self.whole(name, shape, all_rows)?),
            false => None,
        };
        self.rows_of_each(name, shape, rows, all)
    }

    /// Some of the matrices in `name.weight`, whose shape is `[cols, rows, matrices]` in GGUF's order.
    pub(crate) fn some_matrices(
        &mut self,
        name: &str,
        shape: [usize; 3],
        which: &Range<usize>,
    ) -> Result<Matrices> {
        let tensor = self.tensor(&format!("{name}.weight"), &shape)?;
        let [cols, n_rows, _] = shape;
        check_groups(name, tensor, n_rows, &(0..n_rows))?;
        let size = n_rows as u64 * row_bytes(tensor.ty, cols) as u64;
        let offset = tensor.offset + which.start as u64 * size;
        let packing = packing_of_several(tensor.ty, cols, n_rows);
        let all = self.region(offset, which.len() as u64 * size, packing)?;
        Ok(Matrices {
            ty: type_in(&all, tensor.ty),
            cols,
            n_rows,
            data: Regions::Together {
                all: Rc::new(all),
                every: n_rows,
                first: 0,
            },
        })
    }

    /// The same rows of the first and of the second half of each matrix in `name.weight`.
    pub(crate) fn both_matrices(
        &mut self,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
    ) -> Result<[Matrices; 2]> {
        let half = shape[1] / 2;
        let second = half + rows.start..half + rows.end;
        let all = match rows.len() == half {
            true => Some(self.whole(name, shape, half)?),
            false => None,
        };
        Ok([
            self.rows_of_each(name, shape, rows, all.clone())?,
            self.rows_of_each(name, shape, &second, all)?,
        ])
    }

    /// All matrices of a tensor, whose parts of `rows` rows are used separately.
    fn whole(&mut self, name: &str, shape: [usize; 3], rows: usize) -> Result<Rc<Region>> {
        let tensor = self.tensor(&format!("{name}.weight"), &shape)?;
        let packing = packing_of_several(tensor.ty, shape[0], rows);
        self.region(tensor.offset, tensor.size, packing)
            .map(Rc::new)
    }

    /// Some rows of each matrix, in `all` of them if these are loaded.
    fn rows_of_each(
        &mut self,
        name: &str,
        shape: [usize; 3],
        rows: &Range<usize>,
        all: Option<Rc<Region>>,
    ) -> Result<Matrices> {
        let tensor = self.tensor(&format!("{name}.weight"), &shape)?;
        let [cols, all_rows, n] = shape;
        check_groups(name, tensor, all_rows, rows)?;
        let row_size = row_bytes(tensor.ty, cols) as u64;
        let data = match all {
            Some(all) => Regions::Together {
                all,
                every: all_rows,
                first: rows.start,
            },
            None => {
                // All or none: a matrix that cannot be packed is rare, and then none needs to be.
                let mut regions = |packing| -> Result<Vec<Region>> {
                    let region = |i: usize| {
                        let first = (i * all_rows + rows.start) as u64;
                        self.region(
                            tensor.offset + first * row_size,
                            rows.len() as u64 * row_size,
                            packing,
                        )
                    };
                    (0..n).map(region).collect()
                };
                let each = regions(packing(tensor.ty, cols))?;
                let is_packed = |region: &Region| region.origin == Origin::Packed;
                match each.iter().any(is_packed) && !each.iter().all(is_packed) {
                    true => Regions::Apart(regions(None)?),
                    false => Regions::Apart(each),
                }
            }
        };
        Ok(Matrices {
            ty: match &data {
                Regions::Together { all, .. } => type_in(all, tensor.ty),
                Regions::Apart(each) => each
                    .first()
                    .map_or(tensor.ty, |one| type_in(one, tensor.ty)),
            },
            cols,
            n_rows: rows.len(),
            data,
        })
    }

    /// A vector, as numbers.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.numbers(name, &[len])
    }

    /// The first row of `name.weight`, a matrix with any number of rows, if there is one.
    fn first_row(&mut self, name: &str, cols: usize) -> Result<Option<Vec<f32>>> {
        let Some(n) = self.n_rows(name) else {
            return Ok(None);
        };
        let matrix = self.matrix(name, [cols, n], 0..n.min(1))?;
        let mut row = vec![0.0; cols];
        if matrix.n_rows() > 0 {
            matrix.row(0, &mut row);
        }
        Ok(Some(row))
    }

    /// All numbers of a small tensor, whose shape is in GGUF's order.
    pub(crate) fn numbers(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensor(name, shape)?;
        // At most as many as the file has of them.
        let len: u64 = shape.iter().map(|&dim| dim as u64).product();
        if quant::is_packed(tensor.ty) {
            return Err(unsupported(
                format!("tensor `{name}`"),
                "a type that is not packed, because it is a vector",
                tensor.ty.name(),
            ));
        }
        let (ty, offset, size) = (tensor.ty, tensor.offset, tensor.size);
        let mut out = Vec::new();
        let fits = usize::try_from(len).map(|len| reserve(&mut out, len));
        fits.unwrap_or(Err(Error::OutOfMemory {
            needed: 4 * len,
            available: 0,
        }))?;
        out.resize(len as usize, 0.0);
        let Some((blob, _)) = self.source else {
            return Ok(out);
        };
        let bytes = blob.read(offset, size as usize)?;
        if bytes.len() as u64 != size {
            return Err(Error::Io(format!(
                "{name}: the provider returned {} bytes, not as many as requested",
                bytes.len()
            )));
        }
        quant::dequantize(ty, &bytes, &mut out);
        Ok(out)
    }

    pub(crate) fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        match self.has(name) {
            true => self.vector(name, len).map(Some),
            false => Ok(None),
        }
    }

    /// Checks that every tensor of the file has been read: one that the plan does not know would change the numbers.
    fn check_all_read(&self, plan: &Plan) -> Result<()> {
        let mut tensors = self.gguf.tensors.iter().zip(&self.is_read);
        let is_missed =
            |(tensor, is_read): &(&TensorInfo, &bool)| !**is_read && !self.is_unused(&tensor.name);
        match tensors.find(is_missed) {
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
        let number = number.ok_or_else(|| {
            invalid_model(&subject, format!("a tensor of shape {shape:?}"), "none")
        })?;
        self.is_read[number] = true;
        let tensor = &self.gguf.tensors[number];
        // Files leave out a last dimension of 1.
        let found = tensor.shape.iter().copied();
        let expected = shape.iter().map(|&dim| dim as u64);
        let same = without_last_ones(found).eq(without_last_ones(expected));
        if !same || shape.contains(&0) {
            let (expected, found) = (format!("shape {shape:?}"), format!("{:?}", tensor.shape));
            return Err(invalid_model(subject, expected, found));
        }
        if !quant::is_supported(tensor.ty) {
            let expected = format!("one of the types {}", quant::supported_names());
            return Err(unsupported(subject, expected, tensor.ty.name()));
        }
        Ok(tensor)
    }

    fn region(&mut self, offset: u64, length: u64, packing: Option<Packing>) -> Result<Region> {
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
            return Region::copy(blob, offset, length, packing);
        }
        let region = Region::map(blob, offset, length, packing)?;
        if region.origin == Origin::Mapped {
            self.mapped_bytes += length as u64;
        }
        Ok(region)
    }
}

/// How a matrix is packed if it is copied: not at all if its type has no packed layout.
fn packing(ty: TensorType, cols: usize) -> Option<Packing> {
    let to = quant::packed_type(ty)?;
    let group = quant::rows_together(to) * row_bytes(ty, cols);
    Some(Packing { to, cols, group })
}

/// The same for several matrices of `n_rows` rows in one region: each must have whole groups of rows.
fn packing_of_several(ty: TensorType, cols: usize, n_rows: usize) -> Option<Packing> {
    let packing = packing(ty, cols)?;
    n_rows
        .is_multiple_of(quant::rows_together(packing.to))
        .then_some(packing)
}

/// The type of the rows in a region, given their type in the file.
fn type_in(region: &Region, ty: TensorType) -> TensorType {
    match region.origin {
        Origin::Packed => quant::packed_type(ty).unwrap_or(ty),
        Origin::Mapped | Origin::Copied => ty,
    }
}

/// A shape without the dimensions of 1 at its end.
fn without_last_ones(
    shape: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + Clone,
) -> impl Iterator<Item = u64> {
    let ones = shape.clone().rev().take_while(|dim| *dim == 1).count();
    let n = shape.len() - ones;
    shape.take(n)
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
