//! The option `--lora`: adapters that change the model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Args, ValueHint};
use gust::{Adapter, Model, Session, SessionOptions};

use super::failure::Failure;
use super::output::{note, printable};

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
pub(super) struct Lora {
    file: PathBuf,
    scale: f32,
}

impl fmt::Display for Lora {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, scale {}", self.file.display(), self.scale)
    }
}

impl LoraArgs {
    /// Creates a session with the adapters.
    pub(super) fn session(
        &self,
        model: &Model,
        options: &SessionOptions,
    ) -> Result<Session, Failure> {
        let mut session = model.session(options)?;
        self.load(model)?.attach(&mut session)?;
        Ok(session)
    }

    /// Loads the adapters.
    pub(super) fn load(&self, model: &Model) -> Result<Adapters, Failure> {
        let mut adapters = Adapters::default();
        for lora in &self.lora {
            let adapter = load(model, &lora.file, "--lora")?;
            adapters.0.push((lora.clone(), adapter));
        }
        Ok(adapters)
    }
}

fn load(model: &Model, file: &Path, from: &str) -> Result<Rc<Adapter>, Failure> {
    let adapter = model.load_adapter(file).map_err(|error| match error {
        // The message for a file that is not there names it.
        gust::Error::NotFound(_) => error.into(),
        _ => Failure::from(error).about(&format!("{from} {}", file.display())),
    })?;
    if let [first, rest @ ..] = adapter.left_out() {
        let (file, first) = (file.display().to_string(), printable(first));
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        note(&format!(
            "note: {}: trained norms are not used (`{first}`{more}), as in llama.cpp",
            printable(&file)
        ));
    }
    Ok(Rc::new(adapter))
}

/// The loaded adapters of a session.
#[derive(Clone, Default)]
pub(super) struct Adapters(Vec<(Lora, Rc<Adapter>)>);

impl Adapters {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, with another one; if its file is there already, with another scale of it.
    pub(super) fn with(&self, lora: Lora, model: &Model) -> Result<Adapters, Failure> {
        let mut adapters = self.clone();
        match adapters.0.iter_mut().find(|(old, _)| old.file == lora.file) {
            Some((old, _)) => *old = lora,
            None => {
                let adapter = load(model, &lora.file, "/lora")?;
                adapters.0.push((lora, adapter));
            }
        }
        Ok(adapters)
    }

    /// These, without those of a file. `None` if there are none.
    pub(super) fn without(&self, file: &Path) -> Option<Adapters> {
        let kept = self.0.iter().filter(|(lora, _)| lora.file != file);
        let kept = Adapters(kept.cloned().collect());
        (kept.0.len() < self.0.len()).then_some(kept)
    }

    /// Adds these to a session without adapters. An engine need not know of adapters as long as there are none.
    pub(super) fn attach(&self, session: &mut Session) -> Result<(), gust::Error> {
        if self.is_empty() {
            return Ok(());
        }
        self.replace(session)
    }

    /// Lets a session have these and no others.
    pub(super) fn replace(&self, session: &mut Session) -> Result<(), gust::Error> {
        let scaled = self
            .0
            .iter()
            .map(|(lora, adapter)| (&**adapter, lora.scale));
        let scaled: Vec<_> = scaled.collect();
        session.set_adapters(&scaled)
    }
}

impl fmt::Display for Adapters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no adapters");
        }
        for (i, (lora, _)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}adapter {lora}")?;
        }
        Ok(())
    }
}

/// A file, and a scale after its last colon if what is there is a number.
pub(super) fn parse(text: &str) -> Result<Lora, String> {
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
