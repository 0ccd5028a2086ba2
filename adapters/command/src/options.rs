//! The command line: the flags of `gust run` that make sense here, with the same names.

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Continues a prompt. Prints the prompt and then its continuation while it is generated.

Usage: gust.wasm -m MODEL [OPTIONS] [PROMPT]

The model is a GGUF file in a folder that the host gives access to:
  wasmtime run --dir models gust.wasm -m models/FILE
  wasmedge --dir models:models gust-core.wasm -m models/FILE
Without PROMPT, the prompt is read from stdin, without the final line break.

  -m, --model FILE            the model [default: $GUST_MODEL]
      --no-echo               do not print the prompt in front of its continuation
      --json                  print one JSON object per line: one for each token, and a final one with timings
      --chat                  format the prompt as a user message with the model's chat template
      --chat-template FILE    with --chat: use this Jinja chat template instead of the model's; a name such as chatml,
                              llama3 or gemma is that of a template that the engine has
      --chat-template-kwargs JSON
                              with --chat: more variables for the chat template, such as '{\"enable_thinking\": false}'
      --date YYYY-MM-DD       date for chat templates that write one [default: today, in UTC]
  -c, --context TOKENS        context length in tokens [default: the model's, at most 4096]
  -n, --max-tokens N          at most this many tokens [default: -1, until the model ends or the context is full]
      --stop TEXT             stop before this text would appear; may be given several times
      --ignore-eos            continue after the model has ended its text
  -t, --temperature T         0 always chooses the most probable token [default: 0.8]
      --top-k K               keep the K most probable tokens; 0 and -1 keep all [default: 40]
      --top-p P               keep the smallest set of tokens whose probabilities sum to P [default: 0.95]
      --min-p P               keep tokens at least P times as probable as the best [default: 0.05]
      --typical-p P           locally typical sampling with mass P [default: 1, off]
      --repeat-penalty X      divide the logits of recent tokens [default: 1, off]
      --frequency-penalty X   subtract once per occurrence of a recent token [default: 0]
      --presence-penalty X    subtract once from each recent token [default: 0]
      --penalty-window N      how many of the last tokens count as recent; -1 is all [default: 64]
  -s, --seed N                the same seed gives the same text [default: -1, random]
  -h, --help                  print this help

Exit status: 0 on success, 1 on failure, with a message on stderr.
";

/// The options on the command line. An absent one has the engine's default.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) help: bool,
    pub(crate) model: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) no_echo: bool,
    pub(crate) json: bool,
    pub(crate) chat: bool,
    pub(crate) chat_template: Option<String>,
    pub(crate) chat_template_kwargs: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) context: Option<u32>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stop: Vec<String>,
    pub(crate) ignore_eos: bool,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_k: Option<u32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) typical_p: Option<f32>,
    pub(crate) repeat_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) penalty_window: Option<u32>,
    pub(crate) seed: Option<u64>,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// A message that says what is wrong with them.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    let mut only_prompt = false;
    while let Some(arg) = args.next() {
        if only_prompt || !is_flag(&arg) {
            if let Some(prompt) = options.prompt.replace(arg) {
                return Err(format!(
                    "expected one prompt, found a second after `{prompt}`; quote a prompt with spaces"
                ));
            }
            continue;
        }
        let (flag, attached) = match arg.split_once('=') {
            Some((flag, value)) if arg.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = Value {
            flag,
            next: attached.or_else(|| takes_value(flag).then(|| args.next()).flatten()),
        };
        match flag {
            "--" => only_prompt = true,
            "-h" | "--help" => options.help = true,
            "--no-echo" => options.no_echo = true,
            "--json" => options.json = true,
            "--chat" => options.chat = true,
            "--ignore-eos" => options.ignore_eos = true,
            "-m" | "--model" => options.model = Some(value.text()?),
            "-c" | "--context" => options.context = Some(value.number()?),
            "-n" | "--max-tokens" => options.max_tokens = value.whole()?,
            "--chat-template" => options.chat_template = Some(value.text()?),
            "--chat-template-kwargs" => options.chat_template_kwargs = Some(value.text()?),
            "--date" => options.date = Some(value.text()?),
            "--stop" => options.stop.push(value.text()?),
            "-t" | "--temperature" => options.temperature = Some(value.number()?),
            "--top-k" => options.top_k = Some(value.whole()?.unwrap_or(0)),
            "--top-p" => options.top_p = Some(value.number()?),
            "--min-p" => options.min_p = Some(value.number()?),
            "--typical-p" => options.typical_p = Some(value.number()?),
            "--repeat-penalty" => options.repeat_penalty = Some(value.number()?),
            "--frequency-penalty" => options.frequency_penalty = Some(value.number()?),
            "--presence-penalty" => options.presence_penalty = Some(value.number()?),
            "--penalty-window" => {
                options.penalty_window = Some(value.whole()?.unwrap_or(u32::MAX));
            }
            "-s" | "--seed" => options.seed = value.whole()?,
            _ => {
                return Err(format!("unknown option `{flag}`; see --help"));
            }
        }
        if let Some(value) = value.next {
            return Err(format!("`{flag}` takes no value, found `{value}`"));
        }
    }
    let of_chat = [
        ("--chat-template", &options.chat_template),
        ("--chat-template-kwargs", &options.chat_template_kwargs),
    ];
    match of_chat.iter().find(|(_, value)| value.is_some()) {
        Some((flag, _)) if !options.chat => Err(format!("`{flag}` needs --chat")),
        _ => Ok(options),
    }
}

/// Whether an argument is meant as a flag, and not as a text that begins with a hyphen, such as `- [ ] buy milk`.
fn is_flag(arg: &str) -> bool {
    let name = arg.split('=').next().unwrap_or_default();
    let letters = name.strip_prefix("--").or_else(|| name.strip_prefix('-'));
    arg == "--"
        || letters.is_some_and(|letters| {
            letters.starts_with(|c: char| c.is_ascii_alphabetic())
                && !letters.contains(char::is_whitespace)
        })
}

/// Whether `flag` takes the next argument as its value.
fn takes_value(flag: &str) -> bool {
    let alone = [
        "--",
        "-h",
        "--help",
        "--no-echo",
        "--json",
        "--chat",
        "--ignore-eos",
    ];
    !alone.contains(&flag)
}

/// The value of a flag.
struct Value<'a> {
    flag: &'a str,
    next: Option<String>,
}

impl Value<'_> {
    fn text(&mut self) -> Result<String, String> {
        self.next
            .take()
            .ok_or_else(|| format!("`{}` needs a value", self.flag))
    }

    /// A whole number, or none for -1.
    fn whole<T: std::str::FromStr>(&mut self) -> Result<Option<T>, String> {
        match self.next.as_deref() {
            Some("-1") => {
                self.next = None;
                Ok(None)
            }
            _ => self.number().map(Some),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| format!("`{}`: expected a number, found `{text}`", self.flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Options, String> {
        parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn flags_and_the_prompt_come_in_any_order() {
        let expected = Options {
            model: Some("m.gguf".into()),
            prompt: Some("Once".into()),
            seed: Some(42),
            temperature: Some(0.0),
            stop: vec!["a".into(), "-b".into()],
            no_echo: true,
            ..Options::default()
        };
        let one = ["-m", "m.gguf", "--seed=42", "-t", "0", "--stop", "a"];
        let two = ["--stop", "-b", "--no-echo", "Once"];
        assert_eq!(of(&[one.as_slice(), &two].concat()), Ok(expected));
        for text in [
            "- [ ] buy milk",
            "-> this way",
            "---",
            "-5",
            "-n is a flag",
            "-",
        ] {
            let prompt = of(&[text, "--json"]).map(|options| options.prompt);
            assert_eq!(prompt, Ok(Some(text.into())));
        }
        let behind = of(&["--", "--seed"]).map(|options| options.prompt);
        assert_eq!(behind, Ok(Some("--seed".into())));
    }

    #[test]
    fn minus_one_is_no_limit_and_a_random_seed() {
        let expected = Options {
            top_k: Some(0),
            penalty_window: Some(u32::MAX),
            ..Options::default()
        };
        let args = [
            "-n",
            "-1",
            "-s",
            "-1",
            "--top-k",
            "-1",
            "--penalty-window=-1",
        ];
        assert_eq!(of(&args), Ok(expected));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (args, words) in [
            (&["--seed"] as &[&str], "`--seed` needs a value"),
            (&["--seed", "x"], "expected a number, found `x`"),
            (&["--speed", "1"], "unknown option `--speed`"),
            (&["--chat=1"], "`--chat` takes no value"),
            (&["Once", "upon"], "a second after `Once`"),
            (&["--chat-template-kwargs", "{}"], "needs --chat"),
        ] {
            let error = of(args).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn help_names_every_flag() {
        for flag in [
            "--model",
            "--no-echo",
            "--json",
            "--chat",
            "--date",
            "--context",
            "--max-tokens",
            "--stop",
            "--ignore-eos",
            "--temperature",
            "--top-k",
            "--top-p",
            "--min-p",
            "--typical-p",
            "--repeat-penalty",
            "--frequency-penalty",
            "--presence-penalty",
            "--penalty-window",
            "--seed",
            "--help",
        ] {
            assert!(HELP.contains(flag), "{flag}");
            let value = takes_value(flag).then_some("1");
            assert!(of(&[&[flag], value.as_slice()].concat()).is_ok(), "{flag}");
        }
    }
}
