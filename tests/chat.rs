//! `gust chat`, driven through a pipe: each line is a turn.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::helpers::{Parrot, ParrotFile, gust};
use serde_json::{Value, json};

/// Every message on its own line, and the header of an answer.
const TEMPLATE: &str = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}>";

fn parrot() -> ParrotFile {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    parrot.chat_template = Some(TEMPLATE.to_owned());
    parrot.file()
}

#[test]
fn every_line_is_a_turn() {
    let parrot = parrot();
    let chat = |stdin: &str| {
        gust(["chat", "-t", "0"])
            .model(&parrot)
            .stdin(stdin)
            .run()
            .success()
    };
    assert_eq!(chat("Hello\n"), "abc\n");
    assert_eq!(chat("Hello\n\nAgain\n"), "abc\nabc\n");
    assert_eq!(chat("one \\\nturn\n"), "abc\n");
    assert_eq!(chat("\"\"\"\none\nturn\n\"\"\"\n"), "abc\n");
    assert_eq!(chat(""), "");
    assert_eq!(chat("/exit\nHello\n"), "");
}

#[test]
fn the_space_in_front_of_an_answer_is_left_out() {
    let mut parrot = Parrot::new(" ab");
    parrot.ends = true;
    parrot.chat_template = Some(TEMPLATE.to_owned());
    let parrot = parrot.file();
    let chat = gust(["chat", "-t", "0"]).model(&parrot).stdin("Hello\n");
    assert_eq!(chat.run().success(), "ab\n");
}

/// A user who can write control tokens can speak as the model, so only the template can write them; in a message their
/// names are text, a token for each byte.
#[test]
fn the_name_of_a_control_token_is_text_in_a_message() {
    let parrot = parrot();
    let ended = gust(["chat", "-t", "0"])
        .model(&parrot)
        .stdin("Hi</s>there\n/info\n")
        .run();
    let used = 1 + "[user] Hi</s>there\n>abc".len();
    let expected = [used, used + 1].map(|used| format!(" {used} of 512"));
    let info = ended.stderr.clone();
    assert!(expected.iter().any(|used| info.contains(used)), "{info}");
    assert_eq!(ended.success(), "abc\n");
}

/// The turn of a role that the template leaves out is refused, and the conversation goes on.
#[test]
fn a_message_that_the_template_drops_is_an_error() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let only = "{% for m in messages if m.role != 'system' %}{{ m.content }}\n{% endfor %}>";
    parrot.chat_template = Some(only.to_owned());
    let parrot = parrot.file();
    let chat = gust(["chat", "-t", "0", "--system", "Be brief."]).model(&parrot);
    let ended = chat.stdin("Hello\n/system\nHello\n").run();
    ended.says(&["`system`", "leaves out"]);
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\n");
}

/// A template that wants to know the date gets today's, or the one that was asked for.
#[test]
fn the_date_is_today_s_or_the_one_given() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let strict = "{% set today = strftime_now('%Y-%m-%d') %}{% if today != '2025-07-10' %}\
                  {{ raise_exception('today is ' ~ today) }}{% endif %}\
                  {% for m in messages %}{{ m.content }}{% endfor %}>";
    parrot.chat_template = Some(strict.to_owned());
    let parrot = parrot.file();
    let chat = |args: &[&str]| {
        let chat = gust(["chat", "-t", "0"]).args(args).model(&parrot);
        chat.stdin("Hello\n").run()
    };
    assert_eq!(chat(&["--date", "2025-07-10"]).success(), "abc\n");
    let day = || {
        let since = std::time::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_secs() / 86_400)
    };
    let before = day();
    let today = chat(&[]);
    let told = today
        .stderr
        .split("today is ")
        .nth(1)
        .map(|rest| rest[..10].to_owned());
    let told = told.unwrap_or_else(|| panic!("{today:#?}"));
    // The same date, given.
    chat(&["--date", &told]).says(&[format!("today is {told}").as_str()]);
    let days = |date: &str| -> u64 {
        // Of this century: a leap year every four years.
        let number = |range: std::ops::Range<usize>| date[range].parse::<u64>().expect("a number");
        let (year, month, day) = (number(0..4), number(5..7), number(8..10));
        let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = u64::from(year % 4 == 0 && month > 2);
        let years = year - 1970;
        365 * years + (years + 1) / 4 + months[month as usize - 1] + leap + day - 1
    };
    assert!((before..=day()).contains(&days(&told)), "{told}");
    gust(["chat", "--date", "today"])
        .run()
        .fails(2, &["expected a date"]);
}

/// Variables of the caller's reach the template. What they cannot be is said before the first turn.
#[test]
fn a_template_gets_variables() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let strict = "{% if enable_thinking is not defined or enable_thinking %}\
                  {{ raise_exception('it thinks') }}{% endif %}\
                  {% for m in messages %}{{ m.content }}{% endfor %}>";
    parrot.chat_template = Some(strict.to_owned());
    let parrot = parrot.file();
    let chat = |kwargs: &str| {
        let chat = gust(["chat", "-t", "0", "--chat-template-kwargs", kwargs]);
        chat.model(&parrot).stdin("Hello\n").run()
    };
    assert_eq!(chat(r#"{"enable_thinking": false}"#).success(), "abc\n");
    chat("{}").fails(2, &["it thinks"]);
    let misspelt = chat(r#"{"enable_thinkin": false, "enable_thinking": false}"#);
    assert!(
        misspelt.stderr.contains("does not use `enable_thinkin`"),
        "{misspelt:#?}"
    );
    misspelt.success();
    for (kwargs, found) in [
        ("[1]", "found [1]"),
        ("", "found no JSON"),
        ("{\"a\": nul}", "found no JSON"),
        (
            r#"{"enable_thinking": false, "messages": []}"#,
            "found `messages`",
        ),
        (r#"{"bos_token": "<s>"}"#, "found `bos_token`"),
        (r#"{"tools": [], "enable_thinkin": 1}"#, "found `tools`"),
    ] {
        let refused = chat(kwargs);
        assert!(!refused.stderr.contains("does not use"), "{refused:#?}");
        refused.fails(2, &["--chat-template-kwargs", "expected", found]);
    }
}

/// Messages are saved with their roles, and answers without their end token.
#[test]
fn a_conversation_can_be_saved_and_loaded() {
    let parrot = parrot();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let first = folder.path().join("first.json");
    let second = folder.path().join("second.json");
    let chat = |args: &[&str], stdin: String| {
        gust(["chat", "-t", "0"])
            .args(args)
            .model(&parrot)
            .stdin(stdin)
            .run()
            .success()
    };
    chat(
        &["--system", "Be brief."],
        format!("Hello\n\"\"\"a\nb\"\"\"\n/save {}\n", first.display()),
    );
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let expected = [
        message("system", "Be brief."),
        message("user", "Hello"),
        message("assistant", "abc"),
        message("user", "a\nb"),
        message("assistant", "abc"),
    ];
    assert_eq!(read(&first), json!(expected));

    let stdin = format!(
        "/load {}\nMore\n/save {}\n",
        first.display(),
        second.display()
    );
    chat(&[], stdin);
    let more = [message("user", "More"), message("assistant", "abc")];
    assert_eq!(read(&second), json!([&expected[..], &more[..]].concat()));

    chat(
        &[],
        format!(
            "/load {}\n/reset\nMore\n/save {}\n",
            first.display(),
            second.display()
        ),
    );
    assert_eq!(read(&second), json!([&expected[..1], &more[..]].concat()));
}

/// A conversation of another program keeps what `gust chat` does not write itself.
#[test]
fn what_else_messages_have_is_kept() {
    let parrot = parrot();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let messages = [
        json!({ "role": "user", "content": "Add" }),
        json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": "1", "function": { "name": "add", "arguments": { "b": 1, "a": 2 } } },
        ] }),
        json!({ "role": "tool", "content": "3", "tool_call_id": "1" }),
    ];
    let text = serde_json::to_string(&messages).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(&first, text).unwrap_or_else(|error| panic!("{error}"));
    let stdin = format!("/load {}\n/save {}\n", first.display(), second.display());
    gust(["chat"]).model(&parrot).stdin(stdin).run().success();
    let mut expected = messages;
    expected[1]["content"] = "".into();
    assert_eq!(read(&second), json!(expected));
}

/// The context holds the conversation as the template renders it, and nothing twice.
#[test]
fn the_session_holds_the_rendered_conversation() {
    let parrot = parrot();
    let ended = gust(["chat", "-t", "0"])
        .model(&parrot)
        .stdin("Hi\n/info\nYo\n/info\n")
        .run();
    // Every byte is a token, and begin-of-sequence is one.
    let prompt = |answers: &[&str]| 1 + answers.concat().len();
    let first = prompt(&["[user] Hi\n", ">", "abc"]);
    let second = prompt(&[
        "[user] Hi\n",
        "[assistant] abc\n",
        "[user] Yo\n",
        ">",
        "abc",
    ]);
    let used: Vec<usize> = ended
        .stderr
        .lines()
        .filter_map(|line| {
            line.split_once(" messages, ")?
                .1
                .split_once(" of ")?
                .0
                .parse()
                .ok()
        })
        .collect();
    // The token that ends an answer may be held or not.
    assert_eq!(used.len(), 2, "{ended:#?}");
    for (used, expected) in used.iter().zip([first, second]) {
        assert!(
            (expected..=expected + 1).contains(used),
            "{used}, expected {expected}: {ended:#?}"
        );
    }
}

#[test]
fn the_oldest_turns_make_room_for_new_ones() {
    let parrot = parrot();
    let turns = "Tell me something.\n".repeat(12);
    let ended = gust(["chat", "-t", "0", "--context", "160", "--system", "S"])
        .model(&parrot)
        .stdin(turns + "/save /dev/stderr\n")
        .run();
    assert!(
        ended
            .stderr
            .contains("the context is full; the oldest 2 messages were dropped"),
        "{ended:#?}"
    );
    // The system prompt stays.
    assert!(ended.stderr.contains("\"system\""), "{ended:#?}");
    assert_eq!(ended.success(), "abc\n".repeat(12));
}

#[test]
fn a_turn_that_is_too_long_for_the_context_is_an_error() {
    let parrot = parrot();
    let ended = gust(["chat", "--context", "32"])
        .model(&parrot)
        .stdin("x".repeat(100))
        .run();
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    ended.says(&["prompt too long", "32"]);
}

/// Whatever is wrong with a turn, the next ones are asked, and the exit code says that not all went well.
#[test]
fn a_turn_that_fails_does_not_end_the_conversation() {
    let parrot = parrot();
    let chat = |stdin: &[u8]| {
        gust(["chat", "-t", "0", "--context", "64"])
            .model(&parrot)
            .stdin(stdin)
            .run()
    };
    let long = [b"Hi\n".as_slice(), &[b'x'; 100], b"\nHi again\n"].concat();
    let ended = chat(&long);
    ended.says(&["prompt too long", "64"]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\nabc\n");

    // Only the lines that are no text are lost, and a block goes on behind one.
    let ended = chat(b"caf\xe9\nHi\n\"\"\"a\n\xff\nb\"\"\"\nHi again\n");
    ended.says(&["UTF-8", "0xe9", "offset 3"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\nabc\n");

    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    let refuses =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}";
    parrot.chat_template = Some(format!("{refuses}{TEMPLATE}"));
    let parrot = parrot.file();
    let chat = |stdin: &str| {
        let run = gust(["chat", "-t", "0"]).model(&parrot);
        run.stdin(stdin).run()
    };
    let ended = chat("Hi\n/system Be brief.\nHi\n/system\nHi again\n");
    ended.says(&["no system turn"]);
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\nabc\n");
    // The first failure counts.
    let ended = chat("/load /no/such/file\n/nonsense\nHi\n");
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\n");
}

#[test]
fn only_conversations_are_replaced_by_conversations() {
    let parrot = parrot();
    let model: &std::path::Path = parrot.as_ref();
    let before = std::fs::read(model).unwrap_or_else(|error| panic!("{error}"));
    let stdin = format!("Hi\n/save {}\n", model.display());
    let ended = gust(["chat", "-t", "0"]).model(&parrot).stdin(stdin).run();
    ended.says(&["found another file"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let after = std::fs::read(model).unwrap_or_else(|error| panic!("{error}"));
    assert!(before == after);

    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let saved = folder.path().join("saved.json");
    let stdin = format!("/save {0}\nHi\n/save {0}\n", saved.display());
    let chat = gust(["chat", "-t", "0"]).model(&parrot).stdin(stdin);
    chat.run().success();
    assert_eq!(read(&saved).as_array().map(Vec::len), Some(2));
}

/// A path in quotes is a message.
#[test]
fn what_is_enclosed_is_no_command() {
    let parrot = parrot();
    let chat = gust(["chat", "-t", "0"]).model(&parrot);
    let stdin = "\"\"\"/etc/passwd\"\"\"\n /exit\nHi\n";
    assert_eq!(chat.stdin(stdin).run().success(), "abc\n".repeat(3));
}

/// A conversation on a terminal.
#[cfg(target_os = "linux")]
struct OnTerminal {
    child: std::process::Child,
    master: std::fs::File,
    output: std::sync::mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
    folder: tempfile::TempDir,
}

#[cfg(target_os = "linux")]
impl OnTerminal {
    fn start(model: &ParrotFile) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let terminal = nix::pty::openpty(None, None).unwrap_or_else(|error| panic!("{error}"));
        let slave = || Stdio::from(terminal.slave.try_clone().unwrap_or_else(|e| panic!("{e}")));
        let mut chat = gust(["chat", "-t", "0"])
            .model(model)
            .env("XDG_DATA_HOME", folder.path())
            .env("TERM", "xterm");
        let child = chat.start_on(slave(), slave(), slave());
        let master = std::fs::File::from(terminal.master);
        let (sender, output) = std::sync::mpsc::channel();
        let mut reader = master.try_clone().unwrap_or_else(|e| panic!("{e}"));
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                // No one listens once the test is over.
                let _ = sender.send(bytes[..count].to_vec());
            }
        });
        Self {
            child,
            master,
            output,
            seen: Vec::new(),
            folder,
        }
    }

    /// Waits until the terminal shows something after what was waited for before.
    fn wait_for(&mut self, what: &str) {
        let find = |seen: &[u8]| seen.windows(what.len()).position(|w| w == what.as_bytes());
        while find(&self.seen).is_none() {
            match self.output.recv_timeout(Duration::from_secs(60)) {
                Ok(more) => self.seen.extend(more),
                Err(_) => panic!("no `{what}`: {}", String::from_utf8_lossy(&self.seen)),
            }
        }
        let end = find(&self.seen).map_or(0, |at| at + what.len());
        self.seen.drain(..end);
    }

    fn write(&mut self, text: &str) {
        let written = self.master.write_all(text.as_bytes());
        written.unwrap_or_else(|error| panic!("{error}"));
    }

    fn saved(&self) -> std::path::PathBuf {
        self.folder.path().join("saved.json")
    }

    /// Ends the conversation, and gives what was said in it until it was saved.
    fn end(mut self) -> Vec<String> {
        self.write("/exit\r");
        let status = self.child.wait().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status.code(), Some(0));
        let messages = read(&self.saved());
        let messages = messages.as_array().into_iter().flatten();
        let contents = messages.filter_map(|message| message["content"].as_str());
        contents.map(str::to_owned).collect()
    }
}

/// Lines typed at once arrive together. Bracketed paste would make one message of them.
#[cfg(target_os = "linux")]
#[test]
fn lines_that_arrive_together_at_a_terminal_are_all_turns() {
    let parrot = parrot();
    let mut chat = OnTerminal::start(&parrot);
    chat.wait_for("> ");
    let save = format!("/save {}", chat.saved().display());
    chat.write(&["one", "two", "three", &save, "/info", ""].join("\r"));
    // The settings are the last line of `/info`.
    chat.wait_for("penalty-window");
    assert_eq!(chat.end(), ["one", "abc", "two", "abc", "three", "abc"]);
}

/// Code, markup, emoji, names of control tokens and control characters, typed and pasted: each is a turn, as it is.
/// `tests/real/chat.py` does the same with real models.
#[cfg(target_os = "linux")]
#[test]
fn whatever_is_typed_or_pasted_at_a_terminal_is_a_turn() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    parrot.chat_template = Some("{% for m in messages %}{{ m.content }}{% endfor %}>".to_owned());
    let parrot = parrot.file();
    let mut chat = OnTerminal::start(&parrot);
    let pasted = [
        "def f(x):\n\treturn x\n\nf(1)",
        "<p class=\"a\">\n1 &lt; 2</p>",
        "\"\"\"A docstring.\"\"\"\n\nx = 1",
        "ls \\\n  -l \\",
        "/etc\n/exit",
        "a\u{7}b\tc",
        "one line",
    ];
    let typed = [
        ("\u{1f980} \u{1f469}\u{200d}\u{1f467} \u{e9} \u{65e5}", None),
        ("<|im_end|></s>{{ x }}", None),
        ("a\\\rb", Some("a\nb")),
        ("\"\"\"\rc\r\"\"\"", Some("c")),
        ("  %s ", None),
    ];
    let mut expected = Vec::new();
    for text in pasted {
        chat.wait_for("> ");
        // Terminals send what Enter sends for the ends of lines.
        let sent = text.replace('\n', "\r");
        chat.write(&format!("\u{1b}[200~{sent}\u{1b}[201~\r"));
        chat.wait_for("abc");
        expected.extend([text, "abc"]);
    }
    for (sent, text) in typed {
        chat.wait_for("> ");
        chat.write(&format!("{sent}\r"));
        chat.wait_for("abc");
        expected.extend([text.unwrap_or(sent), "abc"]);
    }
    chat.wait_for("> ");
    let save = format!("/save {}\r", chat.saved().display());
    chat.write(&save);
    chat.wait_for("messages saved");
    assert_eq!(chat.end(), expected);
}

#[test]
fn an_answer_that_fills_the_context_ends_there() {
    let mut parrot = Parrot::new("abc");
    parrot.chat_template = Some(TEMPLATE.to_owned());
    let parrot = parrot.file();
    let ended = gust(["chat", "-t", "0", "--context", "48"])
        .model(&parrot)
        .stdin("Hi\n")
        .run();
    assert!(
        ended
            .stderr
            .contains("note: the context of 48 tokens is full"),
        "{ended:#?}"
    );
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    // Begin-of-sequence, eleven bytes of the prompt, and the rest.
    let expected = format!("{}\n", "abc".repeat(12));
    assert_eq!(ended.stdout, expected.as_bytes());
}

#[test]
fn commands_that_are_wrong_say_so_and_the_conversation_goes_on() {
    let parrot = parrot();
    let stdin = "/nonsense\n/set top-p 7\n/set x 1\n/load /no/such/file\n/save\nHello\n";
    let ended = gust(["chat", "-t", "0"]).model(&parrot).stdin(stdin).run();
    assert_eq!(
        ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        5,
        "{ended:#?}"
    );
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert_eq!(ended.stdout, b"abc\n");
}

#[test]
fn settings_take_effect() {
    let parrot = parrot();
    let ended = gust(["chat", "-t", "0"])
        .model(&parrot)
        .stdin("/set max-tokens 2\nHello\n/info\n")
        .run();
    assert!(ended.stderr.contains("max-tokens 2"), "{ended:#?}");
    assert_eq!(ended.success(), "ab\n");
}

#[test]
fn without_a_template_there_is_no_conversation() {
    let parrot = Parrot::new("abc").file();
    let ended = gust(["chat"]).model(&parrot).stdin("Hello\n").run();
    assert!(
        ended.stderr.contains("hint: ") && ended.stderr.contains("gust run"),
        "{ended:#?}"
    );
    ended.fails(3, &["no chat template"]);

    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let template = folder.path().join("template.jinja");
    std::fs::write(&template, TEMPLATE).unwrap_or_else(|error| panic!("{error}"));
    let chat = |template: &str| {
        gust(["chat", "-t", "0", "-n", "3", "--chat-template", template])
            .model(&parrot)
            .stdin("Hello\n")
            .run()
    };
    assert_eq!(chat(&template.to_string_lossy()).success(), "abc\n");
    chat("/no/such/file").fails(1, &["/no/such/file"]);
    // Names of templates, and what is neither a name nor a file.
    assert_eq!(chat("chatml").success(), "abc\n");
    chat("chatmm").fails(
        2,
        &[
            "--chat-template",
            "or one of the names",
            "gemma",
            "found `chatmm`",
        ],
    );
    chat("/dev/zero").fails(2, &["/dev/zero", "at most 16777216 bytes"]);
    std::fs::write(&template, " ".repeat(10 << 20)).unwrap_or_else(|error| panic!("{error}"));
    chat(&template.to_string_lossy()).fails(2, &["at most 262144 bytes, found 10485760 bytes"]);
    // A template that does not end by itself.
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    std::fs::write(&template, endless).unwrap_or_else(|error| panic!("{error}"));
    chat(&template.to_string_lossy()).fails(2, &["a template of at most 1000000 steps"]);
    std::fs::write(&template, "{% for m in messages %}").unwrap_or_else(|error| panic!("{error}"));
    assert!(!matches!(chat(&template.to_string_lossy()).code, Some(0)));
}

/// A file without a template gets the one of its family, and is told which and why.
#[test]
fn the_tokens_tell_the_template() {
    let mut parrot = Parrot::new("abc");
    parrot.ends = true;
    parrot.control = vec!["<start_of_turn>", "<end_of_turn>"];
    let parrot = parrot.file();
    let chat = gust(["chat", "-t", "0"]).model(&parrot);
    let ended = chat.stdin("Hi<end_of_turn>\n/info\n").run();
    let note = "no chat template; the one that is used is gemma, because the vocabulary has `<start_of_turn>`";
    assert!(ended.stderr.contains(note), "{ended:#?}");
    // Begin-of-sequence, three control tokens, the text around them, the name as text, and the answer.
    let used = 1 + 3 + "user\nHi<end_of_turn>\nmodel\n".len() + "abc".len();
    let expected = [used, used + 1].map(|used| format!(" {used} of 512"));
    assert!(
        expected.iter().any(|used| ended.stderr.contains(used)),
        "{ended:#?}"
    );
    assert_eq!(ended.success(), "abc\n");
    // Without a conversation it does not matter.
    let run = gust(["run", "-n", "2", "a"]).model(&parrot).run();
    assert!(!run.stderr.contains("template"), "{run:#?}");
}

fn read(path: &std::path::Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
