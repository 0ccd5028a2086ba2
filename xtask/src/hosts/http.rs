//! A server with OpenAI's API, asked over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::list::PROMPT;

/// Until it listens: it compiles the component first.
const START: Duration = Duration::from_secs(120);
/// Between two events.
const SILENCE: Duration = Duration::from_secs(120);

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command --addr ADDRESS`.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        // The system gives a port that is free, and does not give it again so soon.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        // In front of the component: what is behind it is the component's.
        let component = command.get_args().last().unwrap_or_default().to_owned();
        let mut started = Command::new(command.get_program());
        let others = command.get_args().take(command.get_args().len() - 1);
        started
            .args(others)
            .arg("--addr")
            .arg(address.to_string())
            .arg(component);
        started.current_dir(command.get_current_dir().context("a folder to run in")?);
        command = started;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // It says a line when it starts, or why it does not.
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut server = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                let mut said = String::new();
                if let Some(stderr) = &mut server.child.stderr {
                    stderr.read_to_string(&mut said)?;
                }
                bail!("the server has ended: {status}: {}", said.trim());
            }
            if start.elapsed() > START {
                bail!("nobody listens at {address} after {} s", START.as_secs());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Asks for the answer as a stream. Gives its text, and when each event came.
    pub(crate) fn complete(&self) -> Result<(String, Vec<Instant>)> {
        let body = json!({ "prompt": PROMPT, "max_tokens": 64, "seed": 42, "stream": true });
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(SILENCE))?;
        // HTTP/1.0, so that the answer comes as it is and not in chunks.
        write!(
            stream,
            "POST /v1/completions HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next().context("no answer")??;
        if !status.contains(" 200 ") {
            bail!("expected the status 200, found `{status}`");
        }
        let (mut text, mut times) = (String::new(), Vec::new());
        for line in lines {
            let line = line?;
            let Some(event) = line.strip_prefix("data: ") else {
                continue;
            };
            if event == "[DONE]" {
                return Ok((text, times));
            }
            times.push(Instant::now());
            let event: Value = serde_json::from_str(event)?;
            text.push_str(event["choices"][0]["text"].as_str().unwrap_or_default());
        }
        bail!("the stream has no end; it begins with `{text}`")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
