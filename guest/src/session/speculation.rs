//! Speculative decoding: tokens that are likely to come next are proposed and computed in one batch with the last
//! token, which reads the weights only once. Sources: Leviathan et al., 2023 (draft models); Saxena, 2023 (prompt
//! lookup).
//!
//! Proposals do not change the answer. The sampler still chooses each token from the logits after all tokens before it;
//! a proposal only means that these logits already exist. They have the same bits in any batch. Once a chosen token
//! differs from the proposal, everything computed after it is dropped.
//!
//! How many tokens are proposed depends only on tokens and logits, so all members of a group make the same decision.

use super::draft::Draft;
use super::lookup;
use crate::error::{Result, invalid_argument};
use crate::limits::MAX_PROPOSED;
use crate::model::BATCH;
use crate::sampler::Sampler;

// Together with the last token, what is proposed is a batch.
const _: () = assert!(MAX_PROPOSED < BATCH as u32);
/// The default limit. Higher ones gained nothing where they were tried.
const DEFAULT_PROPOSED: u32 = 7;
/// A token is proposed if its estimated probability is at least this. A wrong proposal costs two fifths of the time of
/// a token (`gust bench`, one thread, TinyLlama in Q4_0), and a right one saves all of it.
const PAYS: f32 = 0.5;

/// The most tokens proposed at a time. 0 proposes none.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpeculationOptions {
    /// By prompt lookup. Default: 7.
    pub lookup: Option<u32>,
    /// By the draft model, if the session has one. Default: 7.
    pub draft: Option<u32>,
}

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) id: u32,
    /// The confidence class, from 0 to `CLASSES - 1` (see [`Guess::CLASSES`]).
    pub(super) class: usize,
}

impl Guess {
    pub(super) const CLASSES: usize = 6;
}

/// The proposed tokens and their source.
#[derive(Clone)]
pub(super) struct Speculation {
    /// The guesses for the tokens after the last one that was computed without a proposal.
    guesses: Vec<Guess>,
    /// How many of them are proposed. The rest, at most one, is only watched.
    proposed: usize,
    /// How many of them have been chosen, and so are also in the sequence.
    confirmed: usize,
    /// Whether the guesses come from the draft model; otherwise they come from the lookup.
    by_draft: bool,
    /// The lookup's guess, if the draft model was asked because the lookup was not confident enough.
    passed_over: Option<Guess>,
    /// [`PAYS`], except in tests.
    pays: f32,
    lookup: Source,
    draft: Source,
}

#[derive(Clone)]
struct Source {
    /// The most tokens that it may propose at a time.
    most: usize,
    odds: Odds,
}

impl Speculation {
    pub(super) fn new(options: SpeculationOptions) -> Result<Self> {
        let source = |name: &str, most: Option<u32>| match most.unwrap_or(DEFAULT_PROPOSED) {
            most @ 0..=MAX_PROPOSED => Ok(Source {
                most: most as usize,
                odds: Odds::new(),
            }),
            most => Err(invalid_argument(name, format!("0 to {MAX_PROPOSED}"), most)),
        };
        Ok(Self {
            guesses: Vec::with_capacity(BATCH),
            proposed: 0,
            confirmed: 0,
            by_draft: false,
            passed_over: None,
            pays: PAYS,
            lookup: source("lookup", options.lookup)?,
            draft: source("draft-max", options.draft)?,
        })
    }

    /// The most tokens that are proposed at a time.
    pub(super) fn most(&self, has_draft: bool) -> usize {
        let draft = if has_draft { self.draft.most } else { 0 };
        self.lookup.most.max(draft)
    }

    /// Proposes at most `room` tokens to follow `tokens`. Nothing may be proposed yet.
    ///
    /// # Errors
    /// `aborted`; then nothing is proposed.
    pub(super) fn propose(
        &mut self,
        tokens: &[u32],
        room: usize,
        draft: Option<&mut Draft>,
        sampler: &Sampler,
    ) -> Result<()> {
        self.look_up(tokens, room);
        if let Some(draft) = draft.filter(|_| self.proposed == 0 && room > 0) {
            let asked = self.ask(draft, tokens, room, sampler);
            if asked.is_err() {
                self.forget();
            }
            return asked;
        }
        Ok(())
    }

    fn look_up(&mut self, tokens: &[u32], room: usize) {
        let room = room.min(self.lookup.most);
        if room == 0 {
            return;
        }
        self.by_draft = false;
        let mut chance = 1.0;
        if let Some(found) = lookup::find(tokens) {
            while self.add(found.guess(tokens, &self.guesses), &mut chance, room) {}
        }
    }

    fn ask(
        &mut self,
        draft: &mut Draft,
        tokens: &[u32],
        room: usize,
        sampler: &Sampler,
    ) -> Result<()> {
        let room = room.min(self.draft.most);
        if room == 0 || !draft.begin(tokens, sampler)? {
            return Ok(());
        }
        self.passed_over = self.guesses.first().copied();
        self.guesses.clear();
        self.by_draft = true;
        let mut chance = 1.0;
        while let Some(guess) = draft.guess()? {
            if !self.add(guess, &mut chance, room) {
                break;
            }
        }
        Ok(())
    }

    /// Adds the next guess, and proposes it if that pays off. Returns whether there may be more. `chance` is the
    /// probability that all guesses before it are right.
    fn add(&mut self, guess: Guess, chance: &mut f32, room: usize) -> bool {
        self.guesses.push(guess);
        *chance *= self.source().odds.of(guess.class);
        let is_proposed = *chance >= self.pays && self.proposed < room;
        self.proposed += usize::from(is_proposed);
        is_proposed
    }

    /// Proposes every guess, however unlikely.
    #[cfg(test)]
    pub(super) fn trust_all(&mut self) {
        self.pays = 0.0;
    }

    fn source(&mut self) -> &mut Source {
        match self.by_draft {
            true => &mut self.draft,
            false => &mut self.lookup,
        }
    }

    /// Proposes nothing from the first token for which `is_end` holds, because nothing follows it.
    pub(super) fn cut_at(&mut self, is_end: impl Fn(u32) -> bool) {
        let ids = self.guesses[..self.proposed].iter();
        if let Some(end) = ids.map(|guess| guess.id).position(is_end) {
            self.proposed = end;
        }
    }

    /// The tokens that are proposed and have not been chosen yet.
    pub(super) fn ahead(&self) -> impl ExactSizeIterator<Item = u32> {
        let ahead = &self.guesses[self.confirmed..self.proposed];
        ahead.iter().map(|guess| guess.id)
    }

    /// Records which token was chosen, and returns whether it was proposed.
    pub(super) fn confirm(&mut self, id: u32) -> bool {
        if let Some(guess) = self.passed_over.take() {
            self.lookup.odds.learn(guess.class, guess.id == id);
        }
        let Some(guess) = self.guesses.get(self.confirmed).copied() else {
            return false;
        };
        let is_right = guess.id == id;
        self.source().odds.learn(guess.class, is_right);
        let is_proposed = is_right && self.confirmed < self.proposed;
        self.confirmed += usize::from(is_proposed);
        is_proposed
    }

    /// Forgets all guesses.
    pub(super) fn forget(&mut self) {
        self.guesses.clear();
        self.passed_over = None;
        (self.proposed, self.confirmed) = (0, 0);
    }
}

/// How often guesses of each class are right, learned from earlier guesses. A guess that is not proposed is still
/// compared with the chosen token, which costs no computation. So text that does not repeat itself costs nothing, and
/// repetition is noticed when it starts.
#[derive(Clone)]
struct Odds([Record; Guess::CLASSES]);

#[derive(Clone, Copy)]
struct Record {
    right: f32,
    all: f32,
}

impl Odds {
    /// The prior weighs as much as this many guesses.
    const PRIOR: f32 = 4.0;
    /// After this many guesses, the weight of all of them is halved.
    const MEMORY: f32 = 64.0;

    fn new() -> Self {
        Self(std::array::from_fn(|class| Record {
            right: Self::PRIOR * (class + 1) as f32 / (Guess::CLASSES + 1) as f32,
            all: Self::PRIOR,
        }))
    }

    fn of(&self, class: usize) -> f32 {
        self.0[class].right / self.0[class].all
    }

    fn learn(&mut self, class: usize, is_right: bool) {
        let Record { right, all } = &mut self.0[class];
        *right += if is_right { 1.0 } else { 0.0 };
        *all += 1.0;
        if *all >= Self::MEMORY {
            *right /= 2.0;
            *all /= 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_follow_what_happens() {
        let mut odds = Odds::new();
        assert!((1..Guess::CLASSES).all(|class| odds.of(class) > odds.of(class - 1)));
        for _ in 0..500 {
            odds.learn(0, true);
            odds.learn(5, false);
        }
        assert!(odds.of(0) > 0.99 && odds.of(5) < 0.01);
        for _ in 0..64 {
            odds.learn(5, true);
        }
        assert!(odds.of(5) > PAYS, "what was long ago counts less");
    }

    #[test]
    fn what_never_comes_is_soon_watched_only() {
        let mut speculation = Speculation::new(SpeculationOptions::default()).unwrap();
        let tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3];
        let mut proposed = 0;
        for _ in 0..100 {
            speculation.look_up(&tokens, 7);
            proposed += speculation.ahead().len();
            assert!(!speculation.confirm(8));
            speculation.forget();
        }
        assert!(proposed <= 7, "{proposed}");
        for _ in 0..100 {
            speculation.look_up(&tokens, 7);
            proposed += speculation.ahead().len();
            speculation.confirm(4);
            speculation.forget();
        }
        assert!(proposed > 30, "{proposed}");
    }

    #[test]
    fn a_proposal_is_followed_as_long_as_it_is_right() {
        let mut speculation = Speculation::new(SpeculationOptions::default()).unwrap();
        let tokens: Vec<u32> = (0..20).chain(0..10).collect();
        speculation.trust_all();
        speculation.look_up(&tokens, 3);
        assert_eq!(speculation.ahead().collect::<Vec<_>>(), [10, 11, 12]);
        assert!(speculation.confirm(10) && speculation.confirm(11));
        assert_eq!((speculation.confirmed, speculation.ahead().len()), (2, 1));
        assert!(!speculation.confirm(7));
        speculation.forget();
        speculation.look_up(&tokens, 7);
        speculation.cut_at(|id| id == 11);
        assert_eq!(speculation.ahead().collect::<Vec<_>>(), [10]);
        assert!(speculation.confirm(10));
        assert!(!speculation.confirm(11), "right, but not computed");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for wrong in [MAX_PROPOSED + 1, u32::MAX] {
            for options in [(Some(wrong), None), (None, Some(wrong))] {
                let (lookup, draft) = options;
                assert!(Speculation::new(SpeculationOptions { lookup, draft }).is_err());
            }
        }
    }
}
