//! The middleware.

use std::rc::Rc;
use std::time::Instant;

use gust_middleware::Middleware;
use gust_middleware::engine::{
    self, Error, Event, LoadOptions, Mismatch, Model, Session, SessionOptions,
};

use crate::pace::{INTERVAL, Pace};

gust_middleware::export!(Jitter);

/// The state of a session.
struct Jitter {
    pace: Pace,
    /// When feeding the prompt began.
    begin: Instant,
    /// Whether nothing has been generated since.
    feeding: bool,
}

fn pace() -> Result<Pace, Error> {
    let text = std::env::var(INTERVAL).ok();
    Pace::parse(text.as_deref()).map_err(|found| {
        Error::InvalidArgument(Mismatch {
            subject: INTERVAL.to_owned(),
            expected: "1 to 60000 milliseconds".to_owned(),
            found,
        })
    })
}

impl Middleware for Jitter {
    fn load_model(name: &str, options: LoadOptions) -> Result<Model, Error> {
        pace()?;
        engine::load_model(name, options)
    }

    fn new(_: &Rc<Model>, _: SessionOptions, _: &Session) -> Result<Self, Error> {
        Ok(Jitter {
            pace: pace()?,
            begin: Instant::now(),
            feeding: false,
        })
    }

    fn fork(&self, _: &Session, _: &Session) -> Result<Self, Error> {
        Ok(Jitter {
            pace: self.pace.clone(),
            ..*self
        })
    }

    fn feed(&mut self, inner: &Session, tokens: &[u32]) -> Result<u32, Error> {
        if !self.feeding {
            self.begin = Instant::now();
            self.pace.begin();
            self.feeding = true;
        }
        inner.feed(tokens)
    }

    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        self.feeding = false;
        let event = inner.next_token();
        let elapsed = self.begin.elapsed();
        std::thread::sleep(self.pace.next(elapsed).saturating_sub(elapsed));
        event
    }
}
