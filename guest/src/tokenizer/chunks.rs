//! The tokenizer of llama.cpp's test models (`tokenizer.ggml.model` is `test`): every five bytes are a token, whose number is
//! a hash of them. A token stands for its number in hexadecimal.

/// Bytes per token.
const CHUNK: usize = 5;

/// Appends the tokens of `text`, of a vocabulary of `n` tokens.
pub(super) fn encode(n: u32, text: &str, tokens: &mut Vec<u32>) {
    let token = |chunk: &[u8]| {
        let step = |hash: u64, &byte: &u8| 31 * hash + u64::from(byte);
        // Five bytes give less than 2^33.
        (chunk.iter().fold(0, step) % u64::from(n)) as u32
    };
    tokens.extend(text.as_bytes().chunks(CHUNK).map(token));
}

/// Appends what a token stands for.
pub(super) fn append_bytes(id: u32, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("{id:x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: the definition, by hand.
    #[test]
    fn five_bytes_are_a_token() {
        let mut tokens = Vec::new();
        encode(128, "abcdefg", &mut tokens);
        let first = (((97 * 31 + 98) * 31 + 99) * 31 + 100) * 31 + 101;
        assert_eq!(tokens, [first % 128, (102 * 31 + 103) % 128]);
        let mut bytes = Vec::new();
        append_bytes(127, &mut bytes);
        assert_eq!(bytes, b"7f");
    }
}
