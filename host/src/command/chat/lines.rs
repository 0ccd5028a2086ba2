//! The user's input, line by line: from a line editor with a history on a terminal, otherwise from stdin.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use directories::ProjectDirs;
use gust::files;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::command::failure::Failure;
use crate::command::input;
use crate::command::output::note;

const PROMPT: &str = "> ";
const CONTINUED: &str = "… ";
/// Encloses text of several lines.
const BLOCK: &str = "\"\"\"";

/// One piece of input.
#[derive(Debug)]
pub(super) enum Line {
    /// A turn of the conversation.
    Text(String),
    /// The text after a slash.
    Command(String),
    /// Lines that are no text.
    Unreadable(Failure),
}

/// Reads the user's input.
pub(super) struct Lines(Reader);

enum Reader {
    Terminal {
        editor: Box<DefaultEditor>,
        history: Option<PathBuf>,
    },
    Stdin {
        /// Why lines of the current text are no text.
        unreadable: Option<Failure>,
    },
}

impl Lines {
    /// Reads from the terminal, or from stdin if there is none (or none that supports line editing). The editor draws on
    /// stdout, so that must not be a file either.
    pub(super) fn new() -> Self {
        let stdin = Lines(Reader::Stdin { unreadable: None });
        let (output, notes) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        if !(io::stdin().is_terminal() && output && notes) {
            return stdin;
        }
        let Ok(mut editor) = DefaultEditor::new() else {
            return stdin;
        };
        let history =
            ProjectDirs::from("", "", "gust").map(|dirs| dirs.data_dir().join("chat_history.txt"));
        if let Some(path) = history.as_ref().filter(|path| files::is_own(path)) {
            // There is no history before the first conversation.
            let _ = editor.load_history(path);
        }
        Lines(Reader::Terminal {
            editor: Box::new(editor),
            history,
        })
    }

    pub(super) fn is_interactive(&self) -> bool {
        matches!(self.0, Reader::Terminal { .. })
    }

    /// The next piece of input, or `None` at the end (Ctrl-D, or Ctrl-C twice at an empty prompt).
    pub(super) fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let Some(Assembled { text, is_block }) = assemble(|prompt| self.0.line(prompt))? else {
                return Ok(None);
            };
            if let Reader::Stdin { unreadable } = &mut self.0
                && let Some(failure) = unreadable.take()
            {
                return Ok(Some(Line::Unreadable(failure)));
            }
            if text.trim().is_empty() {
                continue;
            }
            self.0.remember(&text);
            return Ok(Some(match text.strip_prefix('/') {
                Some(command) if !is_block && !text.contains('\n') => {
                    Line::Command(command.to_owned())
                }
                _ => Line::Text(text),
            }));
        }
    }
}

impl Reader {
    fn line(&mut self, prompt: &str) -> Result<Option<String>, Failure> {
        match self {
            Reader::Stdin { unreadable } => {
                let mut bytes = Vec::new();
                let read = io::stdin()
                    .lock()
                    .read_until(b'\n', &mut bytes)
                    .map_err(|error| Failure::file("reading", "stdin", &error))?;
                // What is lossy is not used: it shows where the text goes on.
                let line = String::from_utf8_lossy(&bytes).into_owned();
                if let Err(failure) = input::text("this line", bytes) {
                    unreadable.get_or_insert(failure);
                }
                let line = line.strip_suffix('\n').unwrap_or(&line);
                let line = line.strip_suffix('\r').unwrap_or(line);
                Ok((read > 0).then(|| line.to_owned()))
            }
            Reader::Terminal { editor, .. } => {
                let mut interrupted = false;
                loop {
                    match editor.readline(prompt) {
                        Ok(line) => return Ok(Some(line)),
                        Err(ReadlineError::Eof) => return Ok(None),
                        Err(ReadlineError::Interrupted) if interrupted => return Ok(None),
                        Err(ReadlineError::Interrupted) => {
                            interrupted = true;
                            note("note: press Ctrl-C again or Ctrl-D to exit");
                        }
                        Err(error) => {
                            return Err(Failure::failed(format!("reading the terminal: {error}")));
                        }
                    }
                }
            }
        }
    }

    fn remember(&mut self, text: &str) {
        let Reader::Terminal { editor, history } = self else {
            return;
        };
        // Failing to save the history is no reason to end a conversation.
        let _ = editor.add_history_entry(text);
        if let Some(path) = history {
            if let Some(folder) = path.parent() {
                let _ = std::fs::create_dir_all(folder);
            }
            // Appended, because another conversation may write to the same file.
            let _ = editor.append_history(path);
        }
    }
}

/// The text of one or several lines.
struct Assembled {
    text: String,
    /// Whether it was enclosed in `"""`.
    is_block: bool,
}

/// Joins lines into one text: a backslash at the end continues on the next line, and `"""` includes all lines up to the
/// next `"""`. Lines that come in one piece, which were pasted, are one text already. Returns `None` at the end of the input.
fn assemble(
    mut next: impl FnMut(&str) -> Result<Option<String>, Failure>,
) -> Result<Option<Assembled>, Failure> {
    let assembled = |text, is_block| Ok(Some(Assembled { text, is_block }));
    let Some(mut line) = next(PROMPT)? else {
        return Ok(None);
    };
    if line.contains('\n') {
        // Pasted in one piece, so it is a whole text, whatever it begins and ends with.
        return assembled(line, true);
    }
    if let Some(begun) = line.trim_start().strip_prefix(BLOCK) {
        let mut text = begun.to_owned();
        loop {
            if let Some(whole) = text.trim_end().strip_suffix(BLOCK) {
                return assembled(whole.trim_matches('\n').to_owned(), true);
            }
            // The end of the input ends the block too.
            let Some(line) = next(CONTINUED)? else {
                return assembled(text, true);
            };
            text.push('\n');
            text.push_str(&line);
        }
    }
    let mut text = String::new();
    while let Some(begun) = line.strip_suffix('\\') {
        text.push_str(begun);
        text.push('\n');
        match next(CONTINUED)? {
            Some(more) => line = more,
            None => return assembled(text, false),
        }
    }
    text.push_str(&line);
    assembled(text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[&str]) -> Vec<String> {
        let mut lines = input.iter().map(|line| (*line).to_owned());
        let mut texts = Vec::new();
        while let Ok(Some(assembled)) = assemble(|_| Ok(lines.next())) {
            texts.push(assembled.text);
        }
        texts
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(all(&["one", "two"]), ["one", "two"]);
        assert_eq!(
            all(&["one\\", "two\\", "three", "four"]),
            ["one\ntwo\nthree", "four"]
        );
        assert_eq!(all(&["\"\"\"", "a", "b\\", "\"\"\"", "c"]), ["a\nb\\", "c"]);
        assert_eq!(all(&["\"\"\"a", "b\"\"\""]), ["a\nb"]);
        assert_eq!(all(&["\"\"\"one line\"\"\""]), ["one line"]);
        assert_eq!(all(&["\"\"\"open", "end"]), ["open\nend"]);
        assert_eq!(all(&["open\\"]), ["open\n"]);
        let pasted = "\"\"\"Documented.\"\"\"\n\nrun \\";
        assert_eq!(all(&[pasted, "next"]), [pasted, "next"]);
    }
}
