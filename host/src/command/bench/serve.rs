//! `gust bench --serve`: one measurement for each line of stdin, so that two programs can be measured alternately.
//!
//! The caller (such as `cargo xtask bench`) writes requests, and this program answers each with a line of JSON:
//!
//!     (start)           {"ready":true,"version":"0.1.0","isa":"avx2","features":["avx2",...],"load_ms":21.5}
//!     prefill 128       {"seconds":1.52}      128 tokens into an empty context
//!     decode 64 512     {"seconds":4.71}      64 tokens, one at a time, after 512 others
//!
//! The context is filled before the clock starts, and stays filled for the next line. The program ends when stdin does.

use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use gust::{Isa, Session};
use serde_json::json;

use super::super::failure::Failure;
use super::super::output::Output;
use super::super::units::milliseconds;
use super::{begin_answer, generate, random_tokens};

/// Announces that `session` is ready, in an engine for `isa` and after a loading time of `load`, and measures until stdin
/// ends.
pub(super) fn serve(
    session: &mut Session,
    vocabulary_size: u32,
    isa: Isa,
    load: Duration,
) -> Result<(), Failure> {
    let mut output = Output::new();
    output.json(&json!({
        "ready": true,
        "version": env!("CARGO_PKG_VERSION"),
        "isa": isa.name(),
        "features": isa.features(),
        "load_ms": milliseconds(load),
    }))?;
    output.flush()?;
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| Failure::file("reading", "stdin", &error))?;
        let time = match Request::parse(&line)? {
            Request::Prefill(tokens) => prefill(session, tokens, vocabulary_size)?,
            Request::Decode { tokens, depth } => decode(session, tokens, depth, vocabulary_size)?,
        };
        output.json(&json!({ "seconds": time.as_secs_f64() }))?;
        output.flush()?;
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Request {
    Prefill(u32),
    Decode { tokens: u32, depth: u32 },
}

impl Request {
    fn parse(line: &str) -> Result<Self, Failure> {
        let mut words = line.split_whitespace();
        let verb = words.next();
        let numbers: Option<Vec<u32>> = words.map(|word| word.parse().ok()).collect();
        match (verb, numbers.as_deref()) {
            (Some("prefill"), Some(&[tokens])) if tokens > 0 => Ok(Request::Prefill(tokens)),
            (Some("decode"), Some(&[tokens, depth])) => Ok(Request::Decode { tokens, depth }),
            _ => Err(Failure::usage(format!(
                "stdin: expected `prefill TOKENS` or `decode TOKENS DEPTH`, found `{}`",
                line.escape_debug()
            ))),
        }
    }
}

fn prefill(session: &mut Session, tokens: u32, vocabulary: u32) -> Result<Duration, Failure> {
    let prompt = random_tokens(tokens, vocabulary);
    session.truncate(0)?;
    let start = Instant::now();
    session.feed(&prompt)?;
    Ok(start.elapsed())
}

fn decode(
    session: &mut Session,
    tokens: u32,
    depth: u32,
    vocabulary: u32,
) -> Result<Duration, Failure> {
    // Generation needs a token to continue from.
    let depth = depth.max(1);
    let used = session.usage()?.context_used;
    session.truncate(used.min(depth))?;
    let fill = random_tokens(depth, vocabulary);
    session.feed(&fill[used.min(depth) as usize..])?;
    begin_answer(session, tokens + 1, 0)?;
    // The first token needs no forward pass, or one that the others do not need, so it is not counted.
    generate(session, 1)?;
    let start = Instant::now();
    generate(session, tokens)?;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_a_verb_and_its_numbers() {
        let parse = |line| Request::parse(line).ok();
        assert_eq!(parse("prefill 128"), Some(Request::Prefill(128)));
        let decode = Request::Decode {
            tokens: 64,
            depth: 0,
        };
        assert_eq!(parse(" decode 64 0 "), Some(decode));
        for line in ["", "prefill", "prefill 0", "prefill x", "decode 64", "stop"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
