//! The commands of a conversation, which start with a slash.

use std::path::PathBuf;

use gust::GenerationOptions;

use crate::command::args::random_seed;
use crate::command::lora::{Lora, parse as parse_lora};
use crate::command::units::{
    parse_factor, parse_penalty, parse_share, parse_temperature, parse_whole,
};

/// What `/help` prints.
pub(super) const HELP: &str = "\
/help               show this list
/exit               exit (also Ctrl-D)
/reset              start a new conversation
/system TEXT        start a new conversation with this system prompt; without TEXT, with none
/set NAME VALUE     change a setting (/info shows them), for example /set temperature 0.5
/lora FILE[:SCALE]  change the model by a LoRA adapter, or the scale of one; without FILE, list them
/lora off [FILE]    leave out an adapter, or all of them
/save FILE          save the conversation to a file, as JSON
/load FILE          continue a conversation from a file
/info               show the model, the context and the settings
End a line with a backslash to continue it; enclose several lines in \"\"\". Ctrl-C stops an answer.";

/// A command.
#[derive(Debug, PartialEq)]
pub(super) enum Slash {
    Help,
    Exit,
    Reset,
    System(String),
    Set(Setting),
    /// Lists the adapters.
    ListLora,
    Lora(Lora),
    /// Leaves out the adapters of a file, or all.
    LoraOff(Option<PathBuf>),
    Save(String),
    Load(String),
    Info,
}

/// A setting of the sampler, or of when an answer ends.
#[derive(Debug, PartialEq)]
pub(super) struct Setting {
    name: String,
    value: String,
}

/// Parses the text after a slash.
pub(super) fn parse(text: &str) -> Result<Slash, String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let file = |make: fn(String) -> Slash| match rest {
        "" => Err(format!("/{name}: expected a file name, found none")),
        path => Ok(make(path.to_owned())),
    };
    match name {
        "help" | "?" => Ok(Slash::Help),
        "exit" | "quit" | "bye" => Ok(Slash::Exit),
        "reset" | "clear" => Ok(Slash::Reset),
        "system" => Ok(Slash::System(rest.to_owned())),
        "set" => {
            let (name, value) = rest
                .split_once(char::is_whitespace)
                .ok_or("/set: expected a name and a value, for example /set temperature 0.5")?;
            Ok(Slash::Set(Setting {
                name: name.replace('_', "-"),
                value: value.trim().to_owned(),
            }))
        }
        "lora" => lora(rest).map_err(|problem| format!("/lora: {problem}")),
        "save" => file(Slash::Save),
        "load" => file(Slash::Load),
        "info" => Ok(Slash::Info),
        other => Err(format!(
            "expected a command, found `/{other}`; /help lists them"
        )),
    }
}

fn lora(rest: &str) -> Result<Slash, String> {
    // A file with this name is `./off`.
    let (first, file) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Ok(match (first, file.trim()) {
        ("", _) => Slash::ListLora,
        ("off", "") => Slash::LoraOff(None),
        ("off", file) => Slash::LoraOff(Some(file.into())),
        _ => Slash::Lora(parse_lora(rest)?),
    })
}

impl Setting {
    /// Changes the options, and says what was set.
    pub(super) fn apply(&self, options: &mut GenerationOptions) -> Result<String, String> {
        let Setting { name, value } = self;
        match name.as_str() {
            "temperature" => options.temperature = Some(parse_temperature(value)?),
            "top-k" => options.top_k = Some(parse_whole(value)?.unwrap_or(0)),
            "top-p" => options.top_p = Some(parse_share(value)?),
            "min-p" => options.min_p = Some(parse_share(value)?),
            "typical-p" => options.typical_p = Some(parse_share(value)?),
            "repeat-penalty" => options.repeat_penalty = Some(parse_factor(value)?),
            "frequency-penalty" => options.frequency_penalty = Some(parse_penalty(value)?),
            "presence-penalty" => options.presence_penalty = Some(parse_penalty(value)?),
            "penalty-window" => {
                options.penalty_window = Some(parse_whole(value)?.unwrap_or(u32::MAX));
            }
            "max-tokens" => options.max_tokens = parse_whole(value)?,
            "seed" => options.seed = Some(parse_whole(value)?.unwrap_or_else(random_seed)),
            other => {
                return Err(format!(
                    "/set: expected one of the settings that /info shows, found `{other}`"
                ));
            }
        }
        Ok(format!("{name} set to {value}"))
    }
}

/// All settings, by the names that `/set` takes.
pub(super) fn settings(options: &GenerationOptions) -> String {
    fn shown<T: std::fmt::Display>(value: Option<T>, default: &str) -> String {
        value.map_or_else(|| format!("{default} (default)"), |value| value.to_string())
    }
    [
        ("temperature", shown(options.temperature, "0.8")),
        ("top-k", shown(options.top_k, "40")),
        ("top-p", shown(options.top_p, "0.95")),
        ("min-p", shown(options.min_p, "0.05")),
        ("typical-p", shown(options.typical_p, "1")),
        ("repeat-penalty", shown(options.repeat_penalty, "1")),
        ("frequency-penalty", shown(options.frequency_penalty, "0")),
        ("presence-penalty", shown(options.presence_penalty, "0")),
        ("penalty-window", shown(options.penalty_window, "64")),
        (
            "max-tokens",
            shown(options.max_tokens, "until the context is full"),
        ),
        ("seed", shown(options.seed, "0")),
    ]
    .map(|(name, value)| format!("{name} {value}"))
    .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("help"), Ok(Slash::Help));
        assert_eq!(
            parse("system  Be brief. "),
            Ok(Slash::System("Be brief.".to_owned()))
        );
        assert_eq!(
            parse("save a file.json"),
            Ok(Slash::Save("a file.json".to_owned()))
        );
        assert_eq!(parse("lora"), Ok(Slash::ListLora));
        assert_eq!(parse("lora off"), Ok(Slash::LoraOff(None)));
        assert_eq!(
            parse("lora off  an adapter.gguf "),
            Ok(Slash::LoraOff(Some("an adapter.gguf".into())))
        );
        let scaled = parse_lora("an adapter.gguf:-0.5").expect("a scale");
        assert_eq!(parse("lora an adapter.gguf:-0.5"), Ok(Slash::Lora(scaled)));
        let off = parse_lora("./off").expect("a file");
        assert_eq!(parse("lora ./off"), Ok(Slash::Lora(off)));
        assert!(
            parse("save").is_err()
                && parse("lora x:nan").is_err()
                && parse("nonsense").is_err()
                && parse("").is_err()
                && parse("set top-k").is_err()
        );
    }

    #[test]
    fn every_setting_that_is_shown_can_be_set() {
        for part in settings(&GenerationOptions::default()).split(", ") {
            let name = part.split(' ').next().unwrap_or_default();
            let Ok(Slash::Set(setting)) = parse(&format!("set {} 1", name.replace('-', "_")))
            else {
                panic!("{name} was not read")
            };
            let mut options = GenerationOptions::default();
            setting
                .apply(&mut options)
                .unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_ne!(options, GenerationOptions::default(), "{name}");
        }
        let all = Setting {
            name: "max-tokens".to_owned(),
            value: "-1".to_owned(),
        };
        let mut options = GenerationOptions {
            max_tokens: Some(1),
            ..Default::default()
        };
        assert!(all.apply(&mut options).is_ok() && options.max_tokens.is_none());
        let bad = Setting {
            name: "top-p".to_owned(),
            value: "2".to_owned(),
        };
        assert!(bad.apply(&mut GenerationOptions::default()).is_err());
    }
}
