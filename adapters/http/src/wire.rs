//! Requests and responses of `wasi:http`.

use std::io::{Read, Write};

use serde_json::Value;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::OutputStream;

use crate::access::Said;
use crate::reply::Failure;

/// The largest body that is accepted, in bytes.
const MAX_BODY: u64 = 16 << 20;

/// Reads a request's whole body.
///
/// # Errors
/// If it is too long, or incomplete.
pub(crate) fn body(request: &IncomingRequest) -> Result<Vec<u8>, Failure> {
    let broken = || Failure::invalid(None, "cannot read the request body");
    let body = request.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    let read = stream.take(MAX_BODY + 1).read_to_end(&mut bytes);
    read.map_err(|_| broken())?;
    if bytes.len() as u64 > MAX_BODY {
        let message = format!("the request body is longer than {MAX_BODY} bytes");
        return Err(Failure::status(413, "body_too_long", message));
    }
    Ok(bytes)
}

/// What a request says before its body.
pub(crate) fn said(request: &IncomingRequest) -> Said {
    let entries = request.headers().entries().into_iter();
    Said {
        authority: request.authority(),
        headers: entries
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect(),
    }
}

/// Where the response goes.
pub(crate) struct Outgoing {
    out: ResponseOutparam,
    /// Headers of every response.
    headers: Vec<(&'static str, String)>,
}

/// The client has disconnected.
#[derive(Debug)]
pub(crate) struct Gone;

impl Outgoing {
    pub(crate) fn new(out: ResponseOutparam) -> Self {
        Outgoing {
            out,
            headers: Vec::new(),
        }
    }

    /// Lets pages of this origin read the response.
    pub(crate) fn allow(&mut self, origin: Option<String>) {
        if let Some(origin) = origin {
            self.headers.push(("access-control-allow-origin", origin));
            self.headers.push(("vary", "origin".to_owned()));
        }
    }

    /// Answers that a page may ask.
    pub(crate) fn preflight(mut self) {
        let says = [
            ("access-control-allow-methods", "GET, POST"),
            // The star does not include it.
            ("access-control-allow-headers", "*, authorization"),
            ("access-control-max-age", "600"),
        ];
        let says = says.map(|(name, value)| (name, value.to_owned()));
        self.headers.extend(says);
        if let Some(response) = self.begin(204, None) {
            response.end();
        }
    }

    /// Answers with JSON.
    pub(crate) fn json(self, status: u16, value: &Value) {
        if let Some(mut response) = self.begin(status, Some("application/json")) {
            // A client that has disconnected does not need it.
            let _ = response.write(&value.to_string());
            response.end();
        }
    }

    /// Answers that the request has failed.
    pub(crate) fn fail(mut self, failure: &Failure) {
        if let Some(seconds) = failure.retry_after {
            self.headers.push(("retry-after", seconds.to_string()));
        }
        self.json(failure.status, &failure.json());
    }

    /// Sends the header. `None` if the client has disconnected.
    pub(crate) fn begin(mut self, status: u16, content_type: Option<&str>) -> Option<Response> {
        if let Some(content_type) = content_type {
            self.headers.push(("content-type", content_type.to_owned()));
        }
        if content_type == Some("text/event-stream") {
            self.headers.push(("cache-control", "no-cache".to_owned()));
        }
        let fields = Fields::new();
        for (name, value) in &self.headers {
            fields.append(name, value.as_bytes()).ok()?;
        }
        let response = OutgoingResponse::new(fields);
        response.set_status_code(status).ok()?;
        let body = response.body().ok()?;
        ResponseOutparam::set(self.out, Ok(response));
        let stream = body.write().ok()?;
        Some(Response { stream, body })
    }
}

/// A response in progress. Without [`Response::end`] the client learns that it has not come to its end.
pub(crate) struct Response {
    // In this order, because a body must not be dropped before its stream.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Response {
    /// Whether the client still waits for it.
    ///
    /// # Errors
    /// If it has disconnected.
    pub(crate) fn wanted(&self) -> Result<(), Gone> {
        self.stream.check_write().map(drop).map_err(|_| Gone)
    }

    /// Sends text immediately.
    ///
    /// # Errors
    /// If the client has disconnected.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Gone> {
        let written = self.stream.write_all(text.as_bytes());
        written
            .and_then(|()| Write::flush(&mut self.stream))
            .map_err(|_| Gone)
    }

    /// Ends the response.
    pub(crate) fn end(self) {
        drop(self.stream);
        let _ = OutgoingBody::finish(self.body, None);
    }
}
