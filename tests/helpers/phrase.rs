//! Phrases in a story, whatever the current model tells.

/// Two words of `story` after `prompt` that are next to each other on one line, a few words in.
///
/// # Panics
///
/// If there are no such words.
pub(crate) fn phrase(story: &str, prompt: &str) -> String {
    let told = story.strip_prefix(prompt).unwrap_or(story);
    let words: Vec<_> = told.split_whitespace().skip(5).collect();
    let is_word = |word: &&str| word.len() > 2 && word.bytes().all(|b| b.is_ascii_alphabetic());
    let mut pairs = words.windows(2).filter(|pair| pair.iter().all(is_word));
    let phrase = pairs.find_map(|pair| Some(pair.join(" ")).filter(|pair| told.contains(pair)));
    phrase.unwrap_or_else(|| panic!("no two words in {story:?}"))
}

/// `story` with `mask` in place of `phrase`, ignoring case.
pub(crate) fn masked(story: &str, phrase: &str, mask: &str) -> String {
    let (mut rest, mut masked) = (story, String::new());
    while let Some(at) = find(rest, phrase) {
        masked += &rest[..at];
        masked += mask;
        rest = &rest[at + phrase.len()..];
    }
    masked + rest
}

/// Where `phrase` begins in `story`, ignoring case.
pub(crate) fn find(story: &str, phrase: &str) -> Option<usize> {
    story
        .to_ascii_lowercase()
        .find(&phrase.to_ascii_lowercase())
}
