//! An example middleware, as a starting point for your own: it turns every answer into capital letters.
//!
//! Calls that it does not override pass through unchanged.

#![cfg(target_arch = "wasm32")]

use std::rc::Rc;

use gust_middleware::Middleware;
use gust_middleware::engine::{Error, Event, Model, Session, SessionOptions};

gust_middleware::export!(Shout);

/// A session needs no state.
struct Shout;

impl Middleware for Shout {
    fn new(_: &Rc<Model>, _: SessionOptions, _: &Session) -> Result<Self, Error> {
        Ok(Shout)
    }

    fn fork(&self, _: &Session, _: &Session) -> Result<Self, Error> {
        Ok(Shout)
    }

    fn next_token(&mut self, inner: &Session) -> Result<Event, Error> {
        let mut event = inner.next_token()?;
        match &mut event {
            Event::Token(token) => token.bytes.make_ascii_uppercase(),
            Event::Finished(end) => end.bytes.make_ascii_uppercase(),
        }
        Ok(event)
    }
}
