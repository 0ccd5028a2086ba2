//! llama.cpp's collection of real chat templates, rendered by gust and by Jinja2.
//!
//! `guest/src/chat/tests/jinja2.py` renders, `guest/src/chat/tests/conversations.json` is what it renders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use gust_engine::chat::{ChatOptions, Clock, Message, Origin, render};
use serde_json::{Map, Value};

use crate::oracle::{self, PACKAGE, run};
use crate::root;

const JINJA2: &str = "jinja2==3.1.6";
/// 10 July 2025, the day in `jinja2.py`.
const NOW: i64 = 1_752_105_600;

/// What became of one template and one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Equal,
    /// Neither renders.
    Refused,
    /// gust renders what Jinja2 does not.
    OnlyGust,
    /// Jinja2 renders what gust does not.
    OnlyJinja2,
    Different,
}

/// A case that is not equal, in words.
struct Case {
    outcome: Outcome,
    template: String,
    conversation: String,
    /// Why one of them or both do not render, or where the texts part.
    why: String,
}

/// Compares all templates, prints the differences, and returns the page and whether nothing differs.
pub(crate) fn templates(tree: Option<&Path>, only: Option<&str>) -> Result<(String, bool)> {
    let sources = match tree {
        Some(tree) => tree.to_owned(),
        None => oracle::sources()?,
    };
    let sources = sources.join("models/templates");
    let tests = root().join("guest/src/chat/tests");
    let conversations = std::fs::read_to_string(tests.join("conversations.json"))?;
    let conversations: Vec<Value> = serde_json::from_str(&conversations)?;
    let expected = expected(&tests.join("jinja2.py"), &sources)?;
    let mut rows: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    let mut cases = Vec::new();
    for (name, expected) in &expected {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let path = sources.join(format!("{name}.jinja"));
        let template =
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let expected = expected.as_array().context("an array")?;
        for (conversation, expected) in conversations.iter().zip(expected) {
            let found = rendered(&template, conversation)?;
            let (outcome, why) = compared(&found, expected);
            rows.entry(name.clone()).or_default().push(outcome);
            if outcome != Outcome::Equal {
                let conversation = conversation["name"].as_str().unwrap_or_default().to_owned();
                let template = name.clone();
                cases.push(Case {
                    outcome,
                    template,
                    conversation,
                    why,
                });
            }
        }
    }
    for case in &cases {
        eprintln!(
            "{:?}: {}, {}: {}",
            case.outcome, case.template, case.conversation, case.why
        );
    }
    let wrong = |case: &Case| matches!(case.outcome, Outcome::OnlyJinja2 | Outcome::Different);
    let agree = !cases.iter().any(wrong);
    Ok((page(&rows, &cases, &conversations), agree))
}

/// What Jinja2 renders: an array for each template.
fn expected(script: &Path, templates: &Path) -> Result<Map<String, Value>> {
    let python = oracle::venv()?.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", JINJA2]))?;
    let output = Command::new(&python).arg(script).arg(templates).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What gust renders, or its error.
fn rendered(template: &str, conversation: &Value) -> Result<Result<String, String>> {
    let messages = conversation["messages"].as_array().context("messages")?;
    let message = |given: &Value| Message {
        role: given["role"].as_str().unwrap_or_default().to_owned(),
        content: None,
        fields: Some(given.to_string()),
    };
    let messages: Vec<_> = messages.iter().map(message).collect();
    let text = |key: &str| conversation.get(key).map(Value::to_string);
    let (tools, variables) = (text("tools"), text("variables"));
    let options = ChatOptions {
        origin: Origin::Model,
        add_generation_prompt: conversation["add_generation_prompt"] == true,
        bos_token: Some("<s>"),
        eos_token: Some("</s>"),
        tools: tools.as_deref(),
        variables: variables.as_deref(),
        clock: Clock::At(NOW),
    };
    let rendered = render(template, &messages, &options);
    Ok(rendered
        .map(|rendered| rendered.text)
        .map_err(|error| error.to_string()))
}

fn compared(found: &Result<String, String>, expected: &Value) -> (Outcome, String) {
    let error = expected["error"].as_str();
    match (found, expected.as_str()) {
        (Ok(found), Some(expected)) if found == expected => (Outcome::Equal, String::new()),
        (Ok(found), Some(expected)) => {
            let same = |(a, b): &(char, char)| a == b;
            let at = found.chars().zip(expected.chars()).take_while(same).count();
            let rest = |text: &str| text.chars().skip(at).take(30).collect::<String>();
            let (found, expected) = (rest(found), rest(expected));
            (
                Outcome::Different,
                format!("{found:?} where Jinja2 has {expected:?}"),
            )
        }
        (Ok(_), None) => (Outcome::OnlyGust, error.unwrap_or_default().to_owned()),
        (Err(error), Some(_)) => (Outcome::OnlyJinja2, error.clone()),
        (Err(_), None) => (Outcome::Refused, error.unwrap_or_default().to_owned()),
    }
}

fn page(rows: &BTreeMap<String, Vec<Outcome>>, cases: &[Case], conversations: &[Value]) -> String {
    let all = || rows.values().flatten();
    let count = |of: Outcome| all().filter(|outcome| **outcome == of).count();
    let n = all().count();
    let mut page = format!(
        "# Chat templates\n\n\
         Written by `cargo xtask parity --templates`, with Jinja2 ({JINJA2}) and the templates of {PACKAGE} \
         (`models/templates` of its llama.cpp). Do not edit.\n\n\
         {} real templates, {} conversations, {n} renderings. Jinja2 is set up as transformers 5.24 sets it up \
         (`guest/src/chat/tests/jinja2.py`). **{} are equal, byte for byte; {} are refused by both; {} differ; {} only Jinja2 \
         renders; {} only gust renders.**\n\n",
        rows.len(),
        conversations.len(),
        count(Outcome::Equal),
        count(Outcome::Refused),
        count(Outcome::Different),
        count(Outcome::OnlyJinja2),
        count(Outcome::OnlyGust),
    );
    page += "The conversations (`guest/src/chat/tests/conversations.json`): ";
    let names = conversations
        .iter()
        .map(|conversation| conversation["name"].as_str());
    page += &names
        .map(Option::unwrap_or_default)
        .collect::<Vec<_>>()
        .join("; ");
    page += ".\n\n| template | equal | refused by both | different | only Jinja2 | only gust |\n|---|---|---|---|---|---|\n";
    for (name, outcomes) in rows {
        let count = |of: Outcome| outcomes.iter().filter(|outcome| **outcome == of).count();
        let kinds = [
            Outcome::Equal,
            Outcome::Refused,
            Outcome::Different,
            Outcome::OnlyJinja2,
            Outcome::OnlyGust,
        ];
        let counts = kinds.map(|kind| match count(kind) {
            0 => String::new(),
            n => n.to_string(),
        });
        let _ = writeln!(page, "| {name} | {} |", counts.join(" | "));
    }
    for (outcome, title, why) in [
        (Outcome::Different, "What differs", ""),
        (Outcome::OnlyJinja2, "What only Jinja2 renders", ""),
        (
            Outcome::OnlyGust,
            "What only gust renders",
            "gust is more lenient in two things, on purpose. A loop over `tools` or `documents` that are none runs zero times: \
             these templates are made for conversations with tools, and a user without tools gets the answer and not an \
             error about Python's types. And `tojson` takes what `map` returns, which is a list here and a generator in \
             Jinja2.\n\n",
        ),
        (
            Outcome::Refused,
            "What both refuse",
            "With what Jinja2 says.\n\n",
        ),
    ] {
        // By what stopped it: the templates and conversations of each.
        let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for case in cases.iter().filter(|case| case.outcome == outcome) {
            let place = format!("{} ({})", case.template, case.conversation);
            kinds.entry(&case.why).or_default().push(place);
        }
        if kinds.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {title}\n\n{why}");
        for (why, places) in kinds {
            let why = why.replace('\n', " ");
            let _ = writeln!(page, "- `{}`: {}", why.replace('`', "'"), places.join(", "));
        }
    }
    page
}
