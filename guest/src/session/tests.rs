//! Tests sessions on a tiny model with random weights: what a caller sees, whatever the weights are.

mod aborted;
mod adapters;
mod architectures;
mod speculative;

use std::cell::Cell;

use super::*;
use crate::blob::Blob;
use crate::loaded::Scope;
use crate::model::{Mapping, Solo};
use crate::test_model::{self, N_VOCAB, Shape};

fn model() -> Rc<Model> {
    let file = test_model::model(&Shape::default());
    Rc::new(Model::load(&file, Scope::Full, Mapping::Allowed, Rc::new(Solo)).unwrap())
}

fn session() -> Session {
    Session::new(model(), SessionOptions::default()).unwrap()
}

fn options(max_tokens: u32) -> GenerationOptions {
    GenerationOptions {
        max_tokens: Some(max_tokens),
        ignore_end: true,
        ..GenerationOptions::default()
    }
}

fn feed_all(session: &mut Session, mut tokens: &[u32]) {
    while !tokens.is_empty() {
        let taken = session.feed(tokens).unwrap();
        assert!(taken > 0);
        tokens = &tokens[taken..];
    }
}

/// Token numbers up to the end of the answer.
fn generate(session: &mut Session) -> Vec<u32> {
    std::iter::from_fn(|| match session.next_token().unwrap() {
        Event::Token { id, .. } => Some(id),
        Event::Finished { .. } => None,
    })
    .collect()
}

fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 13 + 5) % N_VOCAB).collect()
}

#[test]
fn an_answer_has_as_many_tokens_as_asked_for() {
    let mut session = session();
    session.configure(options(5)).unwrap();
    feed_all(&mut session, &prompt(40));
    assert_eq!(generate(&mut session).len(), 5);
    let finished = Event::Finished {
        reason: FinishReason::Length,
        bytes: Vec::new(),
    };
    assert_eq!(
        session.next_token().unwrap(),
        finished,
        "asked again, the same"
    );
    let usage = session.usage();
    assert_eq!(
        (usage.context_used, usage.fed, usage.generated),
        (45, 40, 5)
    );
    feed_all(&mut session, &[7]);
    assert_eq!(
        generate(&mut session).len(),
        5,
        "feeding begins a new answer"
    );
}

#[test]
fn an_empty_session_has_nothing_to_go_on_from() {
    let mut session = session();
    assert!(matches!(
        session.next_token(),
        Err(Error::InvalidArgument(_))
    ));
    assert!(matches!(session.logits(), Err(Error::InvalidArgument(_))));
    assert_eq!(session.feed(&[]).unwrap(), 0);
    assert_eq!(session.score(&[]).unwrap(), Vec::<f32>::new());
}

#[test]
fn a_prompt_that_does_not_fit_is_not_taken() {
    let mut session = session();
    let error = session.feed(&prompt(65)).unwrap_err();
    assert_eq!(
        error,
        Error::PromptTooLong {
            tokens: 65,
            limit: 64
        }
    );
    assert_eq!(session.usage().context_used, 0);
    assert!(matches!(
        session.feed(&[N_VOCAB]),
        Err(Error::InvalidArgument(_))
    ));
    feed_all(&mut session, &prompt(64));
}

#[test]
fn a_full_context_is_an_error_that_can_be_mended() {
    let mut session = session();
    session.configure(options(100)).unwrap();
    feed_all(&mut session, &prompt(62));
    assert!(matches!(session.next_token().unwrap(), Event::Token { .. }));
    assert!(matches!(session.next_token().unwrap(), Event::Token { .. }));
    assert_eq!(session.next_token(), Err(Error::ContextFull(64)));
    session.truncate(10).unwrap();
    assert!(matches!(session.next_token().unwrap(), Event::Token { .. }));
}

#[test]
fn a_truncated_session_goes_on_as_if_the_rest_had_never_been() {
    let logits = |tokens: &[u32]| {
        let mut session = session();
        feed_all(&mut session, tokens);
        session.logits().unwrap().to_vec()
    };
    let mut session = session();
    feed_all(&mut session, &prompt(50));
    session.truncate(20).unwrap();
    assert_eq!(session.logits().unwrap(), logits(&prompt(20)));
    session.truncate(11).unwrap();
    feed_all(&mut session, &prompt(50)[11..45]);
    assert_eq!(session.logits().unwrap(), logits(&prompt(45)));
    session.truncate(0).unwrap();
    assert!(session.logits().is_err());
    feed_all(&mut session, &prompt(3));
    assert_eq!(session.logits().unwrap(), logits(&prompt(3)));
    assert!(session.truncate(4).is_err());
}

#[test]
fn a_fork_and_its_original_do_not_touch_each_other() {
    let mut original = session();
    original.configure(options(10)).unwrap();
    feed_all(&mut original, &prompt(10));
    original.next_token().unwrap();
    let mut copy = original.fork().unwrap();
    let expected = generate(&mut original);
    assert_eq!(generate(&mut copy), expected);
    feed_all(&mut copy, &[1, 2, 3]);
    assert_eq!(original.usage().context_used + 3, copy.usage().context_used);
}

#[test]
fn a_saved_session_goes_on_where_it_was() {
    for pending in [false, true] {
        let mut original = session();
        original.configure(options(10)).unwrap();
        feed_all(&mut original, &prompt(10));
        if pending {
            original.next_token().unwrap();
        }
        let state = original.save().unwrap();
        let mut pieces = Vec::new();
        let mut n = 0;
        loop {
            let piece = original.save_piece(pieces.len() as u64).unwrap();
            if piece.is_empty() {
                break;
            }
            pieces.extend(piece);
            n += 1;
        }
        assert!(n > 2 && pieces == state, "{n} pieces");
        assert!(original.save_piece(u64::MAX).unwrap().is_empty());
        let mut copy = session();
        copy.configure(options(
            original.answer.options.max_tokens.unwrap() - u32::from(pending),
        ))
        .unwrap();
        copy.restore(&state).unwrap();
        assert_eq!(copy.usage(), original.usage());
        assert_eq!(generate(&mut copy), generate(&mut original));
    }
}

/// Bytes that can be read so many times.
struct Failing(Vec<u8>, Cell<usize>);

impl Blob for Failing {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let left = self.1.get().checked_sub(1);
        self.1
            .set(left.ok_or_else(|| Error::Io("gone".to_owned()))?);
        self.0.read(offset, length)
    }
}

/// While a state is checked, nothing changes; once it is being loaded, nothing is left of the session.
#[test]
fn a_state_that_cannot_be_read_to_its_end_is_an_error() {
    let mut session = session();
    feed_all(&mut session, &prompt(10));
    let state = session.save().unwrap();
    let (mut unchanged, mut emptied) = (0, 0);
    for reads in 0.. {
        let failing = Failing(state.clone(), Cell::new(reads));
        match session.restore_from(&failing) {
            Ok(()) => break,
            Err(error) => assert_eq!(error, Error::Io("gone".to_owned())),
        }
        match session.usage().context_used {
            0 => {
                emptied += 1;
                feed_all(&mut session, &prompt(10));
            }
            _ => unchanged += 1,
        }
        session.restore(&state).unwrap();
        assert_eq!(session.save().unwrap(), state);
    }
    assert!(unchanged > 2 && emptied > 0, "{unchanged}, {emptied}");
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    let mut session = session();
    feed_all(&mut session, &prompt(10));
    let state = session.save().unwrap();
    for cut in [0, 7, 20, 60, state.len() - 1] {
        assert!(session.restore(&state[..cut]).is_err(), "cut at {cut}");
    }
    assert!(
        session.restore(&[&state[..], &[0]].concat()).is_err(),
        "too long"
    );
    // Set each byte of the header and the tokens to a large value.
    for at in 0..128 {
        let mut changed = state.clone();
        changed[at] = 0xff;
        let _ = session.restore(&changed);
        assert!(session.usage().context_used <= 64);
        session.restore(&state).unwrap();
    }
    // Counts of tokens, behind the magic number and four numbers of the shape, would overflow when they are added to.
    for at in [40, 48, 56, 64] {
        let mut changed = state.clone();
        changed[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(session.restore(&changed).is_err(), "the count at {at}");
    }
    assert_eq!(session.save().unwrap(), state);
    let options = SessionOptions {
        kv_type: Some(KvType::F32),
        ..SessionOptions::default()
    };
    let mut other = Session::new(model(), options).unwrap();
    assert!(other.restore(&state).is_err(), "another layout");
}

#[test]
fn scores_are_the_logarithms_of_probabilities() {
    let tokens = prompt(60);
    let mut scored = session();
    let mut scores = Vec::new();
    while scores.len() < tokens.len() {
        scores.extend(scored.score(&tokens[scores.len()..]).unwrap());
    }
    assert_eq!(scores[0], 0.0);
    let mut session = session();
    for (i, &token) in tokens.iter().enumerate().skip(1) {
        feed_all(&mut session, &tokens[i - 1..i]);
        let logits = session.logits().unwrap();
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let expected = f64::from(logits[token as usize]) - sum.ln();
        assert!((f64::from(scores[i]) - expected).abs() < 1e-5, "token {i}");
    }
}

#[test]
fn log_probabilities_are_reported_when_asked_for() {
    let mut session = session();
    session
        .configure(GenerationOptions {
            logprobs: Some(4),
            ..options(3)
        })
        .unwrap();
    feed_all(&mut session, &prompt(5));
    let Event::Token {
        id, logprob, top, ..
    } = session.next_token().unwrap()
    else {
        panic!("a token");
    };
    assert_eq!(top.len(), 4);
    assert!(top.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{top:?}");
    let logprob = logprob.unwrap();
    assert!(logprob <= top[0].1);
    assert!(top.iter().all(|(other, p)| *other != id || *p == logprob));
    session.configure(options(3)).unwrap();
    assert!(matches!(
        session.next_token().unwrap(),
        Event::Token { logprob: None, ref top, .. } if top.is_empty()
    ));
}

#[test]
fn options_out_of_range_are_refused_and_change_nothing() {
    let mut session = session();
    session.configure(options(2)).unwrap();
    let many = GenerationOptions {
        stop: vec!["x".into(); 65],
        ..options(9)
    };
    let empty = GenerationOptions {
        stop: vec![String::new()],
        ..options(9)
    };
    let probable = GenerationOptions {
        logprobs: Some(1025),
        ..options(9)
    };
    for wrong in [many, empty, probable] {
        assert!(matches!(
            session.configure(wrong),
            Err(Error::InvalidArgument(_))
        ));
    }
    feed_all(&mut session, &prompt(3));
    assert_eq!(generate(&mut session).len(), 2);
    for context_length in [0, 65, u32::MAX] {
        let options = SessionOptions {
            context_length: Some(context_length),
            kv_type: None,
        };
        assert!(matches!(
            Session::new(model(), options),
            Err(Error::InvalidArgument(_))
        ));
    }
}

#[test]
fn what_was_not_loaded_is_an_error() {
    let file = test_model::model(&Shape::default());
    let load = |scope| Rc::new(Model::load(&file, scope, Mapping::Copy, Rc::new(Solo)).unwrap());
    let metadata = load(Scope::Metadata);
    assert!(metadata.tokenizer().is_err());
    let vocabulary = load(Scope::Vocabulary);
    assert_eq!(vocabulary.tokenizer().unwrap().vocab_size(), N_VOCAB);
    assert!(Session::new(vocabulary, SessionOptions::default()).is_err());
}

#[test]
#[cfg(not(target_arch = "wasm32"))]
fn nothing_is_allocated_for_a_token_after_the_first() {
    let mut session = session();
    session.configure(options(60)).unwrap();
    feed_all(&mut session, &prompt(3));
    session.next_token().unwrap();
    for _ in 0..50 {
        // Except for the bytes of the token, which are returned to the caller.
        let mut event = None;
        let count = crate::test_alloc::allocations(|| event = Some(session.next_token().unwrap()));
        let Some(Event::Token { bytes, .. }) = event else {
            panic!("a token");
        };
        assert!(
            count <= usize::from(!bytes.is_empty()),
            "{count} allocations"
        );
    }
}
