//! Running a host in one of the four ways, and what it answers.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::http;
use crate::list::{Host, MODEL, PROMPT, Way};
use crate::tools::Found;

/// A host that has said nothing more for so long hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// What a host answered. What it does not tell is empty.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) build: String,
    pub(crate) tokens: Option<Vec<u32>>,
    /// The answer without the prompt.
    pub(crate) text: Option<String>,
    pub(crate) tokens_per_second: f64,
    #[serde(default)]
    pub(crate) notes: String,
}

/// Runs it. The reference says how many tokens a text has, where a host gives no more than that.
pub(crate) fn run(host: &Host, found: &Found, reference: &Answer) -> Result<Answer> {
    let mut command = found.command();
    command.args(host.args);
    let count = reference.tokens.as_ref().map_or(0, Vec::len);
    match host.way {
        Way::Lines { rounds } => {
            let args = ["-n", "64", "--seed", "42", "--json", PROMPT];
            command.args(["-m", MODEL]).args(args);
            of_rounds(rounds, || lines(&text(&pieces(&mut command)?)?))
        }
        Way::Driver => {
            let line = text(&pieces(&mut command)?)?;
            serde_json::from_str(&line).with_context(|| format!("expected an answer, found {line}"))
        }
        Way::Story => of_rounds(5, || {
            let pieces = pieces(&mut command)?;
            let text = text(&pieces)?;
            let answer = text.strip_prefix(PROMPT).unwrap_or(&text);
            let answer = answer.strip_suffix('\n').unwrap_or(answer);
            let times: Vec<_> = pieces.iter().map(|piece| piece.time).collect();
            Ok(timed(answer, &times, count))
        }),
        Way::Server => {
            let server = http::Server::start(command)?;
            of_rounds(5, || {
                let (answer, times) = server.complete()?;
                Ok(timed(&answer, &times, count))
            })
        }
    }
}

/// All answers of several rounds as one: they must be the same, and the speed is the median.
fn of_rounds(rounds: usize, mut round: impl FnMut() -> Result<Answer>) -> Result<Answer> {
    let mut answer = round()?;
    let mut speeds = vec![answer.tokens_per_second];
    for _ in 1..rounds {
        let again = round()?;
        if (&again.tokens, &again.text) != (&answer.tokens, &answer.text) {
            bail!("two answers differ: {:?}, {:?}", answer.text, again.text);
        }
        speeds.push(again.tokens_per_second);
    }
    speeds.sort_by(f64::total_cmp);
    answer.tokens_per_second = speeds[speeds.len() / 2];
    Ok(answer)
}

/// An answer of which the times of its pieces are known: the speed is that behind the first.
fn timed(text: &str, times: &[Instant], tokens: usize) -> Answer {
    let time = match times {
        [first, .., last] => last.duration_since(*first).as_secs_f64(),
        _ => f64::INFINITY,
    };
    Answer {
        text: Some(text.to_owned()),
        tokens_per_second: tokens.saturating_sub(1) as f64 / time,
        ..Answer::default()
    }
}

/// Reads what `gust run --json` prints.
fn lines(text: &str) -> Result<Answer> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Line {
        Token { id: Option<u32>, text: String },
        End { timings: Timings },
    }
    #[derive(Deserialize)]
    struct Timings {
        decode_tokens_per_second: f64,
    }
    let (mut answer, mut said, mut tokens) = (Answer::default(), String::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line).with_context(|| format!("expected JSON, found {line}"))? {
            Line::Token { id, text } => {
                tokens.extend(id);
                said.push_str(&text);
            }
            Line::End { timings } => answer.tokens_per_second = timings.decode_tokens_per_second,
        }
    }
    (answer.tokens, answer.text) = (Some(tokens), Some(said));
    Ok(answer)
}

/// A part of what a program wrote, and when it came.
struct Piece {
    time: Instant,
    bytes: Vec<u8>,
}

fn text(pieces: &[Piece]) -> Result<String> {
    let bytes = pieces.iter().flat_map(|piece| &piece.bytes).copied();
    String::from_utf8(bytes.collect()).context("expected text")
}

/// Runs to the end, within [`LIMIT`], and gives what came on stdout.
fn pieces(command: &mut Command) -> Result<Vec<Piece>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (sender, receiver) = mpsc::channel();
    let mut stdout = child.stdout.take().context("no output to read")?;
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            let (time, bytes) = (Instant::now(), buffer[..length].to_vec());
            if sender.send(Piece { time, bytes }).is_err() {
                break;
            }
        }
    });
    let mut stderr = child.stderr.take().context("no output to read")?;
    let said = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut pieces = Vec::new();
    loop {
        match receiver.recv_timeout(LIMIT) {
            Ok(piece) => pieces.push(piece),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                bail!("said nothing for {} s", LIMIT.as_secs());
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let said = said.join().unwrap_or_default();
        let lines: Vec<_> = said.trim().lines().rev().take(3).collect();
        bail!(
            "{status}: {}",
            lines.into_iter().rev().collect::<Vec<_>>().join("; ")
        );
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_gust_run_are_read() {
        let answer = lines(
            "{\"id\":3,\"text\":\" a\"}\n{\"id\":null,\"text\":\"b\"}\n\
             {\"finish_reason\":\"length\",\"timings\":{\"load_ms\":1.0,\"decode_tokens_per_second\":5.5}}\n",
        );
        let answer = answer.expect("as it prints them");
        assert_eq!(answer.tokens, Some(vec![3]));
        assert_eq!(answer.text.as_deref(), Some(" ab"));
        assert_eq!(answer.tokens_per_second, 5.5);
        assert!(lines("error: none").is_err());
    }

    #[test]
    fn the_speed_is_the_median_and_the_answers_are_one() {
        let of = |answers: &[(&str, f64)]| {
            let mut answers = answers.iter();
            of_rounds(answers.len(), || {
                let &(text, tokens_per_second) = answers.next().context("no more")?;
                Ok(Answer {
                    text: Some(text.to_owned()),
                    tokens_per_second,
                    ..Answer::default()
                })
            })
        };
        let answer = of(&[("a", 9.0), ("a", 1.0), ("a", 5.0)]).expect("equal");
        assert_eq!(answer.tokens_per_second, 5.0);
        assert!(of(&[("a", 1.0), ("b", 1.0)]).is_err());
    }

    #[test]
    fn what_a_program_says_is_told_when_it_fails() {
        let script = "echo out; echo reason >&2; exit 3";
        let Err(error) = pieces(Command::new("sh").args(["-c", script])) else {
            panic!("it failed");
        };
        assert!(error.to_string().contains("reason"), "{error}");
    }
}
