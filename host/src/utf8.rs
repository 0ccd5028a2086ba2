//! Bytes to text, a piece at a time.
//!
//! Tokens are bytes, and a character may span two of them. The stream returns only whole characters and keeps the
//! beginning of a split one for the next piece. Bytes that can never become a character come out as U+FFFD, one for
//! each maximal part, exactly as `String::from_utf8_lossy` does it for the whole text at once.

/// Turns pieces of bytes into whole characters.
///
/// ```
/// let mut stream = gust::Utf8Stream::new();
/// assert_eq!(stream.push(b"caf\xc3"), "caf");
/// assert_eq!(stream.push(b"\xa9!"), "é!");
/// assert_eq!(stream.finish(), "");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// The beginning of a character whose end has not arrived: at most three bytes.
    held: Vec<u8>,
}

impl Utf8Stream {
    /// A stream that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `bytes` and returns the characters that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[length..];
                        }
                        // The beginning of a character: its end may follow.
                        None => break,
                    }
                }
            }
        }
        let kept = rest.len();
        self.held.drain(..self.held.len() - kept);
        text
    }

    /// Returns what is still held back, with U+FFFD for a character that was never completed.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are split into pieces, the result is what the standard library gives for all of them at once.
    #[test]
    fn every_cut_gives_the_text_of_the_whole() {
        let texts: [&[u8]; 8] = [
            b"",
            b"plain",
            "é – 🦀 – 語".as_bytes(),
            b"\xff\xfe",
            b"a\xf0\x9f\xa6",
            b"\xf0\x9fx\xf0\x9f\xa6\x80",
            b"\xed\xa0\x80 surrogate",
            b"\xc0\xaf overlong \xe2\x82",
        ];
        for text in texts {
            let whole = String::from_utf8_lossy(text);
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut stream = Utf8Stream::new();
                    let mut pieces = stream.push(&text[..first]);
                    pieces += &stream.push(&text[first..second]);
                    pieces += &stream.push(&text[second..]);
                    pieces += &stream.finish();
                    assert_eq!(pieces, whole, "cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_whole_character_is_never_held_back() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push("🦀".as_bytes()), "🦀");
        assert_eq!(stream.push(b"\xf0\x9f\xa6"), "");
        assert_eq!(stream.push(b"\x80"), "🦀");
        assert_eq!(stream.finish(), "");
    }
}
