//! Who may ask, and whose prompts a request may continue: decided before a body is read or a model is loaded.
//!
//! A page from anywhere can send requests to a server on the user's own machine. The browser says where the page is from
//! (`Origin`), and under which name it reached the server (`Host`): a name that is not the server's own may have been
//! pointed at it by the page's owner (DNS rebinding). So both must be the server's own, or named in a setting.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::reply::Failure;

/// The environment variable with the names of the server, besides `localhost` and addresses.
pub const HOSTS: &str = "GUST_HOSTS";
/// The environment variable with the origins of pages from elsewhere that may ask.
pub const ORIGINS: &str = "GUST_ORIGINS";
/// The environment variable that says whether clients continue each other's prompts.
pub const CACHE: &str = "GUST_CACHE";

/// The most bytes of all names and values of headers.
const MAX_HEADERS: usize = 64 << 10;

/// The server's settings.
#[derive(Debug)]
pub struct Access {
    hosts: Names,
    origins: Names,
    shared: bool,
}

/// A request without its body.
#[derive(Debug)]
pub struct Said {
    /// The host that it was sent to, with the port.
    pub authority: Option<String>,
    /// The headers; names are in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Whose prompt it is. Only what is equal may be continued.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owner {
    authorization: Vec<u8>,
    key: String,
}

impl Access {
    /// Reads the settings.
    ///
    /// # Errors
    /// If one cannot be understood.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let names = |name| Names::parse(&variable(name).unwrap_or_default());
        let wrong = |name, expected: &str, found: &str| {
            Failure::server(503, format!("{name}: expected {expected}, found `{found}`"))
        };
        let (hosts, origins) = (names(HOSTS), names(ORIGINS));
        if let Some(found) = hosts.list.iter().find(|name| name.contains(['/', ':'])) {
            let expected = "names without a port, such as `llm.example.com`, or `*`";
            return Err(wrong(HOSTS, expected, found));
        }
        let is_origin = |name: &str| {
            let parts = name.split_once("://");
            parts.is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'))
        };
        if let Some(found) = origins.list.iter().find(|name| !is_origin(name)) {
            let expected = "origins such as `https://example.com`, or `*`";
            return Err(wrong(ORIGINS, expected, found));
        }
        let shared = match variable(CACHE).as_deref() {
            None | Some("client") => false,
            Some("shared") => true,
            Some(found) => return Err(wrong(CACHE, "`client` or `shared`", found)),
        };
        Ok(Access {
            hosts,
            origins,
            shared,
        })
    }

    /// Whether the request may be answered. The result is the origin of a page from elsewhere that may read the answer.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, said: &Said) -> Result<Option<String>, Failure> {
        let size = |(name, value): &(String, Vec<u8>)| name.len() + value.len();
        let size: usize = said.headers.iter().map(size).sum();
        if size > MAX_HEADERS {
            let message = format!("headers: expected at most {MAX_HEADERS} bytes, found {size}");
            return Err(Failure::status(431, "headers_too_long", message));
        }
        let authority = said.authority()?;
        if !is_own(host(&authority)) && !self.hosts.have(host(&authority)) {
            let message = format!(
                "`{authority}` is not a name of this server; whoever runs it can add it to {HOSTS}"
            );
            return Err(Failure::status(403, "host_not_allowed", message));
        }
        let Some(origin) = said.only("origin")? else {
            return Ok(None);
        };
        let origin = String::from_utf8_lossy(origin).to_lowercase();
        if origin
            .split_once("://")
            .is_some_and(|(_, from)| from == authority)
        {
            return Ok(None);
        }
        if self.origins.have(&origin) {
            return Ok(Some(origin));
        }
        let message = format!(
            "pages from `{origin}` may not ask this server; whoever runs it can add it to {ORIGINS}"
        );
        Err(Failure::status(403, "origin_not_allowed", message))
    }

    /// Whose prompt a request with this `prompt_cache_key` has; `None` if that cannot be told.
    pub fn owner(&self, said: &Said, key: Option<&str>) -> Option<Owner> {
        if self.shared {
            return Some(Owner::default());
        }
        let owner = Owner {
            authorization: said.first("authorization").unwrap_or_default().to_vec(),
            key: key.unwrap_or_default().to_owned(),
        };
        (owner != Owner::default()).then_some(owner)
    }
}

impl Said {
    /// Whether the body is JSON. A page may send text to anybody without asking first, but not JSON.
    ///
    /// # Errors
    /// If it is something else, or the request does not say.
    pub fn has_json(&self) -> Result<(), Failure> {
        let found = self.first("content-type").unwrap_or_default();
        let found = String::from_utf8_lossy(found);
        let kind = found.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        let message = format!("content-type: expected `application/json`, found `{found}`");
        Err(Failure::status(415, "unsupported_media_type", message))
    }

    /// Whether a browser asks if a page may ask.
    pub fn is_preflight(&self) -> bool {
        self.first("origin").is_some() && self.first("access-control-request-method").is_some()
    }

    /// The host that it was sent to, in lower case.
    fn authority(&self) -> Result<String, Failure> {
        let header = self.only("host")?.map(String::from_utf8_lossy);
        let authority = self.authority.as_deref().filter(|text| !text.is_empty());
        match authority.or(header.as_deref()) {
            Some(text) => Ok(text.to_lowercase()),
            None => {
                let message = "host: expected the name of the server, found none";
                Err(Failure::status(400, "host_missing", message))
            }
        }
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(found, _)| found == name)?;
        Some(&found.1)
    }

    /// The value of a header that there may be once.
    fn only(&self, name: &'static str) -> Result<Option<&[u8]>, Failure> {
        let count = self.headers.iter().filter(|(found, _)| found == name);
        match count.count() {
            0 | 1 => Ok(self.first(name)),
            count => {
                let message = format!("{name}: expected one header, found {count}");
                Err(Failure::status(400, "header_repeated", message))
            }
        }
    }
}

/// Names in a setting, separated by commas or white space.
#[derive(Debug)]
struct Names {
    list: Vec<String>,
    all: bool,
}

impl Names {
    fn parse(text: &str) -> Self {
        let split = text.split(|c: char| c == ',' || c.is_whitespace());
        let names = split.filter(|name| !name.is_empty());
        let mut list: Vec<_> = names.map(str::to_lowercase).collect();
        let all = list.iter().any(|name| name == "*");
        list.retain(|name| name != "*");
        Names { list, all }
    }

    fn have(&self, name: &str) -> bool {
        self.all || self.list.iter().any(|known| known == name)
    }
}

/// The host without the port, and without a dot at its end.
fn host(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// Nobody can point these names at a server of somebody else: an address is not looked up, and `localhost` is always one's
/// own.
fn is_own(host: &str) -> bool {
    let in_brackets = |host: &str| Some(host.strip_prefix('[')?.strip_suffix(']')?.to_owned());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    host == "localhost"
        || host.ends_with(".localhost") && host.chars().all(is_name)
        || host.parse::<Ipv4Addr>().is_ok()
        || in_brackets(host).is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(variables: &[(&str, &str)]) -> Result<Access, Failure> {
        Access::read(|name| {
            let entry = variables.iter().find(|entry| entry.0 == name)?;
            Some(entry.1.to_owned())
        })
    }

    fn said(authority: Option<&str>, headers: &[(&str, &str)]) -> Said {
        let header = |(name, value): &(&str, &str)| (name.to_string(), value.as_bytes().to_vec());
        Said {
            authority: authority.map(str::to_owned),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn code(outcome: Result<Option<String>, Failure>) -> Option<&'static str> {
        outcome.err().and_then(|failure| failure.code)
    }

    #[test]
    fn only_the_servers_own_names_are_answered() {
        let own = access(&[]).expect("no settings");
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.:80",
            "a.localhost:8080",
            "127.0.0.1:8080",
            "10.0.0.7",
            "[::1]:8080",
            "[::1]",
        ] {
            assert_eq!(own.check(&said(Some(host), &[])), Ok(None), "{host}");
            let header = said(None, &[("host", host)]);
            assert_eq!(own.check(&header), Ok(None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "[::1].evil.example",
            "::1",
            "0x7f.1",
            "localhost:x",
            "https://evil.localhost",
            "evil.example/.localhost",
            "evil.example@a.localhost",
        ] {
            let outcome = own.check(&said(Some(host), &[]));
            assert_eq!(code(outcome), Some("host_not_allowed"), "{host}");
        }
        assert_eq!(code(own.check(&said(None, &[]))), Some("host_missing"));
        let two = said(None, &[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(code(own.check(&two)), Some("header_repeated"));

        let named = access(&[(HOSTS, "llm.example.com, Other.Example")]).expect("names");
        for (host, allowed) in [
            ("llm.example.com:443", true),
            ("other.example", true),
            ("example.com", false),
            ("localhost", true),
        ] {
            let outcome = named.check(&said(Some(host), &[]));
            assert_eq!(outcome.is_ok(), allowed, "{host}");
        }
        let any = access(&[(HOSTS, "*")]).expect("names");
        assert_eq!(any.check(&said(Some("evil.example"), &[])), Ok(None));
    }

    #[test]
    fn pages_from_elsewhere_are_refused_unless_they_are_named() {
        let from = |access: &Access, origin| {
            access.check(&said(Some("localhost:8080"), &[("origin", origin)]))
        };
        let own = access(&[]).expect("no settings");
        assert_eq!(from(&own, "http://localhost:8080"), Ok(None));
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "null",
            "",
            "http://localhost:8080.evil.example",
            "localhost:8080",
        ] {
            let outcome = from(&own, origin);
            assert_eq!(code(outcome), Some("origin_not_allowed"), "{origin}");
        }
        let named = access(&[(ORIGINS, "https://a.example http://localhost:3000")]);
        let named = named.expect("origins");
        let allowed = from(&named, "https://A.example");
        assert_eq!(allowed, Ok(Some("https://a.example".to_owned())));
        assert!(from(&named, "http://a.example").is_err());
        let any = access(&[(ORIGINS, "*")]).expect("origins");
        assert_eq!(from(&any, "null"), Ok(Some("null".to_owned())));
        let twice = [("origin", "http://localhost:8080"), ("origin", "null")];
        let outcome = own.check(&said(Some("localhost:8080"), &twice));
        assert_eq!(code(outcome), Some("header_repeated"));
    }

    #[test]
    fn settings_that_say_nothing_sensible_are_refused() {
        for (name, value) in [
            (HOSTS, "http://localhost"),
            (HOSTS, "llm.example.com:8080"),
            (ORIGINS, "localhost"),
            (ORIGINS, "http://a.example/page"),
            (ORIGINS, "http://"),
            (CACHE, "yes"),
        ] {
            let failure = access(&[(name, value)]).expect_err(value);
            assert!(failure.message.contains(name), "{failure:?}");
            assert_eq!(failure.status, 503);
        }
    }

    #[test]
    fn a_body_must_be_json() {
        for (kind, is_json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("text/plain; application/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let outcome = said(None, &[("content-type", kind)]).has_json();
            assert_eq!(outcome.is_ok(), is_json, "{kind}");
        }
        let failure = said(None, &[]).has_json().expect_err("no type");
        assert_eq!(failure.status, 415);
    }

    #[test]
    fn headers_have_a_limit() {
        let own = access(&[]).expect("no settings");
        let long = "x".repeat(MAX_HEADERS);
        let outcome = own.check(&said(Some("localhost"), &[("cookie", &long)]));
        assert_eq!(code(outcome), Some("headers_too_long"));
    }

    #[test]
    fn prompts_have_the_owner_that_a_secret_names() {
        let own = access(&[]).expect("no settings");
        let of = |access: &Access, authorization: Option<&str>, key| {
            let headers = authorization.map(|value| ("authorization", value));
            access.owner(&said(None, headers.as_slice()), key)
        };
        assert_eq!(of(&own, None, None), None);
        assert_eq!(of(&own, Some(""), Some("")), None);
        let all = [
            of(&own, Some("Bearer a"), None),
            of(&own, Some("Bearer b"), None),
            of(&own, Some("Bearer a"), Some("k")),
            of(&own, Some("Bearer b"), Some("k")),
            of(&own, None, Some("k")),
            of(&own, None, Some("Bearer a")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(one.is_some());
            assert!(!all[..index].contains(one), "{index}");
        }
        assert_eq!(of(&own, Some("Bearer a"), None), all[0]);
        let shared = access(&[(CACHE, "shared")]).expect("a setting");
        let anybody = of(&shared, None, None);
        assert!(anybody.is_some());
        assert_eq!(of(&shared, Some("Bearer a"), Some("k")), anybody);
    }
}
