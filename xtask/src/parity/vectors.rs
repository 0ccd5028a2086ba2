//! Models that embed: the vectors of a text.

use anyhow::Result;
use gust::Engine;
use gust_engine::tiny_models::{Case, Matrices, encoders};

use crate::oracle::Oracle;
use crate::table::{Same, relative_rmse};
use crate::{CONTEXT, folder, gust as library, tokens};

/// Tokens of a text: more than any window.
const LENGTH: usize = 300;

/// What is compared of a model.
pub(crate) struct Vector {
    pub(crate) name: String,
    /// The relative error.
    pub(crate) error: f64,
    /// The vector from two instances.
    pub(crate) grouped: Same,
}

/// The vectors of a text with gust's own tiny models, against llama.cpp's.
pub(crate) fn vectors(oracle: &Oracle, engine: &Engine, seed: u64) -> Result<Vec<Vector>> {
    let tokens = tokens(seed, 64, LENGTH);
    let one = |(name, case): (String, Case)| {
        let model = folder()?.join("tiny.gguf");
        std::fs::write(&model, case.with_context(CONTEXT).file(Matrices::F32))?;
        let expected = oracle.embed(&model, &tokens)?;
        let embed = |threads| {
            let model = library::load(engine, &model, Some(threads))?;
            model.embed(&tokens, None, None)
        };
        let found = embed(1)?;
        let vector = Vector {
            error: relative_rmse(&found, &expected),
            grouped: match embed(2) {
                Ok(again) if again == found => Same::Bits,
                Ok(again) => Same::Differs(relative_rmse(&again, &found)),
                Err(error) => Same::Failed(error.to_string()),
            },
            name,
        };
        eprintln!("{}, our own: {:.1e}", vector.name, vector.error);
        Ok(vector)
    };
    encoders().into_iter().map(one).collect()
}
