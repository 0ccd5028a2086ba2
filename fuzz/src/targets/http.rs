//! Requests: who may ask, and what.

use arbitrary::{Result, Unstructured};
use gust_http::access::{Access, HOSTS, ORIGINS, Said};
use gust_http::api::{ChatRequest, CompletionRequest};

use super::values::text;

const HEADERS: [&str; 24] = [
    "localhost",
    "LOCALHOST",
    ".",
    ":",
    "8080",
    "[",
    "]",
    "::1",
    "127.0.0.1",
    "evil",
    ".example",
    "http://",
    "https://",
    "null",
    "/",
    "@",
    "#",
    "?",
    " ",
    ",",
    "application/json",
    ";",
    "%",
    "\\",
];
const BODY: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"messages\":",
    "\"role\":",
    "\"content\":",
    "\"user\"",
    "\"type\":\"text\"",
    "\"text\":",
    "\"prompt\":",
    "\"stream\":",
    "\"stop\":",
    "\"max_tokens\":",
    "\"temperature\":",
    "\"seed\":",
    "\"n\":",
    "\"tools\":",
    "\"response_format\":",
    "\"logprobs\":",
    "\"top_logprobs\":",
    "\"prompt_cache_key\":",
    "\"stream_options\":",
    "\"include_usage\":",
    "\"logit_bias\":",
    "\"echo\":",
    "\"a\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "21",
    "1e999",
    "4294967296",
    "18446744073709551616",
    "{\"role\":\"user\",\"content\":\"a\"}",
    "[[[[[[[[",
    " ",
];

/// Headers, and a body.
pub fn run(data: &[u8]) {
    let _ = attack(&mut Unstructured::new(data));
}

fn attack(input: &mut Unstructured<'_>) -> Result<()> {
    let hosts = text(input, &HEADERS, 3)?;
    let origins = text(input, &HEADERS, 4)?;
    let mut headers = Vec::new();
    for _ in 0..input.int_in_range(0..=4)? {
        let name = *input.choose(&["host", "origin", "content-type", "authorization", "cookie"])?;
        headers.push((name.to_owned(), text(input, &HEADERS, 5)?.into_bytes()));
    }
    let authority = match input.arbitrary()? {
        true => Some(text(input, &HEADERS, 4)?),
        false => None,
    };
    let said = Said { authority, headers };
    let access = Access::read(|name| match name {
        HOSTS => Some(hosts.clone()),
        ORIGINS => Some(origins.clone()),
        _ => None,
    });
    let allows_all = |setting: &str| setting.split([',', ' ']).any(|name| name == "*");
    if let Ok(access) = access {
        let _ = access.owner(&said, None);
        let answered = access.check(&said);
        // What nobody has named is not answered, however it is written.
        let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
        let of = |name: &str| said.headers.iter().find(|(known, _)| known == name);
        let host = said.authority.clone().filter(|host| !host.is_empty());
        let host = host
            .or(of("host").map(|(_, value)| lower(value)))
            .unwrap_or_default();
        if host.contains("evil") && !hosts.contains("evil") && !allows_all(&hosts) {
            let is_local = host.split(':').next().is_some_and(|name| {
                name.trim_end_matches('.')
                    .to_lowercase()
                    .ends_with(".localhost")
            });
            assert!(answered.is_err() || is_local, "{said:?}");
        }
        if let Some((_, origin)) = of("origin") {
            let origin = lower(origin);
            let own = origin
                .split_once("://")
                .is_some_and(|(_, from)| from == host.to_lowercase());
            let named = origins.to_lowercase().contains(&origin) && !origin.is_empty();
            assert!(
                answered.is_err() || own || named || allows_all(&origins),
                "{said:?}"
            );
        }
    }
    let length = input.int_in_range(0..=40)?;
    let body = match input.ratio(7, 8)? {
        true => text(input, &BODY, length)?.into_bytes(),
        false => input.arbitrary()?,
    };
    if let Ok(request) = ChatRequest::parse(&body) {
        assert!(request.logprobs().unwrap_or(0) <= 20);
        for message in &request.messages {
            let _ = message.text();
        }
        assert!(request.common.stop().len() <= 16);
    }
    if let Ok(request) = CompletionRequest::parse(&body) {
        assert!(request.common.stop().len() <= 16);
    }
    Ok(())
}
