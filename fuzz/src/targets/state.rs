//! Saved sessions that are not what they were.

use std::cell::OnceCell;
use std::rc::Rc;

use arbitrary::{Result, Unstructured};
use gust_engine::loaded::{Model, Scope};
use gust_engine::model::{Mapping, Solo};
use gust_engine::session::{Session, SessionOptions};
use gust_engine::tiny_models::{Matrices, named};

use super::values::integer;

/// Different kinds of what layers keep: keys and values, windows, latents, recurrent states, and several of them.
const ARCHITECTURES: [&str; 7] = [
    "llama",
    "gemma2",
    "deepseek2",
    "mamba",
    "rwkv7",
    "lfm2",
    "falcon-h1",
];

struct Base {
    model: Rc<Model>,
    /// Of sessions with 0, 1 and 9 tokens.
    states: [Vec<u8>; 3],
}

thread_local! {
    static BASES: OnceCell<Vec<Base>> = const { OnceCell::new() };
}

/// A saved state with other bytes.
pub fn run(data: &[u8]) {
    BASES.with(|bases| {
        let bases = bases.get_or_init(|| {
            let models = named().into_iter();
            let wanted = models.filter(|(name, _)| ARCHITECTURES.contains(&name.as_str()));
            wanted
                .map(|(_, case)| {
                    let file = case.with_context(32).file(Matrices::Q8_0);
                    let file = file.as_slice();
                    let model = Model::load(&file, Scope::Full, Mapping::Copy, Rc::new(Solo));
                    let model = Rc::new(model.expect("a sound file"));
                    let states = [0, 1, 9].map(|n| {
                        let mut session = session(&model);
                        let tokens: Vec<u32> = (1..=n).collect();
                        let mut rest = tokens.as_slice();
                        while !rest.is_empty() {
                            let taken = session.feed(rest).expect("room");
                            rest = &rest[taken..];
                        }
                        session.save().expect("room")
                    });
                    Base { model, states }
                })
                .collect()
        });
        let _ = attack(&mut Unstructured::new(data), bases);
    });
}

fn session(model: &Rc<Model>) -> Session {
    let options = SessionOptions {
        context_length: Some(16),
        kv_type: None,
    };
    Session::new(model.clone(), options).expect("room")
}

fn attack(input: &mut Unstructured<'_>, bases: &[Base]) -> Result<()> {
    let base = input.choose(bases)?;
    let mut state = input.choose(&base.states)?.clone();
    for _ in 0..input.int_in_range(0..=4)? {
        // The header has most of what can be wrong.
        let end = match input.ratio(3, 4)? {
            true => state.len().min(160),
            false => state.len(),
        };
        let at = input.choose_index(end.max(1))?;
        match input.int_in_range(0..=4)? {
            0 | 1 => {
                let number = integer(input)?.to_le_bytes();
                let at = at / 8 * 8;
                for (old, new) in state.iter_mut().skip(at).zip(number) {
                    *old = new;
                }
            }
            2 => {
                if let Some(byte) = state.get_mut(at) {
                    *byte = input.arbitrary()?;
                }
            }
            3 => state.truncate(at),
            _ => {
                let more: Vec<u8> = input.arbitrary()?;
                state.extend(more);
            }
        }
    }
    let mut session = session(&base.model);
    session.feed(&[3, 2, 1]).expect("room");
    let before = session.save().expect("room");
    match session.restore(&state) {
        Ok(()) => {
            let again = session.save().expect("room");
            assert_eq!(
                again.len(),
                state.len(),
                "what was restored is what is saved"
            );
            let _ = session.next_token();
            let _ = session.truncate(1);
            let _ = session.feed(&[5]);
        }
        Err(_) => assert!(
            session.save().expect("room") == before,
            "nothing has changed"
        ),
    }
    let _ = session.next_token();
    Ok(())
}
