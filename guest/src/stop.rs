//! Stop texts: an answer's text passes through up to the first complete stop text, and text that might become one is
//! held back.

/// The text of one answer on its way out.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopFilter {
    stops: Vec<Vec<u8>>,
    /// A proper prefix of a stop text; if several fit, the longest.
    held: Vec<u8>,
}

/// What some more bytes made final.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// These bytes come next.
    Bytes(Vec<u8>),
    /// These bytes precede a stop text, and nothing comes after it.
    Stopped(Vec<u8>),
}

impl StopFilter {
    pub(crate) fn new(stops: Vec<Vec<u8>>) -> Self {
        Self {
            stops,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes of the text.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Passed {
        self.held.extend_from_slice(bytes);
        if let Some(at) = self.first_stop() {
            self.held.truncate(at);
            return Passed::Stopped(self.flush());
        }
        let certain = (0..self.held.len())
            .find(|&at| {
                self.stops
                    .iter()
                    .any(|stop| stop.starts_with(&self.held[at..]))
            })
            .unwrap_or(self.held.len());
        let held = self.held.split_off(certain);
        Passed::Bytes(std::mem::replace(&mut self.held, held))
    }

    /// The start of the stop text that is complete first; if several end at the same place, of the longest.
    fn first_stop(&self) -> Option<usize> {
        let begins = |end: usize| {
            let ending = self
                .stops
                .iter()
                .filter(move |stop| self.held[..end].ends_with(stop));
            ending.map(move |stop| end - stop.len()).min()
        };
        (1..=self.held.len()).find_map(begins)
    }

    /// The text has ended: what was held back is not a stop text.
    pub(crate) fn flush(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(stops: &[&str]) -> StopFilter {
        StopFilter::new(stops.iter().map(|stop| stop.as_bytes().to_vec()).collect())
    }

    #[test]
    fn without_stops_everything_passes_at_once() {
        let mut filter = filter(&[]);
        assert_eq!(filter.push(b"abc"), Passed::Bytes(b"abc".to_vec()));
        assert!(filter.flush().is_empty());
    }

    #[test]
    fn holds_back_what_might_become_a_stop() {
        let mut filter = filter(&["END", "DONE"]);
        assert_eq!(filter.push(b"the E"), Passed::Bytes(b"the ".to_vec()));
        assert_eq!(filter.push(b"N"), Passed::Bytes(Vec::new()));
        assert_eq!(filter.push(b"D"), Passed::Stopped(Vec::new()));
    }

    #[test]
    fn lets_go_what_did_not_become_one() {
        let mut filter = filter(&["aab"]);
        assert_eq!(filter.push(b"a"), Passed::Bytes(Vec::new()));
        assert_eq!(filter.push(b"a"), Passed::Bytes(Vec::new()));
        assert_eq!(filter.push(b"a"), Passed::Bytes(b"a".to_vec()));
        assert_eq!(filter.push(b"b!"), Passed::Stopped(Vec::new()));
        assert_eq!(filter.push(b"xa"), Passed::Bytes(b"x".to_vec()));
        assert_eq!(filter.flush(), b"a");
    }

    #[test]
    fn the_first_of_several_counts() {
        let mut filter = filter(&["world", "lo"]);
        assert_eq!(
            filter.push(b"hello world"),
            Passed::Stopped(b"hel".to_vec())
        );
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab]{0,30}", cuts in prop::collection::vec(1usize..4, 30)) {
            let stops = ["abba", "bb"];
            let ends = stops.iter().filter_map(|stop| Some((text.find(stop)? + stop.len(), stop)));
            let whole = ends.min().map(|(end, stop)| end - stop.len());
            let expected = &text[..whole.unwrap_or(text.len())];
            let mut filter = filter(&stops);
            let (mut out, mut rest, mut stopped) = (Vec::new(), text.as_bytes(), false);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                match filter.push(piece) {
                    Passed::Bytes(bytes) => out.extend(bytes),
                    Passed::Stopped(bytes) => {
                        out.extend(bytes);
                        stopped = true;
                        break;
                    }
                }
            }
            out.extend(filter.flush());
            prop_assert_eq!(stopped, whole.is_some());
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
