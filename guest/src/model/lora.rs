//! Adapters: low-rank changes of a model's matrices, in files of their own. Sources: Hu et al., 2021 (LoRA);
//! llama.cpp's `convert_lora_to_gguf` (the format).
//!
//! An adapter has two matrices for each that it changes: A, `[cols, r]`, and B, `[r, rows]`, in GGUF's order. To a
//! product `W x` it adds `scale * alpha / r * B (A x)`, or `scale * B (A x)` if alpha is 0. Of a tensor with a matrix for
//! each expert, it has A and B of each. To the embedding of a token it adds the same with the token's row of A, `[r, V]`,
//! in place of `A x`, and nothing to logits that are computed with the same matrix. The model's own matrices stay as they
//! are, so that every sequence can have adapters of its own.
//!
//! An instance of a group has all of A and its own rows of B. Both are multiplied as plain numbers, each sum in one
//! order, so that a token has the same bits in any batch and any group.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::forward::{BATCH, Span};
use super::weights::{Adaptable, Purpose};
use crate::blob::Blob;
use crate::error::{Error, Result, invalid_argument, invalid_model, reserve, unsupported};
use crate::gguf::{Gguf, Metadata, TensorInfo, TensorType};
use crate::kernels::{self, Rows};
use crate::pulse::work;
use crate::quant;

/// How much of a tensor is read at a time, in bytes, unless a row is longer.
const PIECE: usize = 1 << 20;

/// The ends of the names of A and B.
const ENDS: [&str; 2] = [".lora_a", ".lora_b"];
/// The end of the name of a tensor that is not used, here and in llama.cpp (`llama-adapter.cpp`): a norm's weights, if these
/// were trained too.
const LEFT_OUT: &str = "_norm.weight";

/// A loaded adapter.
pub struct Adapter {
    /// What the model's matrices are; the very same list for all adapters of a loaded model.
    adaptable: Rc<[Adaptable]>,
    /// What is added to the products of each, by [`super::weights::Linear::number`].
    changes: Vec<Option<Change>>,
    /// 0 if there is none.
    alpha: f32,
    /// Differs for adapters that compute something else.
    fingerprint: Fingerprint,
    /// The tensors of the file that it does without.
    left_out: Vec<String>,
}

/// What an adapter adds to the products of one matrix, or of several of one shape.
struct Change {
    cols: usize,
    rank: usize,
    /// How many matrices.
    n: usize,
    /// `[matrices, r, cols]`; one for all parts of a tensor. For looking up `[V, r]`.
    a: Rc<Numbers>,
    /// `[matrices, own rows, r]`
    b: Numbers,
}

/// F32 numbers, as the bytes of a matrix.
type Numbers = Vec<u8>;

impl Adapter {
    /// Loads an adapter of the model `gguf`, whose matrices are `adaptable`, from a file with the header `adapter`, whose
    /// data the caller has found to lie within `blob`.
    ///
    /// # Errors
    /// `unsupported` for a file that is not a LoRA, for one that is only active after some tokens, and for a tensor that
    /// cannot be changed; `invalid-argument` for an adapter of another model; `invalid-model`, `out-of-memory`, `io`.
    pub(super) fn load(
        gguf: &Gguf,
        adaptable: &Rc<[Adaptable]>,
        adapter: &Gguf,
        blob: &dyn Blob,
    ) -> Result<Self> {
        let alpha = check_metadata(&gguf.metadata, &adapter.metadata)?;
        let Contents { pairs, left_out } = contents(gguf, adapter)?;
        let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, part) in adaptable.iter().enumerate() {
            parts.entry(part.tensor).or_default().push(number);
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(alpha.to_bits());
        let mut changes: Vec<_> = adaptable.iter().map(|_| None).collect();
        // Memory for all of it is reserved before anything is read.
        let mut reserved = Vec::new();
        // In the order of the model, so that the fingerprint does not depend on the file's.
        for (tensor, pair) in pairs {
            let name = &gguf.tensors[tensor].name;
            let Some(parts) = parts.get(&tensor) else {
                return Err(unsupported(
                    format!("tensor `{}` of the adapter", pair[0].name),
                    "a change of a matrix that tokens are multiplied with, or of their embeddings",
                    format!("one of `{name}`, which is not changed by adapters here"),
                ));
            };
            let first = &adaptable[parts[0]];
            let rank = rank(name, first, pair)?;
            fingerprint.add_text(name);
            fingerprint.add(rank as u32);
            let shapes @ [a_shape, b_shape] = first.shapes(rank);
            let a = with_room(a_shape, a_shape[1])?;
            let rows = parts.iter().map(|part| adaptable[*part].rows.len());
            let own = rows.map(|rows| with_room(b_shape, rows));
            let own = own.collect::<Result<Vec<_>>>()?;
            reserved.push((pair, parts, rank, shapes, a, own));
        }
        for (pair, parts, rank, [a_shape, b_shape], mut a, mut own) in reserved {
            read(blob, pair[0], a_shape, |rows, numbers| {
                fingerprint.add_numbers(numbers);
                keep(&mut a, a_shape, &(0..a_shape[1]), rows, numbers);
            })?;
            read(blob, pair[1], b_shape, |rows, numbers| {
                fingerprint.add_numbers(numbers);
                for (b, part) in own.iter_mut().zip(parts) {
                    keep(b, b_shape, &adaptable[*part].rows, rows.clone(), numbers);
                }
            })?;
            let a = Rc::new(a);
            for (b, part) in own.into_iter().zip(parts) {
                changes[*part] = Some(Change {
                    cols: a_shape[0],
                    rank,
                    n: b_shape[2],
                    a: Rc::clone(&a),
                    b,
                });
            }
        }
        Ok(Self {
            adaptable: Rc::clone(adaptable),
            changes,
            alpha,
            fingerprint,
            left_out,
        })
    }

    /// The names of the tensors of its file that it does without: weights of norms, as in llama.cpp.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The factor of what it adds with a rank of `rank`.
    fn factor(&self, scale: f32, rank: usize) -> f32 {
        if self.alpha == 0.0 {
            scale
        } else {
            scale * self.alpha / rank as f32
        }
    }
}

/// Checks what a file says about itself. Returns its alpha, or 0 if there is none.
fn check_metadata(model: &Metadata, adapter: &Metadata) -> Result<f32> {
    for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = adapter.str(key)?.unwrap_or("none");
        if found != expected {
            return Err(unsupported(key, expected, found));
        }
    }
    let tokens = "adapter.alora.invocation_tokens";
    if adapter.get(tokens).is_some() {
        let found = "an aLoRA, which is active only after these tokens";
        return Err(unsupported(tokens, "none", found));
    }
    let key = "general.architecture";
    let of = |metadata: &Metadata| -> Result<String> {
        Ok(metadata.str(key)?.unwrap_or("none").to_owned())
    };
    let (expected, found) = (of(model)?, of(adapter)?);
    if found != expected {
        let expected = format!("{expected}, as the model's");
        return Err(invalid_argument(
            format!("{key} of the adapter"),
            expected,
            found,
        ));
    }
    Ok(adapter.f32("adapter.lora.alpha")?.unwrap_or(0.0))
}

/// What is in an adapter's file.
struct Contents<'a> {
    /// A and B of each changed tensor of the model, by the tensor's number, in order.
    pairs: Vec<(usize, [&'a TensorInfo; 2])>,
    /// The names of what is left out.
    left_out: Vec<String>,
}

fn contents<'a>(gguf: &Gguf, adapter: &'a Gguf) -> Result<Contents<'a>> {
    let mut pairs = Vec::new();
    let mut left_out = Vec::new();
    for tensor in &adapter.tensors {
        work(1);
        if tensor.name.ends_with(LEFT_OUT) {
            left_out.push(tensor.name.clone());
            continue;
        }
        let subject = || format!("tensor `{}` of the adapter", tensor.name);
        let split = |end: &'static str| Some((tensor.name.strip_suffix(end)?, end));
        let Some((name, end)) = ENDS.into_iter().find_map(split) else {
            let expected = format!("a name that ends with `{}` or `{}`", ENDS[0], ENDS[1]);
            return Err(unsupported(
                subject(),
                expected,
                "a tensor that is not of a LoRA",
            ));
        };
        let Some(number) = gguf.number_of(name) else {
            return Err(invalid_argument(
                subject(),
                "a change of one of the model's tensors",
                format!("none with the name `{name}`; is it an adapter of another model?"),
            ));
        };
        let other = ENDS[usize::from(end == ENDS[0])];
        let Some(other) = adapter.tensor(&format!("{name}{other}")) else {
            let found = format!("no `{name}{other}`");
            return Err(invalid_model(subject(), "A and B of each tensor", found));
        };
        if end == ENDS[0] {
            pairs.push((number, [tensor, other]));
        }
    }
    pairs.sort_by_key(|(number, _)| *number);
    Ok(Contents { pairs, left_out })
}

/// The rank of A and B for what is to be changed, once the shapes of all fit together.
fn rank(name: &str, of: &Adaptable, [a, b]: [&TensorInfo; 2]) -> Result<usize> {
    for tensor in [a, b] {
        if !quant::is_supported(tensor.ty) || quant::is_packed(tensor.ty) {
            let subject = format!("tensor `{}` of the adapter", tensor.name);
            let expected = "a type of ggml that gust computes with, such as F32, F16 or Q8_0";
            return Err(unsupported(subject, expected, tensor.ty.name()));
        }
    }
    // Files leave out a last dimension of 1.
    let dim = |tensor: &TensorInfo, i: usize| tensor.shape.get(i).copied().unwrap_or(1);
    let has = |tensor: &TensorInfo, shape: [usize; 3]| {
        let expected = shape.map(|dim| dim as u64);
        [0, 1, 2].map(|i| dim(tensor, i)) == expected && dim(tensor, 3) == 1
    };
    let rank = match of.purpose {
        Purpose::Product => dim(a, 1),
        Purpose::Lookup => dim(a, 0),
    };
    let rank = usize::try_from(rank).map_err(|_| too_large(rank))?.max(1);
    for (tensor, shape) in [a, b].into_iter().zip(of.shapes(rank)) {
        if !has(tensor, shape) {
            return Err(invalid_argument(
                format!("tensor `{}` of the adapter", tensor.name),
                format!(
                    "shape {:?}, for `{name}` of {:?}",
                    without_last_one(&shape),
                    without_last_one(&of.shape)
                ),
                format!("{:?}", tensor.shape),
            ));
        }
    }
    Ok(rank)
}

fn without_last_one(shape: &[usize; 3]) -> &[usize] {
    if shape[2] == 1 { &shape[..2] } else { shape }
}

/// Reads matrices of a shape, one after the other, in pieces, and calls `each` with the numbers of some rows. Each piece is
/// read by the host, which can end the call there.
fn read(
    blob: &dyn Blob,
    tensor: &TensorInfo,
    [cols, n_rows, n]: [usize; 3],
    mut each: impl FnMut(Range<usize>, &[f32]),
) -> Result<()> {
    let n_rows = n_rows
        .checked_mul(n)
        .ok_or_else(|| too_large(tensor.size))?;
    // The whole tensor lies within the file, so that a row of it is addressable where the file's pieces are.
    let row_size = tensor.size / n_rows as u64;
    let row_size = usize::try_from(row_size).map_err(|_| too_large(row_size))?;
    let at_once = (PIECE / row_size.max(1)).clamp(1, n_rows);
    let mut numbers: Vec<f32> = Vec::new();
    reserve(
        &mut numbers,
        at_once
            .checked_mul(cols)
            .ok_or_else(|| too_large(tensor.size))?,
    )?;
    for first in (0..n_rows).step_by(at_once) {
        let rows = first..n_rows.min(first + at_once);
        let length = rows.len() * row_size;
        let offset = tensor.offset + first as u64 * row_size as u64;
        let bytes = blob.read(offset, length)?;
        if bytes.len() != length {
            return Err(Error::Io(format!(
                "{}: the provider returned {} bytes, not as many as requested",
                tensor.name,
                bytes.len()
            )));
        }
        numbers.resize(rows.len() * cols, 0.0);
        quant::dequantize(tensor.ty, &bytes, &mut numbers);
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            return Err(invalid_model(
                format!("tensor `{}` of the adapter", tensor.name),
                "finite numbers",
                format!("{} in row {}", numbers[at], first + at / cols),
            ));
        }
        each(rows, &numbers);
    }
    Ok(())
}

/// No numbers yet, with room for `rows` rows of each of the matrices of a shape.
fn with_room([cols, _, n]: [usize; 3], rows: usize) -> Result<Numbers> {
    let size = [n, 4, cols].into_iter().try_fold(rows, usize::checked_mul);
    let mut numbers = Numbers::new();
    reserve(&mut numbers, size.ok_or_else(|| too_large(u64::MAX))?)?;
    Ok(numbers)
}

/// Appends those of the numbers of `rows` that are of `wanted` rows in one of the matrices of a shape. There is room.
fn keep(
    out: &mut Numbers,
    [cols, n_rows, _]: [usize; 3],
    wanted: &Range<usize>,
    rows: Range<usize>,
    numbers: &[f32],
) {
    for (row, numbers) in rows.zip(numbers.chunks_exact(cols)) {
        if wanted.contains(&(row % n_rows)) {
            let bytes = numbers.iter().flat_map(|x| x.to_le_bytes());
            out.extend(bytes);
        }
    }
}

fn too_large(needed: u64) -> Error {
    Error::OutOfMemory {
        needed,
        available: 0,
    }
}

/// The adapters of a sequence, in the order in which they are added, each with its scale.
pub(crate) struct Adapters {
    list: Vec<(Rc<Adapter>, f32)>,
    fingerprint: Fingerprint,
}

impl Adapters {
    /// The adapters with these scales: none with a scale of 0, which adds nothing.
    ///
    /// # Errors
    /// `invalid-argument` for a scale that is not finite, or too large for the adapter.
    pub(crate) fn new(adapters: &[(Rc<Adapter>, f32)]) -> Result<Option<Rc<Self>>> {
        let mut list = Vec::new();
        let mut fingerprint = Fingerprint::default();
        for (adapter, scale) in adapters {
            let mut factors = adapter.changes.iter().flatten();
            let is_finite = |change: &Change| adapter.factor(*scale, change.rank).is_finite();
            if !scale.is_finite() || !factors.all(is_finite) {
                let expected = "a finite number, also times the adapter's own scale";
                return Err(invalid_argument("scale of an adapter", expected, scale));
            }
            if *scale == 0.0 {
                continue;
            }
            fingerprint.add_other(adapter.fingerprint);
            fingerprint.add(scale.to_bits());
            list.push((Rc::clone(adapter), *scale));
        }
        Ok((!list.is_empty()).then(|| Rc::new(Self { list, fingerprint })))
    }

    /// What differs for any other adapters, scales or order.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.0
    }

    /// Checks that all are adapters of the loaded model whose matrices are `adaptable`.
    ///
    /// # Errors
    /// `invalid-argument`.
    pub(super) fn check(&self, adaptable: &Rc<[Adaptable]>) -> Result<()> {
        let is_foreign =
            |(adapter, _): &(Rc<Adapter>, f32)| !Rc::ptr_eq(&adapter.adaptable, adaptable);
        if self.list.iter().any(is_foreign) {
            return Err(invalid_argument(
                "adapter",
                "one that was loaded for the session's model",
                "one of another model",
            ));
        }
        Ok(())
    }

    /// The changes of matrix `number`, and the factor of each.
    fn changes_of(&self, number: usize) -> impl Iterator<Item = (&Change, f32)> {
        self.list.iter().filter_map(move |(adapter, scale)| {
            let change = adapter.changes.get(number)?.as_ref()?;
            Some((change, adapter.factor(*scale, change.rank)))
        })
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        let adapters = self.list.iter();
        adapters.flat_map(|(adapter, _)| adapter.changes.iter().flatten())
    }
}

/// The adapters of a batch: which of its rows they apply to, and the buffers of what they add.
#[derive(Default)]
pub(crate) struct Attached {
    /// Of each span that has adapters, its tokens among those that are computed.
    spans: Vec<(Range<usize>, Rc<Adapters>)>,
    /// The same among the tokens whose hidden states are wanted, once these are computed.
    wanted: Vec<(Range<usize>, Rc<Adapters>)>,
    buffers: RefCell<Buffers>,
}

#[derive(Default)]
struct Buffers {
    /// `[T, r]`: products with A.
    narrow: Vec<f32>,
    /// `[T, own rows]`: products with B.
    wide: Vec<f32>,
}

impl Attached {
    /// Reserves buffers, so that nothing is allocated later.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(super) fn reserve(&mut self, adapters: &Adapters) -> Result<()> {
        reserve(&mut self.spans, BATCH)?;
        reserve(&mut self.wanted, BATCH)?;
        let buffers = self.buffers.get_mut();
        for change in adapters.changes() {
            let own_rows = change.own_rows();
            let tokens = |n: usize| BATCH.checked_mul(n).ok_or_else(|| too_large(n as u64));
            reserve(&mut buffers.narrow, tokens(change.rank)?)?;
            reserve(&mut buffers.wide, tokens(own_rows)?)?;
        }
        Ok(())
    }

    /// Takes the adapters of a batch.
    pub(super) fn set(&mut self, batch: &[Span<'_>]) {
        self.clear();
        let mut first = 0;
        for span in batch {
            let tokens = first..first + span.tokens.len();
            first = tokens.end;
            if let Some(adapters) = span.state.adapters() {
                self.spans.push((tokens, Rc::clone(adapters)));
            }
        }
    }

    /// Takes the adapters of one sequence for `n_tokens` tokens.
    pub(super) fn set_all(&mut self, n_tokens: usize, adapters: Option<&Rc<Adapters>>) {
        self.clear();
        let adapters = adapters.map(|adapters| (0..n_tokens, Rc::clone(adapters)));
        self.spans.extend(adapters);
    }

    /// Has no adapters any more.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.wanted.clear();
    }

    /// Remembers the adapters of the wanted tokens of a batch, and has none until some of these are selected.
    pub(super) fn keep_wanted(&mut self, batch: &[Span<'_>]) {
        self.clear();
        let mut first = 0;
        for span in batch {
            let tokens = first..first + span.wanted.len();
            first = tokens.end;
            if let Some(adapters) = span.state.adapters() {
                self.wanted.push((tokens, Rc::clone(adapters)));
            }
        }
    }

    /// Takes the adapters of a range of the wanted tokens.
    pub(super) fn select_wanted(&mut self, range: Range<usize>) {
        self.spans.clear();
        for (tokens, adapters) in &self.wanted {
            let inside = |token: usize| token.clamp(range.start, range.end) - range.start;
            let tokens = inside(tokens.start)..inside(tokens.end);
            self.spans.push((tokens, Rc::clone(adapters)));
        }
    }

    /// Adds what the adapters add to the products with matrix `number`: `out` is `[T, own rows]`.
    pub(super) fn add(&self, number: usize, input: kernels::Input<'_>, out: &mut [f32]) {
        self.add_part(number, 0, Range::clone, input, out);
    }

    /// The same for matrix `part` of those with this number. `rows` says which rows of `input` and `out` are of these
    /// tokens.
    pub(super) fn add_part(
        &self,
        number: usize,
        part: usize,
        rows: impl Fn(&Range<usize>) -> Range<usize>,
        input: kernels::Input<'_>,
        out: &mut [f32],
    ) {
        for (tokens, adapters) in &self.spans {
            let rows = rows(tokens);
            if rows.is_empty() {
                continue;
            }
            for (change, factor) in adapters.changes_of(number) {
                let buffers = &mut self.buffers.borrow_mut();
                change.add(part, &rows, factor, input, out, buffers);
            }
        }
    }

    /// Adds what the adapters of the batch's token `i` add to row `row` of matrix `number`.
    pub(super) fn add_row(&self, number: usize, i: usize, row: usize, out: &mut [f32]) {
        for (tokens, adapters) in &self.spans {
            if !tokens.contains(&i) {
                continue;
            }
            for (change, factor) in adapters.changes_of(number) {
                change.add_row(row, factor, out, &mut self.buffers.borrow_mut());
            }
        }
    }
}

impl Change {
    /// How many rows of each matrix this instance has.
    fn own_rows(&self) -> usize {
        self.b.len() / size_of::<f32>() / self.rank / self.n
    }

    /// `out += factor * B (A input)` with A and B of matrix `part`, for these rows.
    fn add(
        &self,
        part: usize,
        rows: &Range<usize>,
        factor: f32,
        input: kernels::Input<'_>,
        out: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let Buffers { narrow, wide } = buffers;
        let of = |width: usize| rows.start * width..rows.end * width;
        let x = kernels::Input {
            x: &input.x[of(self.cols)],
            ..input
        };
        narrow.resize(rows.len() * self.rank, 0.0);
        kernels::matmul(matrix(&self.a, part, self.rank, self.cols), x, narrow);
        let x = kernels::Input { x: narrow, ..input };
        let own_rows = self.own_rows();
        wide.resize(rows.len() * own_rows, 0.0);
        kernels::matmul(matrix(&self.b, part, own_rows, self.rank), x, wide);
        let out = out[of(own_rows)].iter_mut();
        out.zip(&*wide).for_each(|(out, x)| *out += factor * x);
    }

    /// `out += factor * B a`, where a is row `row` of A.
    fn add_row(&self, row: usize, factor: f32, out: &mut [f32], buffers: &mut Buffers) {
        let Buffers { narrow, wide } = buffers;
        narrow.resize(self.rank, 0.0);
        quant::dequantize_row(TensorType::F32, &self.a, row, narrow);
        wide.resize(out.len(), 0.0);
        let activations = kernels::Activations::default();
        let x = activations.input(narrow);
        kernels::matmul(matrix(&self.b, 0, out.len(), self.rank), x, wide);
        out.iter_mut()
            .zip(&*wide)
            .for_each(|(out, x)| *out += factor * x);
    }
}

/// Matrix `part` of several of `n_rows` rows.
fn matrix(numbers: &Numbers, part: usize, n_rows: usize, cols: usize) -> Rows<'_> {
    let size = n_rows * cols * size_of::<f32>();
    Rows {
        ty: TensorType::F32,
        cols,
        bytes: &numbers[part * size..][..size],
    }
}

/// A hash of numbers, for telling adapters apart. It is the same in every build, because saved sessions have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64);

impl Default for Fingerprint {
    /// The first digits of pi's fraction.
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }
}

impl Fingerprint {
    fn add(&mut self, number: u32) {
        // An odd factor loses nothing, and the shift brings high bits back to where the next number is added.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn add_numbers(&mut self, numbers: &[f32]) {
        numbers.iter().for_each(|x| self.add(x.to_bits()));
    }

    fn add_text(&mut self, text: &str) {
        self.add(text.len() as u32);
        text.bytes().for_each(|byte| self.add(byte.into()));
    }

    fn add_other(&mut self, other: Self) {
        self.add(other.0 as u32);
        self.add((other.0 >> 32) as u32);
    }
}

#[cfg(test)]
mod tests;
