//! stdout for data, stderr for the rest.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use super::failure::Failure;

/// Buffered stdout. If the reader has gone away, the command ends quietly ([`Failure::ClosedOutput`]).
pub(super) struct Output(BufWriter<Stdout>);

impl Output {
    pub(super) fn new() -> Self {
        Output(BufWriter::new(io::stdout()))
    }

    /// Writes text as it is.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.0
            .write_all(text.as_bytes())
            .map_err(|error| closed_or_failed(&error))
    }

    /// Writes text and ends the line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::failed(format!("writing JSON: {error}")))?;
        self.line(&text)
    }

    /// Flushes the buffer. Every command does this at its end.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| closed_or_failed(&error))
    }
}

/// Writes a line to stderr. A closed stderr is no reason to stop.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
            // Bidirectional overrides reorder the text after them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.extend(character.escape_unicode())
            }
            character if character.is_control() => safe.extend(character.escape_unicode()),
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

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "2".to_owned()],
        ];
        assert_eq!(table(&rows), "a     1\nlong  2\n");
    }
}
