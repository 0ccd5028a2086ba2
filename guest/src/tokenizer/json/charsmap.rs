//! The normalisation of a `Precompiled` part: a double array of SentencePiece's. The crate's search in it trusts its
//! indices, so all that a text can lead to are followed here first.

use serde_json::Value;

use crate::error::{Result, invalid_model, unsupported};
use crate::pulse::work;

/// The largest one, in bytes. SentencePiece's largest has 330 kB.
const MAX_LEN: usize = 4 << 20;
/// The longest text that a character becomes, in bytes. In SentencePiece's, that has 33.
const MAX_TEXT: usize = 128;

/// # Errors
/// `invalid-model` for one that leads out of its lists.
pub(super) fn check(value: Option<&Value>) -> Result<()> {
    let wrong =
        |expected: &str, found: String| invalid_model("precompiled_charsmap", expected, found);
    let text = value.and_then(Value::as_str);
    let text = text.ok_or_else(|| wrong("a text in base64", "none".to_owned()))?;
    if text.len() > MAX_LEN {
        let expected = format!("at most {MAX_LEN} bytes");
        return Err(unsupported("precompiled_charsmap", expected, text.len()));
    }
    let bytes = base64::decode(text);
    let bytes = bytes.map_err(|error| wrong("a text in base64", error.to_string()))?;
    let short = || wrong("an array and its texts", format!("{} bytes", bytes.len()));
    let (size, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let size = u32::from_le_bytes(*size) as usize / 4 * 4;
    let (array, texts) = rest.split_at_checked(size).ok_or_else(short)?;
    let array: Vec<_> = array
        .as_chunks()
        .0
        .iter()
        .map(|unit| u32::from_le_bytes(*unit))
        .collect();
    let texts = std::str::from_utf8(texts);
    let texts = texts.map_err(|error| wrong("texts in UTF-8", error.to_string()))?;
    follow(&array, texts).map_err(|at| {
        let found = format!("one that leads out of it at {at}");
        wrong("a double array", found)
    })
}

/// Follows every path. The error is the unit from which one leads out.
fn follow(array: &[u32], texts: &str) -> Result<(), usize> {
    let offset = |unit: u32| (unit as usize >> 10) << ((unit & 1 << 9) >> 6);
    let root = array.first().ok_or(0_usize)?;
    let mut seen = vec![false; array.len()];
    let mut waiting = vec![offset(*root)];
    while let Some(from) = waiting.pop() {
        // Where a byte leads differs from here in the last eight bits.
        if from | 0xFF >= array.len() {
            return Err(from);
        }
        if std::mem::replace(&mut seen[from], true) {
            continue;
        }
        work(255);
        for byte in 1..=255 {
            let unit = array[from ^ byte];
            // The label, and the bit that says that it is none.
            if unit & (1 << 31 | 0xFF) != byte as u32 {
                continue;
            }
            let to = from ^ byte ^ offset(unit);
            let has_value = unit >> 8 & 1 == 1;
            if has_value {
                let value = array.get(to).ok_or(to)?;
                let start = (value & !(1 << 31)) as usize;
                let text = texts.get(start..).ok_or(to)?;
                if text
                    .bytes()
                    .take_while(|byte| *byte != 0)
                    .take(MAX_TEXT + 1)
                    .count()
                    > MAX_TEXT
                {
                    return Err(to);
                }
            }
            waiting.push(to);
        }
    }
    Ok(())
}
