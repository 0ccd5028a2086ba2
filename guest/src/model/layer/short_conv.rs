//! A short convolution with gates before and after it: `out_proj(c * conv(b * x))`. Source: Liquid AI, 2025 (LFM2).

use super::super::forward::BATCH;
use super::super::group::{Place, gather_columns};
use super::super::plan::ShortConvSpec;
use super::super::weights::{Linear, Loader};
use super::conv::Conv;
use super::{Pass, Scratch, quantized};
use crate::error::Result;
use crate::trace;

pub(super) struct ShortConv {
    slot: usize,
    n_embd: usize,
    /// `[3 * E, E]`: this instance's channels of b, c and x.
    in_proj: [Linear; 3],
    conv: Conv,
    /// `[E, E]`
    out_proj: Linear,
}

impl ShortConv {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        name: impl Fn(&str) -> String,
        spec: &ShortConvSpec,
    ) -> Result<Self> {
        let n = spec.n_embd;
        let own = loader.place.units(n);
        let in_proj = name("shortconv.in_proj");
        let mut part = |i: usize| {
            let rows = i * n + own.start..i * n + own.end;
            loader.linear(&in_proj, [n, 3 * n], &rows)
        };
        let in_proj = [part(0)?, part(1)?, part(2)?];
        let rows = loader.place.rows(n);
        Ok(Self {
            slot: loader.next_slot(),
            n_embd: n,
            in_proj,
            conv: Conv::load(loader, &name("shortconv.conv"), [spec.d_conv, n], &own)?,
            out_proj: loader.linear(&name("shortconv.out_proj"), [n, n], &rows)?,
        })
    }

    pub(super) fn reserve(&self, scratch: &mut Scratch) -> Result<()> {
        scratch.recurrent.reserve(4 * BATCH * self.n_embd)?;
        scratch.activations.reserve(BATCH, self.n_embd)
    }

    pub(super) fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        let n_tokens = pass.n_tokens();
        let s = &mut *pass.scratch;
        let buffers = &mut s.recurrent;
        let [b, c, x] = &self.in_proj;
        let readers = [&b.weight, &c.weight, &x.weight];
        let input = quantized(&s.normed, &mut s.activations, readers);
        b.apply(n_tokens, input, &mut buffers.a);
        c.apply(n_tokens, input, &mut buffers.b);
        x.apply(n_tokens, input, &mut buffers.c);
        trace::lap("shortconv.in_proj");
        let both = buffers.a.iter_mut().zip(&buffers.c);
        both.for_each(|(b, x)| *b *= x);
        let own = c.weight.n_rows();
        let mut t = 0;
        for span in &mut *pass.batch {
            let n = span.tokens.len();
            let state = span.state.recurrent(self.slot);
            let last = state.advance(span.position, n);
            for row in buffers.a[t * own..(t + n) * own].chunks_exact_mut(own.max(1)) {
                self.conv.step(last, row);
            }
            t += n;
        }
        let both = buffers.a.iter_mut().zip(&buffers.b);
        both.for_each(|(x, c)| *x *= c);
        trace::lap("shortconv.conv");
        let n_embd = self.n_embd;
        buffers.out.resize(n_tokens * n_embd, 0.0);
        let columns = |place: Place| place.units(n_embd);
        gather_columns(
            pass.group,
            &mut buffers.a,
            n_embd,
            columns,
            &mut buffers.out,
        )?;
        trace::lap("gather");
        let input = quantized(&buffers.out, &mut s.activations, [&self.out_proj.weight]);
        self.out_proj.apply(n_tokens, input, &mut s.own_delta);
        trace::lap("shortconv.out_proj");
        Ok(())
    }
}
