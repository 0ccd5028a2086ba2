//! What was measured, kept in a file and merged with what is measured later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::order::PEERS;
use crate::plan::{MODELS, Measure, TYPES};

/// One comparison: medians of the same rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) model: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) threads: usize,
    pub(crate) measure: String,
    pub(crate) peer: String,
    pub(crate) gust: f64,
    pub(crate) other: f64,
    /// Above 1, gust is better: faster, sooner, smaller.
    pub(crate) ratio: f64,
    pub(crate) unit: String,
    pub(crate) rounds: usize,
    /// The commit of gust, with `+` where there was more than that.
    pub(crate) gust_version: String,
    pub(crate) other_version: String,
    pub(crate) machine: String,
    /// What gust was compiled for, and what this is of the processor's features. Early rows do not say it: all.
    #[serde(default = "native")]
    pub(crate) isa: String,
    #[serde(default)]
    pub(crate) features: String,
    /// The day, in UTC.
    pub(crate) date: String,
}

fn native() -> String {
    "native".to_owned()
}

/// How much better gust is.
pub(crate) fn ratio(measure: Measure, gust: f64, other: f64) -> f64 {
    let ratio = if measure.is_speed() {
        gust / other
    } else {
        other / gust
    };
    (ratio * 1000.0).round() / 1000.0
}

/// The middle one; of an even number, the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// All rows, in the order of models, types, threads, measures and peers.
#[derive(Clone)]
pub(crate) struct Results {
    path: PathBuf,
    pub(crate) rows: Vec<Row>,
}

impl Results {
    /// Those of a file, or none if there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let rows = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a list of results", path.display()))?,
            Err(_) => Vec::new(),
        };
        let path = path.to_owned();
        Ok(Self { path, rows })
    }

    /// Puts rows in the place of those that say the same of the same peer.
    pub(crate) fn merge(&mut self, rows: Vec<Row>) {
        let mut all: BTreeMap<Key, Row> = BTreeMap::new();
        for row in self.rows.drain(..).chain(rows) {
            all.insert(Key::of(&row), row);
        }
        self.rows = all.into_values().collect();
    }

    /// Whether there is a row of this name, `MODEL/TYPE/THREADS/MEASURE`, peer and version.
    pub(crate) fn has(&self, name: &str, peer: &str, gust_version: &str) -> bool {
        self.rows
            .iter()
            .any(|row| row.peer == peer && row.gust_version == gust_version && row.name() == name)
    }

    /// Writes the file so that it is whole at any time: one row on a line.
    pub(crate) fn write(&self) -> Result<()> {
        let lines: Result<Vec<String>, _> = self.rows.iter().map(serde_json::to_string).collect();
        let text = format!("[\n{}\n]\n", lines?.join(",\n"));
        write_whole(&self.path, &text)
    }

    /// The folder that they are in.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Writes beside the path and renames.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&part, text)?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

impl Row {
    /// `MODEL/TYPE/THREADS/MEASURE`
    pub(crate) fn name(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.model, self.ty, self.threads, self.measure
        )
    }
}

/// What a row is about, in the order of the tables.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    peer: (usize, String),
    model: (usize, String),
    ty: (usize, String),
    threads: usize,
    measure: (usize, String),
}

impl Key {
    fn of(row: &Row) -> Self {
        Self {
            peer: place(&PEERS, &row.peer),
            model: place(&MODELS, &row.model),
            ty: place(&TYPES, &row.ty),
            threads: row.threads,
            measure: place(&MEASURES, &row.measure),
        }
    }
}

/// Names of measures, in the order of the tables.
pub(crate) const MEASURES: [&str; 8] = [
    "decode64@0",
    "decode64@512",
    "decode64@4096",
    "prefill128",
    "prefill512",
    "load",
    "first_token",
    "peak_memory",
];

/// What is not on the list comes behind it.
fn place(list: &[&str], name: &str) -> (usize, String) {
    let at = list.iter().position(|&known| known == name);
    (at.unwrap_or(list.len()), name.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(name: &str, peer: &str, gust: f64, other: f64) -> Row {
        let parts: Vec<&str> = name.split('/').collect();
        Row {
            model: parts[0].into(),
            ty: parts[1].into(),
            threads: parts[2].parse().unwrap(),
            measure: parts[3].into(),
            peer: peer.into(),
            gust,
            other,
            ratio: gust / other,
            unit: "tokens/s".into(),
            rounds: 5,
            gust_version: "abc".into(),
            other_version: "1".into(),
            machine: "a machine".into(),
            isa: native(),
            features: "avx2 fma".into(),
            date: "2026-11-23".into(),
        }
    }

    #[test]
    fn a_ratio_above_one_is_good_whatever_is_measured() {
        assert_eq!(ratio(Measure::Prefill { tokens: 128 }, 60.0, 40.0), 1.5);
        assert_eq!(ratio(Measure::FirstToken, 100.0, 300.0), 3.0);
        assert_eq!(ratio(Measure::PeakMemory, 800.0, 600.0), 0.75);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn later_rows_replace_earlier_ones_and_nothing_else() {
        let mut results = Results {
            path: PathBuf::new(),
            rows: Vec::new(),
        };
        let name = "tinyllama-1.1b/q4_0/1/decode64@0";
        results.merge(vec![
            row(name, "wllama", 10.0, 2.0),
            row(name, "llama.cpp", 10.0, 14.0),
            row("tinyllama-1.1b/q8_0/1/load", "llama.cpp", 1.0, 2.0),
        ]);
        results.merge(vec![row(name, "llama.cpp", 15.0, 14.0)]);
        let found: Vec<_> = results
            .rows
            .iter()
            .map(|row| (row.ty.as_str(), row.peer.as_str(), row.gust))
            .collect();
        let expected = [
            ("q4_0", "llama.cpp", 15.0),
            ("q8_0", "llama.cpp", 1.0),
            ("q4_0", "wllama", 10.0),
        ];
        assert_eq!(found, expected);
        assert!(results.has(name, "wllama", "abc"));
        assert!(!results.has(name, "wllama", "abd"));
    }

    #[test]
    fn rows_come_back_from_the_file() {
        let folder = std::env::temp_dir().join(format!("gust-bench-{}", std::process::id()));
        let path = folder.join("results.json");
        let mut results = Results::read(&path).unwrap();
        results.merge(vec![row("tinyllama-1.1b/q4_0/1/load", "candle", 1.5, 2.5)]);
        results.write().unwrap();
        assert_eq!(Results::read(&path).unwrap().rows, results.rows);
        // Rows from before there were ISAs.
        let early = fs::read_to_string(&path).unwrap();
        let early = early.replace("\"isa\":\"native\",\"features\":\"avx2 fma\",", "");
        fs::write(&path, &early).unwrap();
        let read = Results::read(&path).unwrap().rows.remove(0);
        assert!(!early.contains("isa"), "{early}");
        assert_eq!((&*read.isa, &*read.features), ("native", ""));
        fs::remove_dir_all(folder).unwrap();
    }
}
