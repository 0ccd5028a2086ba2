//! The guard in front of the template engine: it limits how deeply a template is nested, and replaces Hugging Face's
//! `{% generation %}`.
//!
//! The engine parses and compiles recursively and limits only part of the recursion: a thousand `not`, `-`, `elif`, or
//! a sum of ten thousand terms would overflow a small stack. So the tokens, from the engine's own tokenizer, are
//! counted first.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// The deepest nesting of statements; each `elif` counts too.
const MAX_NESTING: u32 = 64;
/// The most operators on the way to the innermost part of an expression.
const MAX_OPERATORS: u32 = 128;
/// The most macros and `call` blocks: each may keep the previous one alive.
const MAX_MACROS: u32 = 100;
/// The deepest nesting of brackets.
const MAX_BRACKETS: usize = 24;

/// Checks a template, and returns it in the form that the engine can parse.
pub(super) fn check(source: &str, syntax: &SyntaxConfig) -> Result<String, (Error, u32)> {
    let mut depth = Depth::default();
    let mut changes = Vec::new();
    let mut block = Block::Text;
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token.map_err(|error| {
            let line = error.line().unwrap_or(0) as u32;
            (error, line)
        })?;
        block = match (&token, block) {
            (Token::BlockStart, _) => Block::Begins,
            (Token::Ident(name), Block::Begins) => {
                depth.statement(name);
                match *name {
                    "generation" => changes.push((span, "if true")),
                    "endgeneration" => changes.push((span, "endif")),
                    _ => {}
                }
                Block::Inside
            }
            (Token::BlockEnd, _) => Block::Text,
            (_, block) => block,
        };
        depth.token(&token);
        depth
            .check()
            .map_err(|error| (error, u32::from(span.start_line)))?;
    }
    Ok(replace(source, &changes))
}

#[derive(Clone, Copy)]
enum Block {
    Text,
    Begins,
    Inside,
}

#[derive(Default)]
struct Depth {
    /// For each open statement: how many levels deep it nests what follows.
    statements: Vec<u32>,
    /// Whether the statement is a `set` that has no value so far; without one it stays open.
    open_set: bool,
    /// For each open bracket: the operators since it or the last comma.
    brackets: Vec<u32>,
    operators: u32,
    total: u32,
    macros: u32,
}

impl Depth {
    fn statement(&mut self, name: &str) {
        self.macros += u32::from(matches!(name, "macro" | "call"));
        match name {
            "if" | "for" | "macro" | "call" | "filter" | "with" | "block" | "autoescape"
            | "generation" => {
                self.statements.push(1);
            }
            "elif" => {
                if let Some(last) = self.statements.last_mut() {
                    *last += 1;
                }
            }
            "set" => self.open_set = true,
            end if end.starts_with("end") => {
                self.statements.pop();
            }
            _ => {}
        }
    }

    fn token(&mut self, token: &Token<'_>) {
        match token {
            Token::BlockStart | Token::VariableStart => {
                self.brackets.clear();
                (self.operators, self.total) = (0, 0);
            }
            Token::BlockEnd => {
                if std::mem::take(&mut self.open_set) {
                    self.statements.push(1);
                }
            }
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                self.operator();
                self.brackets.push(std::mem::take(&mut self.operators));
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                self.total -=
                    std::mem::replace(&mut self.operators, self.brackets.pop().unwrap_or(0));
            }
            Token::Comma => self.total -= std::mem::take(&mut self.operators),
            Token::Assign => self.open_set = false,
            Token::Ident("not" | "and" | "or" | "is" | "in" | "if" | "else") => self.operator(),
            Token::TemplateData(_) | Token::VariableEnd | Token::Ident(_) | Token::Str(_) => {}
            Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {}
            _ => self.operator(),
        }
    }

    fn operator(&mut self) {
        self.operators += 1;
        self.total += 1;
    }

    fn check(&self) -> Result<(), Error> {
        let nesting: u32 = self.statements.iter().sum();
        let detail = if nesting > MAX_NESTING {
            format!("statements are nested more than {MAX_NESTING} levels deep")
        } else if self.brackets.len() > MAX_BRACKETS {
            format!("brackets are nested more than {MAX_BRACKETS} levels deep")
        } else if self.macros > MAX_MACROS {
            format!("there are more than {MAX_MACROS} macros")
        } else if self.total > MAX_OPERATORS {
            format!("an expression has more than {MAX_OPERATORS} operators in a row")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::SyntaxError, detail))
    }
}

fn replace(source: &str, changes: &[(Span, &str)]) -> String {
    let (mut text, mut at) = (String::with_capacity(source.len()), 0);
    for (span, by) in changes {
        text.push_str(&source[at..span.start_offset as usize]);
        text.push_str(by);
        at = span.end_offset as usize;
    }
    text.push_str(&source[at..]);
    text
}
