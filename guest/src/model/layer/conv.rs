//! The causal convolution of recurrent layers: each channel over its own last inputs.

use std::ops::Range;

use super::super::weights::Loader;
use crate::error::Result;

/// The taps of some channels.
pub(super) struct Conv {
    /// Taps per channel, K.
    d_conv: usize,
    /// `[channels, K]`, the last one for the current input.
    taps: Vec<f32>,
    /// `[channels]`
    bias: Option<Vec<f32>>,
}

impl Conv {
    /// Loads the taps of these of `n` channels.
    ///
    /// # Errors
    /// As [`Loader::numbers`].
    pub(super) fn load(
        loader: &mut Loader<'_>,
        name: &str,
        [d_conv, n]: [usize; 2],
        channels: &Range<usize>,
    ) -> Result<Self> {
        let all = loader.numbers(&format!("{name}.weight"), &[d_conv, n])?;
        let bias = loader.optional_vector(&format!("{name}.bias"), n)?;
        let own =
            |all: &[f32], width: usize| all[channels.start * width..channels.end * width].to_vec();
        Ok(Self {
            d_conv,
            taps: own(&all, d_conv),
            bias: bias.map(|bias| own(&bias, 1)),
        })
    }

    /// Replaces the inputs of one token, `[channels]`, by the outputs. `last` are the inputs before, `[channels, K - 1]`,
    /// the latest last.
    pub(super) fn step(&self, last: &mut [f32], x: &mut [f32]) {
        let kept = self.d_conv - 1;
        let taps = self.taps.chunks_exact(self.d_conv);
        for (c, (x, taps)) in x.iter_mut().zip(taps).enumerate() {
            let last = &mut last[c * kept..][..kept];
            let input = *x;
            let mut sum = 0.0;
            for (x, tap) in last.iter().zip(taps) {
                sum += x * tap;
            }
            *x = sum + input * taps[kept];
            if let Some(bias) = &self.bias {
                *x += bias[c];
            }
            if kept > 0 {
                last.copy_within(1.., 0);
                last[kept - 1] = input;
            }
        }
    }
}
