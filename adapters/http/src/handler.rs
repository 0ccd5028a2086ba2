//! `wasi:http/incoming-handler`: dispatches requests.

use serde_json::{Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use crate::access::Access;
use crate::asked::{Asked, completion, conversation};
use crate::making::answer;
use crate::reply::{self, Failure};
use crate::wire::Outgoing;
use crate::{served, wire};

#[allow(unsafe_code, reason = "generated: the component's bindings")]
mod export {
    use super::Server;
    wasip2::http::proxy::export!(Server);
}

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let mut out = Outgoing::new(out);
        let said = wire::said(&request);
        let access = Access::read(|name| std::env::var(name).ok());
        let access = access.and_then(|access| {
            out.allow(access.check(&said)?);
            Ok(access)
        });
        let access = match access {
            Ok(access) => access,
            Err(failure) => return out.fail(&failure),
        };
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let method = request.method();
        let parse: fn(&[u8]) -> Result<Asked, Failure> = match (path, &method) {
            ("/v1/chat/completions", Method::Post) => conversation,
            ("/v1/completions", Method::Post) => completion,
            (_, Method::Options) if said.is_preflight() => return out.preflight(),
            _ => {
                return match information(path, &method) {
                    Ok(value) => out.json(200, &value),
                    Err(failure) => out.fail(&failure),
                };
            }
        };
        let body = said.has_json().and_then(|()| wire::body(&request));
        // `answer` reports its own failures, in the response or in the stream.
        match body.and_then(|body| parse(&body)) {
            Ok(asked) => {
                let owner = access.owner(&said, asked.cache_key.as_deref());
                answer(&asked, owner, out);
            }
            Err(failure) => out.fail(&failure),
        }
    }
}

/// Answers the requests that do not need the model.
fn information(path: &str, method: &Method) -> Result<Value, Failure> {
    let of_model = path.strip_prefix("/v1/models/");
    let known = of_model.is_some()
        || matches!(
            path,
            "/health" | "/v1/models" | "/v1/completions" | "/v1/chat/completions"
        );
    if !known {
        let message = format!(
            "no such path: `{path}`; use /v1/chat/completions, /v1/completions, /v1/models or /health"
        );
        return Err(Failure::status(404, "not_found", message));
    }
    if !matches!(method, Method::Get) || path.ends_with("completions") {
        let message = format!("`{path}` does not support this method");
        return Err(Failure::status(405, "method_not_allowed", message));
    }
    let name = served::name()?;
    match of_model {
        Some(id) if id == name => Ok(reply::model(&name)),
        Some(id) => {
            let message = format!("no such model: `{id}`; this server has `{name}`");
            Err(Failure::status(404, "model_not_found", message))
        }
        None if path == "/health" => {
            Ok(json!({"status": "ok", "model": name, "loaded": served::is_loaded()}))
        }
        None => Ok(json!({"object": "list", "data": [reply::model(&name)]})),
    }
}
