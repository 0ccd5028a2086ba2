//! Loads, feeds, generates.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Read, stdin};
use std::process::ExitCode;
use std::time::Instant;

use gust_front_end::chat::Message;
use gust_front_end::engine::{
    Error, GenerationOptions, LoadOptions, Model, SessionOptions, TokenizeOptions, load_model,
};
use gust_front_end::{
    Answer, ChatSettings, Finish, assumed_template, chat_template, chat_tokens, describe, feed,
};

use crate::options::{self, HELP, Options};
use crate::printer::{Printer, Summary};

pub(crate) fn main() -> ExitCode {
    let outcome = options::parse(std::env::args().skip(1)).and_then(|options| {
        if options.help {
            return Printer::default().text(HELP);
        }
        run(&options)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let path = options
        .model
        .clone()
        .or_else(|| std::env::var("GUST_MODEL").ok())
        .ok_or("no model given; use -m FOLDER/FILE")?;
    let prompt = prompt(options)?;
    let settings = settings(options)?;
    let in_words = |error: Error| match error {
        Error::NotFound(name) => format!(
            "no model at `{name}`; check that the host gives access to its folder (`--dir FOLDER` before the program)"
        ),
        other => describe(&other),
    };
    let start = Instant::now();
    let model = load_model(&path, LoadOptions::default()).map_err(in_words)?;
    let load = start.elapsed();
    if settings
        .as_ref()
        .is_some_and(|settings| settings.template.is_none())
        && let Some(name) = assumed_template(&model)
    {
        eprintln!("note: the file has no chat template; the one that is used is {name}");
    }
    let tokens = tokens(&model, settings.as_ref(), &prompt).map_err(in_words)?;
    if tokens.is_empty() {
        return Err("the prompt is empty, and this model needs something to continue".to_owned());
    }
    let session = model
        .new_session(SessionOptions {
            context_length: options.context,
            ..SessionOptions::default()
        })
        .map_err(in_words)?;
    let seed = options.seed.unwrap_or_else(drawn);
    session
        .configure(&generation(options, seed))
        .map_err(in_words)?;
    let start = Instant::now();
    feed(&session, &tokens).map_err(in_words)?;
    let prefill = start.elapsed();

    let mut printer = Printer {
        json: options.json,
        at_beginning: options.chat || prompt.is_empty(),
        in_line: false,
    };
    if !options.no_echo && !options.chat && !options.json {
        printer.text(&prompt)?;
    }
    let start = Instant::now();
    let mut generated = 0;
    let mut answer = Answer::new(&session);
    for piece in answer.by_ref() {
        match piece {
            Ok(piece) => {
                generated += u32::from(piece.token.is_some());
                printer.piece(&piece)?;
            }
            // Ends the line of the partial answer.
            Err(error) => {
                printer.end_of_text()?;
                return Err(in_words(error));
            }
        }
    }
    printer.end(&Summary {
        finish: answer.finish,
        model: model.info().name,
        seed,
        prompt_tokens: tokens.len(),
        generated,
        load,
        prefill,
        decode: start.elapsed(),
    })?;
    match answer.finish {
        Some(Finish::ContextFull(limit)) => Err(describe(&Error::ContextFull(limit))),
        _ => Ok(()),
    }
}

/// The prompt from the argument or from stdin. `echo` and editors end a text with a line break that is not meant to be
/// part of the prompt.
fn prompt(options: &Options) -> Result<String, String> {
    if let Some(prompt) = &options.prompt {
        return Ok(prompt.clone());
    }
    let mut text = String::new();
    if !stdin().is_terminal() {
        let read = stdin().read_to_string(&mut text);
        read.map_err(|error| format!("cannot read stdin: {error}"))?;
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// What the chat template is told, if there is to be one.
fn settings(options: &Options) -> Result<Option<ChatSettings>, String> {
    if !options.chat {
        return Ok(None);
    }
    let read = |name: &String| {
        let text = chat_template(name);
        text.map_err(|error| {
            format!(
                "reading {name}: {error}; check that the host gives access to its folder (`--dir FOLDER` before the program)"
            )
        })
    };
    Ok(Some(ChatSettings {
        template: options.chat_template.as_ref().map(read).transpose()?,
        variables: options.chat_template_kwargs.clone(),
        date: options.date.clone(),
        ..ChatSettings::default()
    }))
}

fn tokens(model: &Model, settings: Option<&ChatSettings>, prompt: &str) -> Result<Vec<u32>, Error> {
    let Some(settings) = settings else {
        return model.tokenize(prompt, TokenizeOptions::default());
    };
    let question = Message {
        role: "user".to_owned(),
        content: Some(prompt.to_owned()),
        fields: None,
    };
    chat_tokens(model, &[question], settings)
}

fn generation(options: &Options, seed: u64) -> GenerationOptions {
    GenerationOptions {
        max_tokens: options.max_tokens,
        temperature: options.temperature,
        top_k: options.top_k,
        top_p: options.top_p,
        min_p: options.min_p,
        typical_p: options.typical_p,
        repeat_penalty: options.repeat_penalty,
        frequency_penalty: options.frequency_penalty,
        presence_penalty: options.presence_penalty,
        penalty_window: options.penalty_window,
        seed: Some(seed),
        stop: Some(options.stop.clone()),
        ignore_end: Some(options.ignore_eos),
        ..GenerationOptions::default()
    }
}

/// A random seed from the host.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}
