//! `wasi:http/incoming-handler`: dispatches requests.

use serde_json::{Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use crate::asked::{completion, conversation};
use crate::making::answer;
use crate::reply::{self, Failure};
use crate::{served, wire};

#[allow(unsafe_code, reason = "generated: the component's bindings")]
mod export {
    use super::Server;
    wasip2::http::proxy::export!(Server);
}

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let method = request.method();
        let asked = match (path, &method) {
            ("/v1/chat/completions", Method::Post) => {
                wire::body(&request).and_then(|body| conversation(&body))
            }
            ("/v1/completions", Method::Post) => {
                wire::body(&request).and_then(|body| completion(&body))
            }
            _ => {
                return match information(path, &method) {
                    Ok(value) => wire::json(out, 200, &value),
                    Err(failure) => wire::json(out, failure.status, &failure.json()),
                };
            }
        };
        // `answer` reports its own failures, in the response or in the stream.
        match asked {
            Ok(asked) => answer(&asked, out),
            Err(failure) => wire::json(out, failure.status, &failure.json()),
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
