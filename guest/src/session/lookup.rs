//! Prompt lookup: if the last tokens occurred before, what followed them then may follow again. Source: Saxena, 2023.

use super::speculation::Guess;

/// A single token says little about what follows it.
const MIN_MATCH: usize = 2;
/// Longer matches are no better predictors.
const MAX_MATCH: usize = 16;

/// An earlier occurrence of the last tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The position of the tokens that followed it.
    from: usize,
    /// How many tokens match.
    length: usize,
}

/// The longest earlier occurrence of the last tokens; among several of the same length, the latest.
pub(super) fn find(tokens: &[u32]) -> Option<Found> {
    let mut best = None;
    let mut longest = MIN_MATCH - 1;
    for from in (1..tokens.len()).rev() {
        let length = common_ending(&tokens[..from], tokens);
        if length > longest {
            longest = length;
            best = Some(Found { from, length });
            if length == MAX_MATCH {
                break;
            }
        }
    }
    best
}

/// How many tokens the ends of both have in common, up to [`MAX_MATCH`].
fn common_ending(a: &[u32], b: &[u32]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take(MAX_MATCH).take_while(|(a, b)| a == b).count()
}

impl Found {
    /// The token that followed then, after `guesses`. At the end of `tokens` it continues with the guesses themselves,
    /// so that a text that goes in circles can be followed. If the guesses are right, the match grows by as many
    /// tokens.
    pub(super) fn guess(&self, tokens: &[u32], guesses: &[Guess]) -> Guess {
        let at = self.from + guesses.len();
        let id = match tokens.get(at) {
            Some(&token) => token,
            None => guesses[at - tokens.len()].id,
        };
        let class = match self.length + guesses.len() {
            0..=2 => 0,
            3 => 1,
            4..=5 => 2,
            6..=8 => 3,
            9..=15 => 4,
            _ => 5,
        };
        Guess { id, class }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(tokens: &[u32], count: usize) -> Vec<u32> {
        let Some(found) = find(tokens) else {
            return Vec::new();
        };
        let mut guesses = Vec::new();
        for _ in 0..count {
            guesses.push(found.guess(tokens, &guesses));
        }
        guesses.iter().map(|guess| guess.id).collect()
    }

    #[test]
    fn what_followed_then_is_guessed() {
        let tokens = [1, 2, 3, 4, 5, 9, 1, 2, 3];
        assert_eq!(guesses(&tokens, 2), [4, 5]);
        assert_eq!(guesses(&tokens, 5), [4, 5, 9, 1, 2]);
        let found = find(&tokens).unwrap();
        assert_eq!((found.from, found.length), (3, 3));
    }

    #[test]
    fn too_little_in_common_is_not_found() {
        assert_eq!(find(&[1, 2, 3, 4, 5, 9, 8, 7, 3]), None);
        assert_eq!(find(&[1, 2, 3]), None);
        assert_eq!(find(&[1]), None);
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn longer_comes_before_later_and_later_before_earlier() {
        let tokens = [7, 1, 2, 3, 5, 1, 2, 3, 6, 7, 1, 2, 3];
        assert_eq!(guesses(&tokens, 1), [5], "four in common");
        let tokens = [1, 2, 3, 5, 1, 2, 3, 6, 8, 1, 2, 3];
        assert_eq!(guesses(&tokens, 1), [6], "the latest of three");
    }

    #[test]
    fn circles_are_followed_round() {
        assert_eq!(guesses(&[4, 4, 4, 4], 3), [4, 4, 4]);
        let tokens = [1, 2, 3, 1, 2, 3, 1, 2];
        assert_eq!(guesses(&tokens, 7), [3, 1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn guesses_are_surer_the_longer_the_match() {
        let tokens: Vec<u32> = (0..40).chain(0..2).collect();
        let found = find(&tokens).unwrap();
        let mut guesses = Vec::new();
        for _ in 0..16 {
            guesses.push(found.guess(&tokens, &guesses));
        }
        let classes: Vec<usize> = guesses.iter().map(|guess| guess.class).collect();
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5]);
    }
}
