//! Tests calls that are aborted at every point where that can happen: the session must be as it was before.

use std::cell::Cell;

use super::*;
use crate::model::Group;

/// A group of one that is cancelled at the checkpoint where the counter reaches zero.
#[derive(Clone, Default)]
struct Impatient(Rc<Cell<Option<usize>>>);

impl Group for Impatient {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>> {
        self.checkpoint().map(|()| part.to_vec())
    }

    fn checkpoint(&self) -> Result<()> {
        match self.0.get() {
            Some(0) => Err(Error::Aborted("cancelled".to_owned())),
            left => {
                self.0.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

/// Runs `work` on sessions prepared by `before`, cancelled at the first checkpoint, then at the second, and so on,
/// until it finishes before it is cancelled. After each cancellation, `work` must give the same result as without one.
/// Returns the number of checkpoints.
fn disturb<T: PartialEq + std::fmt::Debug>(
    before: impl Fn(&mut Session),
    work: impl Fn(&mut Session) -> Result<T>,
) -> usize {
    let file = test_model::model(&Shape::default());
    let group = Impatient::default();
    let model = Model::load(&file, Scope::Full, Mapping::Allowed, Rc::new(group.clone()));
    let model = Rc::new(model.unwrap());
    let begin = || {
        let mut session = Session::new(model.clone(), SessionOptions::default()).unwrap();
        session.configure(options(5)).unwrap();
        before(&mut session);
        session
    };
    let state = |mut session: Session| {
        let usage = session.usage();
        (
            usage,
            generate(&mut session),
            session.logits().unwrap().to_vec(),
        )
    };
    let mut undisturbed = begin();
    let expected = work(&mut undisturbed).unwrap();
    let expected = (expected, state(undisturbed));
    for checkpoints in 0.. {
        let mut session = begin();
        let usage = session.usage();
        group.0.set(Some(checkpoints));
        let outcome = work(&mut session);
        group.0.set(None);
        let Err(error) = outcome else {
            assert_eq!((outcome.unwrap(), state(session)), expected);
            return checkpoints;
        };
        assert_eq!(error, Error::Aborted("cancelled".to_owned()));
        assert_eq!(session.usage(), usage);
        let again = work(&mut session).unwrap();
        assert_eq!(
            (again, state(session)),
            expected,
            "checkpoint {checkpoints}"
        );
    }
    unreachable!("it finishes eventually")
}

fn fed(tokens: u32) -> impl Fn(&mut Session) {
    move |session| feed_all(session, &prompt(tokens))
}

#[test]
fn feeding() {
    // Five in each of two layers.
    assert_eq!(disturb(fed(0), |session| session.feed(&prompt(9))), 10);
    assert_eq!(disturb(fed(3), |session| session.feed(&prompt(9))), 10);
}

#[test]
fn scoring() {
    // One more for the logits of each token.
    assert!(disturb(fed(0), |session| session.score(&prompt(9))) > 10);
    assert!(disturb(fed(5), |session| session.score(&prompt(9))) > 10);
}

#[test]
fn the_next_token() {
    assert_eq!(disturb(fed(4), Session::next_token), 1);
    let answering = |session: &mut Session| {
        fed(4)(session);
        session.next_token().unwrap();
    };
    assert_eq!(disturb(answering, Session::next_token), 11);
    assert_eq!(disturb(answering, |session| session.feed(&prompt(2))), 10);
}
