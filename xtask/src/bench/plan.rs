//! What there is to measure: groups of measures that share a model, its type and the number of threads.
//!
//! The order is that of interest: when a run is stopped early, what everybody asks first is there. The context of 4,096
//! tokens takes minutes to fill and comes last.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::models;

/// A model in one type, on so many threads, and what is measured of it.
pub(crate) struct Group {
    /// A name in [`MODELS`], or that of a file.
    pub(crate) model: String,
    pub(crate) ty: &'static str,
    pub(crate) threads: usize,
    pub(crate) measures: Vec<Measure>,
}

/// One measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Tokens of a prompt into an empty context, in tokens a second.
    Prefill { tokens: u32 },
    /// Tokens one after the other behind `depth`, in tokens a second.
    Decode { tokens: u32, depth: u32 },
    /// From a running program to a session with a context of [`USUAL_CONTEXT`], in milliseconds.
    Load,
    /// From the start of the program to the first token of a short prompt, in milliseconds.
    FirstToken,
    /// The most memory that was resident, mapped files included, after prefill128 and decode64@0, in MB.
    PeakMemory,
}

pub(crate) const MODELS: [&str; 3] = ["tinyllama-1.1b", "llama-3.2-1b", "moe-1b-a400m"];
/// What ends with [`PACKED`] is that type after `gust pack`; the others get it unpacked.
pub(crate) const TYPES: [&str; 5] = ["q4_0", "q4_k", "q8_0", "q4_0_x4", "q8_0_x4"];
pub(crate) const PACKED: &str = "_x4";
/// The type of a file that is not made here.
pub(crate) const REAL: &str = "file";
const THREADS: [usize; 2] = [1, 2];

/// The deepest context that is measured.
const DEEP: u32 = 4096;

/// The context of what is measured with a program of its own: the default of `gust run`.
pub(crate) const USUAL_CONTEXT: u32 = 4096;

/// Tokens of context that all speeds are measured in.
pub(crate) fn context(measures: &[Measure]) -> u32 {
    let room = |measure: &Measure| match *measure {
        Measure::Prefill { tokens } => tokens,
        Measure::Decode { tokens, depth } => depth + tokens,
        _ => 0,
    };
    // A few to spare: the token before the first that counts, and the one after the last.
    measures.iter().map(room).max().unwrap_or(0) + 8
}

/// The names of the models in a folder, in order: those of the GGUF files, without the ending.
pub(crate) fn real_models(folder: &Path) -> Result<Vec<String>> {
    let files = models::files(folder)?;
    let names = files.iter().filter_map(|path| path.file_stem());
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

/// Everything whose name has all of `only` in it, in lower case. `real` has the names of models that are files.
pub(crate) fn groups(only: &[String], real: &[String], is_quick: bool) -> Vec<Group> {
    let synthetic = MODELS
        .iter()
        .flat_map(|model| TYPES.map(|ty| ((*model).to_owned(), ty)));
    let all: Vec<(String, &str)> = real
        .iter()
        .map(|model| (model.clone(), REAL))
        .chain(synthetic)
        .collect();
    let shallow = [
        Measure::decode(0),
        Measure::Prefill { tokens: 128 },
        Measure::Load,
        Measure::FirstToken,
        Measure::PeakMemory,
        Measure::decode(512),
        Measure::Prefill { tokens: 512 },
    ];
    let deep = [Measure::decode(DEEP)];
    let quick = [
        Measure::Decode {
            tokens: 8,
            depth: 0,
        },
        Measure::Prefill { tokens: 32 },
        Measure::Load,
        Measure::FirstToken,
        Measure::PeakMemory,
    ];
    let passes: &[&[Measure]] = if is_quick {
        &[&quick]
    } else {
        &[&shallow, &deep]
    };
    let mut groups = Vec::new();
    for measures in passes {
        for (model, ty) in &all {
            for threads in THREADS {
                let mut group = Group {
                    model: model.clone(),
                    ty,
                    threads,
                    measures: measures.to_vec(),
                };
                group.measures = group.named(only);
                if !group.measures.is_empty() {
                    groups.push(group);
                }
            }
        }
    }
    groups
}

impl Group {
    fn named(&self, only: &[String]) -> Vec<Measure> {
        let wanted = |measure: &&Measure| {
            let name = self.name(measure);
            only.iter().all(|text| name.contains(text.as_str()))
        };
        self.measures.iter().filter(wanted).copied().collect()
    }

    /// `MODEL/TYPE/THREADS/MEASURE`
    pub(crate) fn name(&self, measure: &Measure) -> String {
        format!("{}/{}/{}/{measure}", self.model, self.ty, self.threads)
    }
}

impl Measure {
    const fn decode(depth: u32) -> Self {
        Measure::Decode { tokens: 64, depth }
    }

    /// What it is counted in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Measure::Prefill { .. } | Measure::Decode { .. } => "tokens/s",
            Measure::Load | Measure::FirstToken => "ms",
            Measure::PeakMemory => "MB",
        }
    }

    /// Whether more is better.
    pub(crate) fn is_speed(self) -> bool {
        self.unit() == "tokens/s"
    }

    /// About how long a round takes, in the time of a token on its own.
    pub(crate) fn effort(self) -> f64 {
        match self {
            Measure::Prefill { tokens } => f64::from(tokens) / 3.0,
            Measure::Decode { tokens, depth } => f64::from(tokens) * (1.0 + f64::from(depth) / 1e4),
            Measure::Load | Measure::FirstToken => 20.0,
            Measure::PeakMemory => 130.0,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Prefill { tokens } => write!(f, "prefill{tokens}"),
            Measure::Decode { tokens, depth } => write!(f, "decode{tokens}@{depth}"),
            Measure::Load => write!(f, "load"),
            Measure::FirstToken => write!(f, "first_token"),
            Measure::PeakMemory => write!(f, "peak_memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<String> {
        let only: Vec<String> = only.iter().map(|&text| text.to_owned()).collect();
        let groups = groups(&only, &["real".to_owned()], false);
        let names = |group: &Group| -> Vec<String> {
            let measures = group.measures.iter();
            measures.map(|measure| group.name(measure)).collect()
        };
        groups.iter().flat_map(names).collect()
    }

    #[test]
    fn all_of_the_texts_are_in_the_name() {
        assert_eq!(
            names(&["tinyllama", "/q4_0/1/", "decode"]),
            [
                "tinyllama-1.1b/q4_0/1/decode64@0",
                "tinyllama-1.1b/q4_0/1/decode64@512",
                "tinyllama-1.1b/q4_0/1/decode64@4096"
            ]
        );
        assert!(names(&["no such thing"]).is_empty());
        assert_eq!(
            names(&[]).len(),
            (1 + MODELS.len() * TYPES.len()) * THREADS.len() * 8
        );
        assert_eq!(
            names(&["prefill128", "real/"]),
            ["real/file/1/prefill128", "real/file/2/prefill128"]
        );
    }

    #[test]
    fn the_context_holds_every_measure() {
        assert_eq!(context(&[Measure::Load, Measure::decode(512)]), 584);
        assert_eq!(
            context(&[Measure::decode(0), Measure::Prefill { tokens: 128 }]),
            136
        );
    }
}
