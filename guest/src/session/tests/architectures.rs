//! Whatever a model keeps of a sequence, sessions are exact: for every architecture.

use super::*;
use crate::tiny_models::{Matrices, named};

/// A session with a model of each architecture.
fn each(mut test: impl FnMut(&str, &dyn Fn() -> Session)) {
    for (name, case) in named() {
        let file = case.file(Matrices::Q8_0);
        let model = Model::load(&file, Scope::Full, Mapping::Allowed, Rc::new(Solo));
        let model = Rc::new(model.unwrap());
        let session = || Session::new(model.clone(), SessionOptions::default()).unwrap();
        test(&name, &session);
    }
}

/// Positions within a batch, at its end, and within an answer whose tokens came one by one.
#[test]
fn a_truncated_session_goes_on_as_a_new_one() {
    each(|name, new| {
        let logits = |tokens: &[u32]| {
            let mut session = new();
            feed_all(&mut session, tokens);
            session.logits().unwrap().to_vec()
        };
        let mut session = new();
        session.configure(options(10)).unwrap();
        feed_all(&mut session, &prompt(70));
        let answer = generate(&mut session);
        let all = [prompt(70), answer].concat();
        for length in [79, 75, 70, 66, 30] {
            session.truncate(length).unwrap();
            let found = session.logits().unwrap().to_vec();
            assert!(found == logits(&all[..length]), "{length} {name}");
        }
        // More tokens after a truncation without asking for logits between.
        session.truncate(9).unwrap();
        feed_all(&mut session, &all[9..73]);
        assert!(session.logits().unwrap() == logits(&all[..73]), "{name}");
    });
}

#[test]
fn a_saved_session_and_a_copy_go_on_where_it_was() {
    each(|name, new| {
        let mut original = new();
        original.configure(options(12)).unwrap();
        feed_all(&mut original, &prompt(40));
        original.next_token().unwrap();
        original.truncate(38).unwrap();
        original.configure(options(12)).unwrap();
        let state = original.save().unwrap();
        let mut restored = new();
        restored.configure(options(12)).unwrap();
        restored.restore(&state).unwrap();
        let mut copy = original.fork().unwrap();
        let expected = generate(&mut original);
        assert_eq!(generate(&mut copy), expected, "{name}");
        assert_eq!(generate(&mut restored), expected, "{name}");
        // The copies can go back, too.
        for session in [&mut original, &mut copy, &mut restored] {
            session.truncate(33).unwrap();
        }
        let expected = original.logits().unwrap().to_vec();
        assert!(copy.logits().unwrap() == expected, "{name}");
        assert!(restored.logits().unwrap() == expected, "{name}");
    });
}

/// Proposed tokens are computed ahead, and most of them are rejected.
#[test]
fn looking_up_changes_no_token() {
    each(|name, new| {
        let answer = |lookup: u32| {
            let mut session = new();
            let speculation = SpeculationOptions {
                lookup: Some(lookup),
                ..SpeculationOptions::default()
            };
            let options = GenerationOptions {
                speculation,
                ..options(24)
            };
            session.configure(options).unwrap();
            session.speculation.trust_all();
            feed_all(&mut session, &[prompt(20), prompt(20)].concat());
            generate(&mut session)
        };
        assert_eq!(answer(5), answer(0), "{name}");
    });
}

/// Long after the windows have lost their first tokens, and after going back further than they reach.
#[test]
fn windows_that_have_lost_tokens_are_exact() {
    for (name, case) in named() {
        if !["gemma3", "gemma4", "gpt-oss", "cohere2"].contains(&&*name) {
            continue;
        }
        let file = case.with_context(700).file(Matrices::Q8_0);
        let model = Model::load(&file, Scope::Full, Mapping::Allowed, Rc::new(Solo)).unwrap();
        let model = Rc::new(model);
        let new = || Session::new(model.clone(), SessionOptions::default()).unwrap();
        let tokens: Vec<u32> = (0..650).map(|i| (i * i + 3 * i) % 64).collect();
        let logits = |n: usize, batch: usize| {
            let mut session = new();
            for batch in tokens[..n].chunks(batch) {
                feed_all(&mut session, batch);
            }
            session.logits().unwrap().to_vec()
        };
        let mut session = new();
        feed_all(&mut session, &tokens);
        assert!(session.logits().unwrap() == logits(650, 1), "{name}");
        // Within what the windows keep, beyond it, and on from there.
        for n in [600, 560, 200, 3] {
            session.truncate(n).unwrap();
            assert!(session.logits().unwrap() == logits(n, 64), "{n} {name}");
        }
        feed_all(&mut session, &tokens[3..500]);
        let state = session.save().unwrap();
        let mut restored = new();
        restored.restore(&state).unwrap();
        for session in [&mut session, &mut restored] {
            assert!(session.logits().unwrap() == logits(500, 64), "{name}");
            session.truncate(450).unwrap();
            assert!(session.logits().unwrap() == logits(450, 64), "{name}");
        }
    }
}
