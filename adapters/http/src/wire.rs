//! Requests and responses of `wasi:http`.

use std::io::{Read, Write};

use serde_json::Value;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::OutputStream;

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

/// Answers with JSON.
pub(crate) fn json(out: ResponseOutparam, status: u16, value: &Value) {
    if let Some(mut response) = Response::begin(out, status, "application/json") {
        // A client that has disconnected does not need it.
        let _ = response.write(&value.to_string());
        response.end();
    }
}

/// A response in progress.
pub(crate) struct Response {
    body: OutgoingBody,
    stream: OutputStream,
}

impl Response {
    /// Sends the header. `None` if the client has disconnected.
    pub(crate) fn begin(out: ResponseOutparam, status: u16, content_type: &str) -> Option<Self> {
        let fields = Fields::new();
        let mut headers = vec![("content-type", content_type)];
        if content_type == "text/event-stream" {
            headers.push(("cache-control", "no-cache"));
        }
        for (name, value) in headers {
            fields.append(name, value.as_bytes()).ok()?;
        }
        let response = OutgoingResponse::new(fields);
        response.set_status_code(status).ok()?;
        let body = response.body().ok()?;
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().ok()?;
        Some(Response { body, stream })
    }

    /// Sends text immediately.
    ///
    /// # Errors
    /// If the client has disconnected.
    pub(crate) fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        Write::flush(&mut self.stream)
    }

    /// Ends the response.
    pub(crate) fn end(self) {
        drop(self.stream);
        let _ = OutgoingBody::finish(self.body, None);
    }
}
