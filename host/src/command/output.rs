//! stdout for data, stderr for the rest.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use gust::terminal::{shown, steers};
use serde::Serialize;

use super::failure::Failure;

/// Buffered stdout. If the reader has gone away, the command ends quietly ([`Failure::ClosedOutput`]).
pub(super) struct Output {
    out: BufWriter<Box<dyn Write>>,
    /// Whether a terminal shows it, which must not be steered by what a model says.
    is_terminal: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        Output::to(Box::new(io::stdout()), io::stdout().is_terminal())
    }

    fn to(out: Box<dyn Write>, is_terminal: bool) -> Self {
        let out = BufWriter::new(out);
        Output { out, is_terminal }
    }

    /// Writes text: on a terminal with escapes for what would steer it, elsewhere as it is.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let written = match self.is_terminal {
            true => self.out.write_all(shown(text).as_bytes()),
            false => self.out.write_all(text.as_bytes()),
        };
        written.map_err(|error| closed_or_failed(&error))
    }

    /// Writes text and ends the line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes one line of JSON. Its escapes serve everywhere, so that it stays JSON on a terminal.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::failed(format!("writing JSON: {error}")))?;
        let mut safe = String::with_capacity(text.len());
        for character in text.chars() {
            // Below U+10000, all of them.
            match steers(character) {
                true => _ = write!(safe, "\\u{:04x}", u32::from(character)),
                false => safe.push(character),
            }
        }
        self.line(&safe)
    }

    /// Flushes the buffer. Every command does this at its end.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| closed_or_failed(&error))
    }
}

/// Writes a line to stderr. A closed stderr is no reason to stop.
pub(super) fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = match stderr.is_terminal() {
        true => writeln!(stderr, "{}", shown(text)),
        false => writeln!(stderr, "{text}"),
    };
}

/// Writes a warning to stderr, unless it has been written before: some commands load a model twice.
pub(super) fn warning(text: &str) {
    static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    if written.insert(text.to_owned()) {
        note(&format!("warning: {text}"));
    }
}

/// A table without rules: columns as wide as their widest cell, separated by two spaces. The last one is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Makes text from a file safe to print: escapes the characters that could control a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            character if steers(character) => safe.extend(character.escape_unicode()),
            character => safe.push(character),
        }
    }
    safe
}

/// [`printable`] for bytes that may not be UTF-8: invalid bytes come out as `\xNN`.
pub(super) fn printable_bytes(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        safe.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

fn closed_or_failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedOutput,
        _ => Failure::file("writing", "stdout", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(
            printable("a\u{1b}[31m\u{7}\u{202e}é\n"),
            "a\\u{1b}[31m\\u{7}\\u{202e}é\\n"
        );
        assert_eq!(printable_bytes(b"caf\xc3\xa9 \xf0\x9f"), "café \\xf0\\x9f");
    }

    /// Collects what is written to it.
    #[derive(Clone, Default)]
    struct Collector(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

    impl Write for Collector {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(
        is_terminal: bool,
        write: impl FnOnce(&mut Output) -> Result<(), Failure>,
    ) -> String {
        let collector = Collector::default();
        let mut output = Output::to(Box::new(collector.clone()), is_terminal);
        write(&mut output).expect("it collects");
        output.flush().expect("it collects");
        let bytes = collector.0.take();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_a_model_says_steers_no_terminal_and_reaches_a_file_as_it_is() {
        let said = "a\n\tb\u{1b}[2J\u{9b}c\r";
        assert_eq!(written(false, |output| output.text(said)), said);
        assert_eq!(
            written(true, |output| output.text(said)),
            "a\n\tb\\u{1b}[2J\\u{9b}c\\u{d}"
        );
    }

    #[test]
    fn json_steers_no_terminal_and_means_the_same() {
        let said = "a\n\u{1b}\u{9b}\u{7f}\u{202e}é";
        let line = written(true, |output| output.json(&said));
        assert!(!line.trim_end().contains(steers), "{line}");
        let read: String = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read, said);
        assert_eq!(written(false, |output| output.json(&said)), line);
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "2".to_owned()],
        ];
        assert_eq!(table(&rows), "a     1\nlong  2\n");
    }
}
