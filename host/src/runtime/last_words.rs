//! What a component writes to standard error: the end of it is kept, for the message of a panic, and all of it may be
//! passed on to this program's own.
//!
//! What is passed on may come from anybody's component, so it is limited in rate, and a terminal gets escapes for what
//! would steer it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::runtime::terminal::shown;

/// How many bytes of standard error are kept: enough for a message and a backtrace.
const LAST_WORDS: usize = 8 * 1024;
/// How many bytes of standard error are passed on at once.
const BURST: u64 = 1 << 20;
/// How many bytes of standard error are passed on per second after that: more than anybody reads, and a log of a
/// thousand tokens.
const PER_SECOND: u64 = 256 << 10;

/// The end of what a component wrote to standard error. Clones share it.
#[derive(Clone)]
pub(crate) struct LastWords(Arc<Mutex<Words>>);

struct Words {
    kept: VecDeque<u8>,
    /// Where it is passed on to, if anywhere.
    passed_on: Option<Passage>,
}

impl LastWords {
    /// Empty at first. `passed_on` says whether what is written is passed on as well.
    pub(crate) fn new(passed_on: bool) -> Self {
        let to_stderr = || {
            let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
            Passage::new(Box::new(io::stderr()), is_terminal)
        };
        LastWords(Arc::new(Mutex::new(Words {
            kept: VecDeque::new(),
            passed_on: passed_on.then(to_stderr),
        })))
    }

    /// Takes what has been kept.
    pub(crate) fn take(&self) -> String {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = std::mem::take(&mut words.kept);
        String::from_utf8_lossy(&Vec::from(bytes)).trim().to_owned()
    }
}

/// The way to this program's standard error.
struct Passage {
    out: Box<dyn Write + Send>,
    is_terminal: bool,
    /// The beginning of a character whose end has not arrived: at most three bytes. Only for a terminal.
    held: Vec<u8>,
    /// Bytes that may be passed on now.
    allowance: u64,
    /// When that was computed.
    at: Instant,
    /// Bytes that were left out since something was passed on.
    left_out: u64,
}

impl Passage {
    fn new(out: Box<dyn Write + Send>, is_terminal: bool) -> Passage {
        Passage {
            out,
            is_terminal,
            held: Vec::new(),
            allowance: BURST,
            at: Instant::now(),
            left_out: 0,
        }
    }

    /// Passes on as much of `bytes` as the rate allows at `now`. Whether anyone reads it is no concern of the component.
    fn pass(&mut self, bytes: &[u8], now: Instant) {
        /// Time is counted in whole units of this, which are worth at least a byte, so that none is lost.
        const UNIT: Duration = Duration::from_millis(1);
        let units = now.saturating_duration_since(self.at).as_millis();
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.at += UNIT * units;
        let earned = u64::from(units) * PER_SECOND / 1000;
        self.allowance = self.allowance.saturating_add(earned).min(BURST);

        let length = bytes.len() as u64;
        let passed = length.min(self.allowance);
        self.allowance -= passed;
        if passed > 0 && self.left_out > 0 {
            let note = format!(
                "\n[{} bytes of a component's output left out]\n",
                self.left_out
            );
            self.left_out = 0;
            let _ = self.out.write_all(note.as_bytes());
        }
        self.left_out += length - passed;
        let bytes = &bytes[..passed as usize];
        let _ = match self.is_terminal {
            true => self.show(bytes),
            false => self.out.write_all(bytes),
        };
    }

    /// Writes what a terminal may get of `bytes`.
    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.held);
        let mut rest = bytes.as_slice();
        for chunk in bytes.utf8_chunks() {
            self.out.write_all(shown(chunk.valid()).as_bytes())?;
            rest = &rest[chunk.valid().len()..];
            let is_cut = rest.len() == chunk.invalid().len()
                && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if is_cut {
                self.held = rest.to_vec();
                return Ok(());
            }
            for byte in chunk.invalid() {
                write!(self.out, "\\x{byte:02x}")?;
            }
            rest = &rest[chunk.invalid().len()..];
        }
        Ok(())
    }
}

impl IsTerminal for LastWords {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LastWords {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Later versions of WASI use this; none of them is offered.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LastWords {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passage) = &mut words.passed_on {
            passage.pass(&bytes, Instant::now());
        }
        let kept = &mut words.kept;
        let excess = (kept.len() + bytes.len())
            .saturating_sub(LAST_WORDS)
            .min(kept.len());
        kept.drain(..excess);
        kept.extend(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LAST_WORDS)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LastWords {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let words = LastWords::new(false);
        let mut stream = words.clone();
        for line in 0..2000 {
            stream
                .write(Bytes::from(format!("line {line}\n")))
                .expect("never refused");
        }
        let text = words.take();
        assert!(text.ends_with("line 1998\nline 1999"), "{text}");
        assert!(
            text.len() <= LAST_WORDS && text.len() > LAST_WORDS - 16,
            "{}",
            text.len()
        );
        assert_eq!(words.take(), "");

        stream
            .write(Bytes::from(vec![b'x'; 3 * LAST_WORDS]))
            .expect("never refused");
        assert_eq!(words.take().len(), LAST_WORDS);
    }

    /// What comes out of a passage into which the pieces go, each at a number of seconds after the first moment.
    fn passed(is_terminal: bool, pieces: &[(u64, &[u8])]) -> String {
        #[derive(Clone, Default)]
        struct Collector(Arc<Mutex<Vec<u8>>>);
        impl Write for Collector {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("no panic").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let collector = Collector::default();
        let mut passage = Passage::new(Box::new(collector.clone()), is_terminal);
        let start = passage.at;
        for (seconds, piece) in pieces {
            passage.pass(piece, start + Duration::from_secs(*seconds));
        }
        let bytes = collector.0.lock().expect("no panic").clone();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_component_does_not_steer_the_terminal() {
        let text = "é\n\t\u{1b}[2J\u{9b}c\u{202e}x";
        assert_eq!(passed(false, &[(0, text.as_bytes())]), text);
        let expected = "é\n\t\\u{1b}[2J\\u{9b}c\\u{202e}x";
        for cut in 0..text.len() {
            let (start, end) = text.as_bytes().split_at(cut);
            assert_eq!(passed(true, &[(0, start), (0, end)]), expected, "{cut}");
        }
        let (lone, end): (&[u8], &[u8]) = (b"\x9b1m\xff\xc2", b"A");
        assert_eq!(passed(true, &[(0, lone), (0, end)]), "\\x9b1m\\xff\\xc2A");
    }

    #[test]
    fn a_component_does_not_flood_standard_error() {
        let much = vec![b'x'; BURST as usize];
        let flood: Vec<_> = (0..64).map(|_| (0, &much[..])).collect();
        assert_eq!(passed(false, &flood).len() as u64, BURST);

        // A second later there is room for a second's worth, after a note on what is missing.
        let more = [(0, &much[..]), (0, b"lost"), (1, &much[..]), (1, b"lost")];
        let text = passed(false, &more);
        let (before, after) = text.split_at(BURST as usize);
        assert!(!before.contains('['));
        let (note, rest) = after.split_at(after.find("]\n").expect("a note") + 2);
        assert_eq!(note, "\n[4 bytes of a component's output left out]\n");
        assert_eq!(rest.len() as u64, PER_SECOND);
    }
}
