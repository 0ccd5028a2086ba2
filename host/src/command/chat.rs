//! `gust chat`: a conversation.
//!
//! Each turn renders the whole conversation with the model's template, keeps what the session already holds of it and
//! feeds the rest. Ctrl-C stops an answer, not the program.

mod conversation;
mod lines;
mod slash;
mod template;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use clap::Args;
use gust::{ChatMessage, Model, Utf8Stream};

use super::args::{GenerationArgs, ModelArgs, SessionArgs};
use super::failure::Failure;
use super::lora::{Adapters, LoraArgs};
use super::open::open_to_generate;
use super::output::{Output, note, printable};
use super::signals;
use super::units::{bytes, count};
use conversation::Conversation;
use lines::{Line, Lines};
use slash::Slash;
use template::TemplateArgs;

/// Chat with a model
///
/// End a line with a backslash to continue it on the next one, or enclose several lines in """. Input that starts with
/// a slash is a command; /help lists the commands. Without a terminal, each line of stdin is a turn; if one of them fails,
/// the conversation goes on, and the exit code at its end is that of the first failure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust chat -m model.gguf
  gust chat -m model.gguf --system \"You are a pirate.\" --temperature 0.5
  echo \"What is a GGUF file?\" | gust chat -m model.gguf")]
pub(super) struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    lora: LoraArgs,
    /// System prompt, which the model gets before the conversation
    #[arg(long, value_name = "TEXT", help_heading = "Conversation")]
    system: Option<String>,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    generation: GenerationArgs,
}

pub(super) fn chat(args: &ChatArgs) -> Result<(), Failure> {
    let draft = args.generation.speculation.draft_model.as_ref();
    let model = open_to_generate(&args.model, draft, None)?.model;
    let options = args.template.options(&args.model, &model)?;
    let mut session = model.session(&args.session.options())?;
    let adapters = args.lora.load(&model)?;
    adapters.attach(&mut session)?;
    let seed = args.generation.sampling.seed();
    let mut chat = Chat {
        conversation: Conversation::new(model.clone(), session, options, args.system.clone()),
        options: args.generation.options(seed),
        output: Output::new(),
        model,
        adapters,
        code: None,
        is_lost: false,
    };
    let mut lines = Lines::new();
    if lines.is_interactive() {
        note(&format!(
            "{}; /help lists the commands, Ctrl-D exits",
            chat.describe()
        ));
    }
    while let Some(line) = lines.next()? {
        match line {
            Line::Command(text) => match slash::parse(&text) {
                Ok(Slash::Exit) => break,
                Ok(command) => chat.obey(command),
                Err(problem) => chat.report(&Failure::usage(problem)),
            },
            Line::Text(text) => chat.turn(text)?,
            Line::Unreadable(failure) => chat.report(&failure),
        }
    }
    chat.output.flush()?;
    match chat.code {
        // On a terminal, whoever ends the conversation has seen the errors.
        Some(code) if !lines.is_interactive() => Err(Failure::Reported { code }),
        _ => Ok(()),
    }
}

struct Chat {
    model: Model,
    /// What changes the model in the session.
    adapters: Adapters,
    conversation: Conversation,
    options: gust::GenerationOptions,
    output: Output,
    /// The exit code of the first failure.
    code: Option<u8>,
    /// Whether the model has ended, so that no turn can succeed any more.
    is_lost: bool,
}

impl Chat {
    /// One question and its answer. If a turn fails, the error is reported and the conversation continues: its messages are
    /// still there, even if the model is not. Only a closed output ends it.
    fn turn(&mut self, text: String) -> Result<(), Failure> {
        let failure = match self.answer(text) {
            Ok(()) => return Ok(()),
            Err(Failure::ClosedOutput) => return Err(Failure::ClosedOutput),
            Err(failure) => failure,
        };
        match &failure {
            Failure::Gust(gust::Error::Cancelled) => {
                self.end_line()?;
                note("note: stopped");
            }
            Failure::Gust(gust::Error::ContextFull { limit }) => {
                self.end_line()?;
                note(&format!(
                    "note: the context of {limit} tokens is full, so the answer ends here; raise --context for more"
                ));
            }
            failure => failure.tell(),
        }
        self.code.get_or_insert(failure.code());
        if !self.is_lost && self.conversation.usage().is_err() {
            self.is_lost = true;
            note(
                "note: the model cannot go on; /save FILE keeps the conversation, for /load FILE in another chat",
            );
        }
        Ok(())
    }

    /// Ends the line of an answer that was broken off.
    fn end_line(&mut self) -> Result<(), Failure> {
        self.output.text("\n")?;
        self.output.flush()
    }

    /// Reports what failed; the conversation continues.
    fn report(&mut self, failure: &Failure) {
        failure.tell();
        self.code.get_or_insert(failure.code());
    }

    fn answer(&mut self, text: String) -> Result<(), Failure> {
        let handle = self.conversation.cancel_handle();
        let _guard = signals::stops(&handle);
        let dropped = self.conversation.ask(text, &self.options)?;
        if dropped > 0 {
            note(&format!(
                "note: the context is full; the oldest {dropped} messages were dropped"
            ));
        }
        let mut utf8 = Utf8Stream::new();
        let output = &mut self.output;
        self.conversation.answer(|bytes| {
            output.text(&utf8.push(bytes))?;
            output.flush()
        })?;
        self.output.line(&utf8.finish())?;
        self.output.flush()?;
        // The next answer gets other random numbers, but the same ones in every run with this seed.
        self.options.seed = self.options.seed.map(|seed| seed.wrapping_add(1));
        Ok(())
    }

    /// Runs a command. None of them can end the conversation.
    fn obey(&mut self, command: Slash) {
        let done = match command {
            Slash::Exit => Ok(String::new()),
            Slash::Help => Ok(slash::HELP.to_owned()),
            Slash::Reset => {
                self.conversation.reset();
                Ok("started a new conversation".to_owned())
            }
            Slash::System(text) => {
                self.conversation
                    .set_system((!text.is_empty()).then_some(text));
                Ok("system prompt changed; started a new conversation".to_owned())
            }
            Slash::Set(setting) => setting.apply(&mut self.options).map_err(Failure::usage),
            Slash::ListLora => Ok(self.adapters.to_string()),
            Slash::Lora(lora) => {
                let adapters = self.adapters.with(lora, &self.model);
                adapters.and_then(|adapters| self.adapt(adapters))
            }
            Slash::LoraOff(file) => match file {
                None => self.adapt(Adapters::default()),
                Some(file) => match self.adapters.without(&file) {
                    Some(adapters) => self.adapt(adapters),
                    None => Err(Failure::usage(format!(
                        "/lora off: expected one of the adapters that /lora lists, found `{}`",
                        file.display()
                    ))),
                },
            },
            Slash::Save(path) => save(&path, self.conversation.messages()).map_err(Failure::failed),
            Slash::Load(path) => match load(&path) {
                Ok(messages) => {
                    let length = messages.len();
                    self.conversation.replace(messages);
                    Ok(format!("{length} messages loaded"))
                }
                Err(problem) => Err(Failure::failed(problem)),
            },
            Slash::Info => Ok(self.info()),
        };
        match done {
            Ok(text) => note(&text),
            Err(failure) => self.report(&failure),
        }
    }

    /// Lets the conversation go on with these adapters. What it holds is computed again with the next question.
    fn adapt(&mut self, adapters: Adapters) -> Result<String, Failure> {
        if !(adapters.is_empty() && self.adapters.is_empty()) {
            self.conversation.set_adapters(&adapters)?;
        }
        self.adapters = adapters;
        Ok(self.adapters.to_string())
    }

    fn describe(&self) -> String {
        let info = self.model.info();
        let name = if info.name.is_empty() {
            &info.architecture
        } else {
            &info.name
        };
        format!("{}, {} parameters", printable(name), count(info.parameters))
    }

    fn info(&self) -> String {
        let mut text = self.describe();
        if let Ok(usage) = self.conversation.usage() {
            text.push_str(&format!(
                "\n{} messages, {} of {} context tokens used, {} of KV cache",
                self.conversation.messages().len(),
                usage.context_used,
                usage.context_length,
                bytes(usage.kv_bytes),
            ));
        }
        if !self.adapters.is_empty() {
            text.push_str(&format!("\n{}", self.adapters));
        }
        text.push('\n');
        text.push_str(&slash::settings(&self.options));
        text
    }
}

/// Writes the messages as a JSON list of `{"role", "content"}`, the format that most chat programs read. A file that is
/// there may be another such list, and nothing else: not the model, for example.
fn save(path: &str, messages: &[ChatMessage]) -> Result<String, String> {
    let exists = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    if exists && !is_conversation(path) {
        return Err(format!(
            "{path}: expected no file, or a saved conversation to replace, found another file"
        ));
    }
    let list: Vec<_> = messages.iter().map(saved).collect();
    let text = serde_json::to_string_pretty(&list).map_err(|error| error.to_string())?;
    let written = gust::files::replace(Path::new(path), (text + "\n").as_bytes());
    written.map_err(|error| format!("writing {path}: {error}"))?;
    Ok(format!("{} messages saved to {path}", messages.len()))
}

fn is_conversation(path: &str) -> bool {
    // Models are large: one byte tells most files from a list.
    let mut first = [0];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first == *b"[" && load(path).is_ok()
}

fn load(path: &str) -> Result<Vec<ChatMessage>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("reading {path}: {error}"))?;
    let list: Vec<Saved> = serde_json::from_str(&text).map_err(|error| {
        format!("{path}: expected a JSON list of {{\"role\", \"content\"}} objects: {error}")
    })?;
    Ok(list.into_iter().map(loaded).collect())
}

/// A message in a file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    role: String,
    content: Option<String>,
    /// Everything else, such as `tool_calls` from another program.
    #[serde(flatten)]
    fields: serde_json::Map<String, serde_json::Value>,
}

fn saved(message: &ChatMessage) -> Saved {
    let fields = message.fields.as_deref().map(serde_json::from_str);
    Saved {
        role: message.role.clone(),
        content: Some(message.content.clone()),
        fields: fields.and_then(Result::ok).unwrap_or_default(),
    }
}

fn loaded(saved: Saved) -> ChatMessage {
    let message = ChatMessage::new(saved.role, saved.content.unwrap_or_default());
    match saved.fields.is_empty() {
        true => message,
        false => message.with_fields(serde_json::Value::Object(saved.fields).to_string()),
    }
}
