//! Text from stdin and from files.

use std::io::{self, Read};

use super::failure::Failure;

/// Reads all of stdin, which must be UTF-8.
pub(super) fn stdin_text() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file("reading", "stdin", &error))?;
    text("stdin", bytes)
}

/// Decodes the bytes of `name` as UTF-8. The error says where they stop being valid.
pub(super) fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[offset];
        Failure::failed(format!(
            "{name}: expected UTF-8 text, found byte 0x{byte:02x} at offset {offset}"
        ))
        .hint("convert the text to UTF-8 first, for example with iconv")
    })
}
