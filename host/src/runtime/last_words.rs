//! What a component wrote to standard error last: the message of a panic.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// How many bytes of standard error are kept: enough for a message and a backtrace.
const LAST_WORDS: usize = 8 * 1024;

/// The end of what a component wrote to standard error. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct LastWords {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Whether it is passed on to this program's own.
    passed_on: bool,
}

impl LastWords {
    /// Empty at first. `passed_on` says whether what is written is passed on as well.
    pub(crate) fn new(passed_on: bool) -> Self {
        LastWords {
            kept: Arc::default(),
            passed_on,
        }
    }

    /// Takes what has been kept.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&Vec::from(bytes)).trim().to_owned()
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
        if self.passed_on {
            // Whether anyone reads it is no concern of the component.
            let _ = std::io::stderr().write_all(&bytes);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
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
        let words = LastWords::default();
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
}
