//! A mixed batch: tokens of several sequences in one forward pass.
//!
//! The engine has it (`Transformer::forward` takes spans), and no command uses it yet. So it runs natively here, with the
//! scalar kernels.

use std::rc::Rc;

use gust_engine::error::Error;
use gust_engine::gguf::Gguf;
use gust_engine::model::{BATCH, KvType, Mapping, Solo, Span, Transformer};

/// The lengths of three sequences.
const LENGTHS: [usize; 3] = [160, 90, 30];
/// How many tokens of each the batches have, in turn: of all, of two, of one, single ones among many.
const MIXES: [[usize; 3]; 4] = [[1, 40, 2], [5, 1, 1], [30, 0, 20], [24, 33, 7]];

/// The logits after each token of three sequences, which are taken from `tokens`: each alone, and all mixed.
pub(crate) fn alone_and_mixed(file: &[u8], tokens: &[u32]) -> Result<[Vec<f32>; 2], Error> {
    let gguf = Gguf::read(&file)?;
    gguf.check_data(file.len() as u64)?;
    let mut model = Transformer::load(&gguf, &file, Mapping::Allowed, Rc::new(Solo))?;
    let mut rest = tokens;
    let sequences = LENGTHS.map(|length| {
        let (sequence, others) = rest.split_at(length);
        rest = others;
        sequence
    });
    let mut alone = Vec::new();
    for sequence in sequences {
        let mut state = model.new_state(KvType::F32, sequence.len())?;
        for (i, tokens) in sequence.chunks(BATCH).enumerate() {
            let mut span = [Span {
                tokens,
                position: i * BATCH,
                state: &mut state,
                wanted: 0..tokens.len(),
            }];
            let mut rows = Vec::new();
            model
                .forward(&mut span)?
                .logits(0..tokens.len(), &mut rows)?;
            alone.extend(rows);
        }
    }
    let n_vocab = model.plan().n_vocab;
    let mut states = Vec::new();
    for length in LENGTHS {
        states.push(model.new_state(KvType::F32, length)?);
    }
    let mut mixed = [const { Vec::new() }; 3];
    let mut done = [0; 3];
    for mix in MIXES.iter().cycle() {
        let counts: [usize; 3] = std::array::from_fn(|i| mix[i].min(LENGTHS[i] - done[i]));
        let mut batch = Vec::new();
        for (i, state) in states
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| counts[*i] > 0)
        {
            batch.push(Span {
                tokens: &sequences[i][done[i]..done[i] + counts[i]],
                position: done[i],
                state,
                wanted: 0..counts[i],
            });
        }
        let mut rows = Vec::new();
        let n_tokens = counts.iter().sum();
        if n_tokens == 0 {
            break;
        }
        model.forward(&mut batch)?.logits(0..n_tokens, &mut rows)?;
        let mut rest = &rows[..];
        for i in 0..3 {
            let (own, others) = rest.split_at(counts[i] * n_vocab);
            mixed[i].extend_from_slice(own);
            rest = others;
            done[i] += counts[i];
        }
    }
    Ok([alone, mixed.concat()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_never_too_long_and_all_tokens_come() {
        let fits = |mix: &[usize; 3]| mix.iter().sum::<usize>() <= BATCH;
        assert!(MIXES.iter().all(fits));
        let takes = |i: usize| MIXES.iter().any(|mix| mix[i] > 0);
        assert!((0..3).all(takes));
    }
}
