//! `gust --version`, and with `--verbose` what this build is made of.

use gust::BuildInfo;

use super::failure::Failure;
use super::output::{Output, table};

pub(super) fn version(verbose: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(concat!("gust ", env!("CARGO_PKG_VERSION")))?;
    if verbose {
        let build = BuildInfo::current();
        let middleware = match build.middleware {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let tokenizers = match build.tokenizers_bytes {
            None => "none".to_owned(),
            Some(bytes) => format!("{bytes} bytes"),
        };
        let rows = [
            ("engine", format!("{} bytes", build.engine_bytes)),
            ("engine sha256", build.engine_sha256),
            ("engine for --tokenizer", tokenizers),
            ("wasmtime", build.wasmtime.to_owned()),
            ("middleware", middleware),
            ("target", build.target.to_owned()),
        ];
        let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
        output.text(&table(&rows))?;
    }
    output.flush()
}
