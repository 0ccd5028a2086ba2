//! Sessions with adapters: whichever were attached before, what follows is what a new session with the same would have.

use super::*;
use crate::tiny_models::{Matrices, RandomAdapter, named};

/// A model with two adapters.
struct Adapted {
    model: Rc<Model>,
    adapters: [Rc<Adapter>; 2],
}

impl Adapted {
    fn of(file: &[u8]) -> Self {
        let model = Model::load(&file, Scope::Full, Mapping::Allowed, Rc::new(Solo)).unwrap();
        let adapters = [7, 8].map(|seed| {
            let random = RandomAdapter {
                rank: 2,
                alpha: 4.0,
                seed,
                ty: crate::gguf::TensorType::F32,
            };
            let file = random.file(file, |_| true);
            let adapter = model.open_adapter("style", |name| match name {
                "style" => Ok(&file),
                _ => Err(Error::NotFound(name.to_owned())),
            });
            Rc::new(adapter.unwrap())
        });
        Self {
            model: Rc::new(model),
            adapters,
        }
    }

    /// The sets of adapters that are tried: none, one, the other way round, both.
    fn sets(&self) -> [Vec<(Rc<Adapter>, f32)>; 5] {
        let [one, two] = &self.adapters;
        let with = |adapter: &Rc<Adapter>, scale| (Rc::clone(adapter), scale);
        [
            vec![],
            vec![with(one, 1.0)],
            vec![with(one, -0.5)],
            vec![with(two, 1.0), with(one, 0.5)],
            vec![with(one, 0.5), with(two, 1.0)],
        ]
    }

    fn session(&self, adapters: &[(Rc<Adapter>, f32)]) -> Session {
        let mut session = Session::new(self.model.clone(), SessionOptions::default()).unwrap();
        session.set_adapters(adapters).unwrap();
        session.configure(options(8)).unwrap();
        session
    }
}

fn tiny() -> Adapted {
    Adapted::of(&test_model::model(&Shape::default()))
}

/// Attaches sets in this order, and compares with sessions that have had nothing else.
fn attach_and_detach(adapted: &Adapted, name: &str, order: &[usize]) {
    let tokens = prompt(40);
    let sets = adapted.sets();
    let mut session = adapted.session(&[]);
    feed_all(&mut session, &tokens);
    let mut seen = vec![session.logits().unwrap().to_vec()];
    for &i in order {
        let mut fresh = adapted.session(&sets[i]);
        feed_all(&mut fresh, &tokens);
        session.set_adapters(&sets[i]).unwrap();
        session.configure(options(8)).unwrap();
        let expected = fresh.logits().unwrap().to_vec();
        assert!(session.logits().unwrap() == expected, "{i} {name}");
        assert_eq!(generate(&mut session), generate(&mut fresh), "{i} {name}");
        session.truncate(tokens.len()).unwrap();
        if !seen.contains(&expected) {
            seen.push(expected);
        }
    }
    assert!(seen.len() > 2, "adapters matter: {name}");
}

#[test]
fn attaching_and_detaching_is_as_starting_anew() {
    for (name, case) in named() {
        let adapted = Adapted::of(&case.file(Matrices::Q8_0));
        attach_and_detach(&adapted, &name, &[1, 3, 0]);
    }
    attach_and_detach(&tiny(), "tiny", &[3, 1, 0, 2, 2, 4, 0]);
}

/// Between two tokens of one answer, and with tokens that were computed ahead.
#[test]
fn an_answer_can_be_continued_with_other_adapters() {
    let adapted = tiny();
    let sets = adapted.sets();
    let mut session = adapted.session(&sets[1]);
    session.speculation.trust_all();
    feed_all(&mut session, &prompt(8).repeat(3));
    let mut tokens = prompt(8).repeat(3);
    for set in [3, 0, 1, 2] {
        session.set_adapters(&sets[set]).unwrap();
        session.configure(options(4)).unwrap();
        session.speculation.trust_all();
        let more = generate(&mut session);
        assert_eq!(more.len(), 4);
        let mut fresh = adapted.session(&sets[set]);
        feed_all(&mut fresh, &tokens);
        fresh.configure(options(4)).unwrap();
        assert_eq!(generate(&mut fresh), more, "{set}");
        tokens.extend(more);
        assert!(session.logits().unwrap() == fresh.logits().unwrap());
    }
}

#[test]
fn feeding_and_scoring_go_on_after_a_change() {
    let adapted = tiny();
    let [_, one, _, two, _] = &adapted.sets();
    let all = prompt(60);
    let mut session = adapted.session(one);
    feed_all(&mut session, &all[..50]);
    session.set_adapters(two).unwrap();
    let mut fresh = adapted.session(two);
    feed_all(&mut fresh, &all[..50]);
    assert_eq!(
        session.score(&all[50..]).unwrap(),
        fresh.score(&all[50..]).unwrap()
    );
    // Without asking for anything between.
    session.set_adapters(one).unwrap();
    session.set_adapters(&[]).unwrap();
    session.truncate(45).unwrap();
    feed_all(&mut session, &all[45..]);
    let mut plain = adapted.session(&[]);
    feed_all(&mut plain, &all);
    assert!(session.logits().unwrap() == plain.logits().unwrap());
}

#[test]
fn a_fork_keeps_the_adapters_and_its_original_may_change() {
    let adapted = tiny();
    let [_, one, _, two, _] = &adapted.sets();
    let mut session = adapted.session(one);
    feed_all(&mut session, &prompt(20));
    let mut copy = session.fork().unwrap();
    session.set_adapters(two).unwrap();
    for (session, set) in [(&mut copy, one), (&mut session, two)] {
        let mut fresh = adapted.session(set);
        feed_all(&mut fresh, &prompt(20));
        assert_eq!(generate(session), generate(&mut fresh));
    }
}

#[test]
fn a_state_restores_only_under_the_same_adapters() {
    let adapted = tiny();
    let sets = adapted.sets();
    for (i, set) in sets.iter().enumerate() {
        let mut original = adapted.session(set);
        feed_all(&mut original, &prompt(20));
        // Also of a session that was changed and has not been computed since.
        let mut changed = adapted.session(&sets[(i + 1) % sets.len()]);
        feed_all(&mut changed, &prompt(20));
        changed.set_adapters(set).unwrap();
        let states = [original.save().unwrap(), changed.save().unwrap()];
        let expected = generate(&mut original);
        for state in &states {
            for (j, other) in sets.iter().enumerate() {
                let mut session = adapted.session(other);
                feed_all(&mut session, &[1, 2, 3]);
                let restored = session.restore(state);
                if i == j {
                    restored.unwrap();
                    session.configure(options(8)).unwrap();
                    assert_eq!(generate(&mut session), expected);
                    continue;
                }
                let message = restored.unwrap_err().to_string();
                assert!(message.contains("other adapters"), "{i} {j}: {message}");
                assert_eq!(session.usage().context_used, 3, "nothing has changed");
            }
            for cut in [8, 39, 40, 44, 47] {
                assert!(adapted.session(set).restore(&state[..cut]).is_err());
            }
        }
    }
    // A state of a session without adapters is what it always was.
    let mut plain = adapted.session(&[]);
    feed_all(&mut plain, &prompt(20));
    assert!(plain.save().unwrap().starts_with(b"gustses3"));
}

#[test]
fn an_adapter_of_another_model_is_refused_and_nothing_changes() {
    let (adapted, other) = (tiny(), tiny());
    let [_, one, ..] = &adapted.sets();
    let mut session = adapted.session(one);
    feed_all(&mut session, &prompt(20));
    let expected = session.logits().unwrap().to_vec();
    let error = session.set_adapters(&other.sets()[1]).unwrap_err();
    assert!(error.to_string().contains("another model"), "{error}");
    let nan = [(Rc::clone(&adapted.adapters[0]), f32::NAN)];
    assert!(session.set_adapters(&nan).is_err());
    assert!(session.logits().unwrap() == expected);
}

#[test]
fn a_draft_model_proposes_without_adapters_and_changes_no_token() {
    let adapted = tiny();
    let [_, one, ..] = &adapted.sets();
    let answer = |has_draft: bool| {
        let mut session = adapted.session(one);
        if has_draft {
            session.set_draft_model(adapted.model.clone()).unwrap();
            session.speculation.trust_all();
        }
        feed_all(&mut session, &prompt(20));
        (generate(&mut session), session.usage().drafted)
    };
    let ((expected, _), (found, drafted)) = (answer(false), answer(true));
    assert_eq!(found, expected);
    assert!(drafted > 0);
}

#[test]
#[cfg(not(target_arch = "wasm32"))]
fn nothing_is_allocated_for_a_token_with_adapters() {
    let adapted = tiny();
    let mut session = adapted.session(&adapted.sets()[3]);
    session.configure(options(60)).unwrap();
    feed_all(&mut session, &prompt(3));
    session.next_token().unwrap();
    for _ in 0..50 {
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
