//! Speculative decoding changes nothing but the speed: compares sessions that propose tokens with sessions that do not,
//! on models with random weights, whose texts repeat often enough for the lookup.

use super::*;

/// No lookup and no draft.
const PLAIN: SpeculationOptions = SpeculationOptions {
    lookup: Some(0),
    draft: Some(0),
};

fn lookup(most: u32) -> SpeculationOptions {
    SpeculationOptions {
        lookup: Some(most),
        ..PLAIN
    }
}

fn draft(most: u32) -> SpeculationOptions {
    SpeculationOptions {
        draft: Some(most),
        ..PLAIN
    }
}

/// Options that cover different ways of choosing tokens.
fn variants() -> Vec<GenerationOptions> {
    let base = GenerationOptions {
        ignore_end: true,
        ..GenerationOptions::default()
    };
    let sampler = |temperature, seed| SamplerOptions {
        temperature,
        seed,
        ..SamplerOptions::default()
    };
    let mut variants = Vec::new();
    for (temperature, seed) in [(0.0, 0), (0.05, 1), (0.3, 2), (0.8, 3), (2.0, 4)] {
        let sampler = sampler(temperature, seed);
        let penalised = SamplerOptions {
            repeat_penalty: 1.2,
            frequency_penalty: 0.3,
            presence_penalty: 0.1,
            penalty_window: 9,
            ..sampler.clone()
        };
        variants.extend([
            GenerationOptions {
                sampler: sampler.clone(),
                ..base.clone()
            },
            GenerationOptions {
                sampler: sampler.clone(),
                ignore_end: false,
                max_tokens: Some(21),
                ..base.clone()
            },
            GenerationOptions {
                sampler: penalised,
                logprobs: Some(3),
                ..base.clone()
            },
            GenerationOptions {
                sampler,
                stop: vec!["A".into(), "7B".into(), "c9".into()],
                logprobs: Some(0),
                ..base.clone()
            },
        ]);
    }
    variants
}

/// Everything generated after a prompt that repeats itself three times, until the answer ends or the context is full.
fn answer(
    session: &mut Session,
    options: &GenerationOptions,
    by: SpeculationOptions,
) -> Vec<Result<Event>> {
    session.truncate(0).unwrap();
    session
        .configure(GenerationOptions {
            speculation: by,
            ..options.clone()
        })
        .unwrap();
    session.speculation.trust_all();
    feed_all(session, &prompt(6).repeat(3));
    let mut events = Vec::new();
    loop {
        let event = session.next_token();
        let over = !matches!(event, Ok(Event::Token { .. }));
        events.push(event);
        if over {
            return events;
        }
    }
}

/// The numbers of tokens proposed and accepted.
fn speculated(session: &Session) -> (u64, u64) {
    let usage = session.usage();
    (usage.drafted, usage.accepted)
}

#[test]
fn a_look_up_changes_no_answer() {
    let mut session = session();
    for options in variants() {
        let plain = answer(&mut session, &options, PLAIN);
        for most in [1, 3, 7, 31] {
            let found = answer(&mut session, &options, lookup(most));
            assert_eq!(found, plain, "{most}, {options:?}");
        }
    }
    let (drafted, accepted) = speculated(&session);
    assert!(
        0 < accepted && accepted < drafted,
        "{accepted} of {drafted}"
    );
}

#[test]
fn nothing_is_proposed_where_nothing_may_be() {
    let mut session = session();
    for options in variants() {
        answer(&mut session, &options, PLAIN);
    }
    assert_eq!(speculated(&session), (0, 0));
}

#[test]
fn the_model_itself_as_its_draft_is_always_right() {
    let mut plain = session();
    let mut session = session();
    session
        .set_draft_model(session.sequence.model().clone())
        .unwrap();
    for options in variants() {
        let before = speculated(&session);
        let expected = answer(&mut plain, &options, PLAIN);
        assert_eq!(answer(&mut session, &options, draft(5)), expected);
        let after = speculated(&session);
        // Tokens proposed after the one that ends an answer are never chosen.
        let unread = 5 * u64::from(matches!(expected.last(), Some(Ok(_))));
        assert!(
            after.0 - before.0 <= after.1 - before.1 + unread,
            "{options:?}"
        );
        assert!(after.1 > before.1 || expected.len() < 3, "{options:?}");
    }
}

#[test]
fn another_model_as_draft_changes_no_answer() {
    let file = test_model::model(&Shape {
        n_kv_heads: 4,
        ..Shape::default()
    });
    let other = Model::load(&file, Scope::Full, Mapping::Copy, Rc::new(Solo)).unwrap();
    let mut plain = session();
    let mut session = session();
    session.set_draft_model(Rc::new(other)).unwrap();
    for options in variants() {
        let expected = answer(&mut plain, &options, PLAIN);
        for by in [
            draft(4),
            SpeculationOptions {
                lookup: Some(7),
                draft: Some(3),
            },
        ] {
            assert_eq!(answer(&mut session, &options, by), expected, "{options:?}");
        }
    }
    let (drafted, accepted) = speculated(&session);
    assert!(accepted < drafted, "{accepted} of {drafted}");
}

/// Calls every function of a session while tokens are proposed and not yet chosen.
#[test]
fn a_session_can_be_used_in_any_way_in_between() {
    let mut all_accepted = 0;
    for by in [lookup(7), draft(4)] {
        let mut plain = session();
        let mut session = session();
        session
            .set_draft_model(session.sequence.model().clone())
            .unwrap();
        let options = GenerationOptions {
            sampler: SamplerOptions {
                temperature: 0.05,
                ..SamplerOptions::default()
            },
            ..options(60)
        };
        for (session, speculation) in [(&mut plain, PLAIN), (&mut session, by)] {
            session
                .configure(GenerationOptions {
                    speculation,
                    ..options.clone()
                })
                .unwrap();
            session.speculation.trust_all();
            feed_all(session, &prompt(5).repeat(3));
        }
        for step in 0..200usize {
            let length = plain.usage().context_used as usize;
            match step * 7 % 19 {
                0 => assert_eq!(session.logits().unwrap(), plain.logits().unwrap()),
                3 => {
                    plain = plain.fork().unwrap();
                    session = session.fork().unwrap();
                }
                5 => {
                    let (state, plain_state) = (session.save().unwrap(), plain.save().unwrap());
                    session.truncate(length / 2).unwrap();
                    plain.truncate(length / 2).unwrap();
                    session.restore(&state).unwrap();
                    plain.restore(&plain_state).unwrap();
                }
                8 if length < 60 => {
                    let tokens = prompt(2);
                    let scores = session.score(&tokens).unwrap();
                    assert_eq!(scores, plain.score(&tokens).unwrap());
                }
                11 if length < 60 => {
                    feed_all(&mut session, &prompt(3));
                    feed_all(&mut plain, &prompt(3));
                }
                _ if length > 55 => {
                    session.truncate(20 + step % 9).unwrap();
                    plain.truncate(20 + step % 9).unwrap();
                }
                _ => assert_eq!(session.next_token(), plain.next_token(), "step {step}"),
            }
            assert_eq!(
                session.sequence.tokens(),
                plain.sequence.tokens(),
                "step {step}"
            );
        }
        let (drafted, accepted) = speculated(&session);
        assert!(accepted < drafted, "{accepted} of {drafted}");
        all_accepted += accepted;
    }
    assert!(all_accepted > 0);
}

#[test]
fn a_draft_model_has_the_same_vocabulary() {
    let mut file = test_model::model(&Shape::default());
    // The token `a` becomes `~`.
    let letter = b"\x01\0\0\0\0\0\0\0a";
    let at = file
        .windows(letter.len())
        .position(|bytes| bytes == letter)
        .unwrap();
    file[at + 8] = b'~';
    let other = Model::load(&file, Scope::Full, Mapping::Copy, Rc::new(Solo)).unwrap();
    let mut session = session();
    let Error::InvalidArgument(what) = session.set_draft_model(Rc::new(other)).unwrap_err() else {
        panic!("a mismatch");
    };
    assert_eq!(
        (&*what.expected, &*what.found),
        ("`a` as token 53", "`~` as token 53")
    );
    // The session continues without a draft model.
    feed_all(&mut session, &prompt(3));
    session.next_token().unwrap();
}

#[test]
fn a_draft_model_of_another_size_is_refused() {
    let file = crate::test_data::data("models/stories260K-q8_0.gguf");
    let other = Model::load(&file, Scope::Full, Mapping::Copy, Rc::new(Solo)).unwrap();
    let error = session().set_draft_model(Rc::new(other)).unwrap_err();
    let Error::InvalidArgument(what) = error else {
        panic!("a mismatch");
    };
    assert_eq!(
        (&*what.expected, &*what.found),
        ("the vocabulary of the main model, 64 tokens", "512 tokens")
    );
}

#[test]
#[cfg(not(target_arch = "wasm32"))]
fn a_group_proposes_and_says_the_same() {
    let file = test_model::model(&Shape::default());
    let session_in = |group: Rc<dyn crate::model::Group>| {
        let model = Model::load(&file, Scope::Full, Mapping::Copy, group).unwrap();
        let model = Rc::new(model);
        let mut session = Session::new(model.clone(), SessionOptions::default()).unwrap();
        session.set_draft_model(model).unwrap();
        session
    };
    let by = [lookup(7), draft(5)];
    let mut alone = session_in(Rc::new(Solo));
    let mut expected = Vec::new();
    for options in variants() {
        expected.extend(by.map(|by| answer(&mut alone, &options, by)));
    }
    let usage = speculated(&alone);
    for size in [2, 3] {
        crate::model::tests::threads::in_group(size, |group| {
            let mut session = session_in(group);
            let mut expected = expected.iter();
            for options in variants() {
                for by in by {
                    assert_eq!(Some(&answer(&mut session, &options, by)), expected.next());
                }
            }
            assert_eq!(speculated(&session), usage);
        });
    }
}

#[test]
#[cfg(not(target_arch = "wasm32"))]
fn nothing_is_allocated_for_a_token_that_was_proposed() {
    let mut session = session();
    let greedy = SamplerOptions {
        temperature: 0.0,
        ..SamplerOptions::default()
    };
    session
        .configure(GenerationOptions {
            sampler: greedy,
            ..options(32)
        })
        .unwrap();
    // A full batch, so that every buffer reaches its largest size.
    feed_all(&mut session, &prompt(8).repeat(4));
    session.next_token().unwrap();
    for _ in 0..31 {
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
    assert!(session.usage().accepted > 0, "{:?}", session.usage());
}
