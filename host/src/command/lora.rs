//! The option `--lora`: adapters that change the model.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use gust::{Adapter, Model, Session, SessionOptions};

use super::failure::Failure;

/// Adapters that change the model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct LoraArgs {
    /// LoRA adapter to change the model with, a GGUF file made for it, times SCALE [default: 1]; can be given more than
    /// once
    #[arg(long, value_name = "FILE[:SCALE]", value_hint = ValueHint::FilePath, value_parser = parse)]
    lora: Vec<Lora>,
}

/// An adapter's file, and how much of its changes is added.
#[derive(Debug, Clone, PartialEq)]
struct Lora {
    file: PathBuf,
    scale: f32,
}

impl LoraArgs {
    /// Creates a session with the adapters.
    pub(super) fn session(
        &self,
        model: &Model,
        options: &SessionOptions,
    ) -> Result<Session, Failure> {
        let mut session = model.session(options)?;
        if self.lora.is_empty() {
            return Ok(session);
        }
        let load = |lora: &Lora| {
            let adapter = model.load_adapter(&lora.file).map_err(|error| {
                // The message for a file that is not there names it.
                match error {
                    gust::Error::NotFound(_) => error.into(),
                    _ => Failure::from(error).about(&format!("--lora {}", lora.file.display())),
                }
            })?;
            Ok((adapter, lora.scale))
        };
        let loaded: Vec<(Adapter, f32)> =
            self.lora.iter().map(load).collect::<Result<_, Failure>>()?;
        let adapters: Vec<_> = loaded
            .iter()
            .map(|(adapter, scale)| (adapter, *scale))
            .collect();
        session.set_adapters(&adapters)?;
        Ok(session)
    }
}

/// A file, and a scale after its last colon if what is there is a number.
fn parse(text: &str) -> Result<Lora, String> {
    let split = text.rsplit_once(':');
    let scaled = split.and_then(|(file, scale)| Some((file, scale.parse::<f32>().ok()?)));
    let (file, scale) = scaled.unwrap_or((text, 1.0));
    if file.is_empty() {
        return Err("expected a file, found none".to_owned());
    }
    if !scale.is_finite() {
        return Err(format!("expected a finite scale, found {scale}"));
    }
    Ok(Lora {
        file: file.into(),
        scale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_number_after_the_last_colon() {
        for (text, file, scale) in [
            ("a.gguf", "a.gguf", 1.0),
            ("a.gguf:0.5", "a.gguf", 0.5),
            ("a.gguf:-2", "a.gguf", -2.0),
            ("a.gguf:0", "a.gguf", 0.0),
            ("C:\\a.gguf", "C:\\a.gguf", 1.0),
            ("C:\\a.gguf:1e-1", "C:\\a.gguf", 0.1),
            ("a:b:c.gguf", "a:b:c.gguf", 1.0),
            ("a:2:1", "a:2", 1.0),
        ] {
            let file = PathBuf::from(file);
            assert_eq!(parse(text), Ok(Lora { file, scale }), "{text}");
        }
        for wrong in ["", ":1", "a.gguf:nan", "a.gguf:inf", "a.gguf:1e99"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
