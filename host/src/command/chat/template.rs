//! The chat template of a conversation, and what it is told.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueHint};
use gust::{ChatMessage, Error, Model, RenderOptions};
use serde_json::{Map, Value};

use crate::command::args::ModelArgs;
use crate::command::failure::Failure;
use crate::command::input;
use crate::command::open::CHAT_TEMPLATE;
use crate::command::output::{note, printable};
use crate::command::units::parse_date;

/// More than any engine takes: what is longer is another file, or endless.
const MAX_TEMPLATE: u64 = 16 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Conversation")]
pub(super) struct TemplateArgs {
    /// Jinja chat template to use instead of the model's own: a file, or a name that llama.cpp has for it, such as chatml,
    /// llama3 or gemma
    #[arg(long, alias = "template", value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    chat_template: Option<PathBuf>,
    /// More variables for the chat template: a JSON object such as '{"enable_thinking": false}'
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    chat_template_kwargs: Option<Variables>,
    /// Date for templates that write one [default: today, in UTC]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    date: Option<SystemTime>,
}

/// The variables of a JSON object.
type Variables = Map<String, Value>;

impl TemplateArgs {
    /// How to render a conversation with this model.
    ///
    /// # Errors
    /// If there is no template, or if what the caller gave cannot be used: here and not at the first turn, because every
    /// turn would fail.
    pub(super) fn options(
        &self,
        args: &ModelArgs,
        model: &Model,
    ) -> Result<RenderOptions, Failure> {
        let template = self.chat_template.as_deref().map(read).transpose()?;
        let own = model.info().chat_template.as_deref();
        let own = own.filter(|own| !own.is_empty());
        if template.is_none() && own.is_none() {
            match assumed(model)? {
                Some(family) => note(&format!(
                    "note: the file has no chat template; the one that is used is {}",
                    printable(&family)
                )),
                None => {
                    let name = args.name();
                    return Err(Failure::model(format!(
                        "{name} has no chat template, so it cannot hold a conversation"
                    ))
                    .hint(
                        "continue a text with `gust run`, or pass a template with --chat-template FILE, or the name of \
                         one, such as chatml",
                    ));
                }
            }
        }
        let variables = self.chat_template_kwargs.clone();
        let options = RenderOptions {
            template,
            variables: variables.map(|variables| Value::Object(variables).to_string()),
            now: self.date,
            ..Default::default()
        };
        let rendered = model.render(&[ChatMessage::new("user", "Hello")], &options);
        if let Err(Error::InvalidArgument(wrong)) = &rendered
            && wrong.subject == "variables"
        {
            return Err(Failure::usage(format!("--chat-template-kwargs: {wrong}")));
        }
        // Before an error of the template: a misspelt variable may be why.
        self.note_unused(options.template.as_deref().or(own).unwrap_or_default());
        match rendered {
            Err(Error::InvalidArgument(wrong)) if wrong.subject == "chat template" => {
                Err(Failure::usage(format!("--chat-template: {wrong}")))
            }
            _ => Ok(options),
        }
    }

    /// Says which variables a template does not mention. Of a template by name, only the engine knows the text.
    fn note_unused(&self, template: &str) {
        for name in self.chat_template_kwargs.iter().flat_map(Map::keys) {
            if template.contains('{') && !mentions(template, name) {
                let name = printable(name);
                note(&format!("note: the chat template does not use `{name}`"));
            }
        }
    }
}

/// The name of the template that the engine uses where the file has none, and why.
fn assumed(model: &Model) -> Result<Option<String>, Failure> {
    let entries = model.metadata()?.into_iter();
    let mut of_template = entries.filter(|entry| entry.is_assumed() && entry.key == CHAT_TEMPLATE);
    Ok(of_template.next().map(|entry| entry.value))
}

/// Whether a template has this word.
fn mentions(template: &str, name: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    template.split(|c| !is_of_word(c)).any(|word| word == name)
}

fn parse_object(text: &str) -> Result<Variables, String> {
    let expected = "expected a JSON object such as {\"enable_thinking\": false}, found";
    match serde_json::from_str(text) {
        Ok(Value::Object(variables)) => Ok(variables),
        Ok(other) => Err(format!("{expected} {other}")),
        Err(error) => Err(format!("{expected} no JSON: {error}")),
    }
}

/// Reads a template from a file. A word that is no file may be a name, which the engine knows.
fn read(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !path.exists() && name.chars().all(is_word) {
        return Ok(name);
    }
    let file = File::open(path).map_err(|error| Failure::file("reading", &name, &error))?;
    let mut template = Vec::new();
    let read = file.take(MAX_TEMPLATE + 1).read_to_end(&mut template);
    read.map_err(|error| Failure::file("reading", &name, &error))?;
    if template.len() as u64 > MAX_TEMPLATE {
        let expected =
            format!("{name}: expected a chat template of at most {MAX_TEMPLATE} bytes, found more");
        return Err(Failure::usage(expected));
    }
    input::text(&name, template)
}
