//! Escapes control characters in message bodies, for dialects whose clients print bodies to a terminal unfiltered.

/// Appends `body`. Control characters other than tab and newline become `\xNN`; `indent` follows each newline.
pub(super) fn encode(out: &mut Vec<u8>, body: &[u8], indent: &[u8]) {
    for chunk in body.utf8_chunks() {
        encode_text(out, chunk.valid(), indent);
        for &byte in chunk.invalid() {
            // Outside a UTF-8 sequence, 0x80 to 0x9f are C1 control characters.
            encode_byte(out, byte, byte < 0xa0);
        }
    }
}

fn encode_text(out: &mut Vec<u8>, text: &str, indent: &[u8]) {
    for char in text.chars() {
        let hidden = char.is_control() && !matches!(char, '\t' | '\n');
        for &byte in char.encode_utf8(&mut [0; 4]).as_bytes() {
            encode_byte(out, byte, hidden);
        }
        if char == '\n' {
            out.extend_from_slice(indent);
        }
    }
}

fn encode_byte(out: &mut Vec<u8>, byte: u8, hidden: bool) {
    if hidden {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ];
        out.extend_from_slice(b"\\x");
        out.extend_from_slice(&digits);
    } else {
        out.push(byte);
    }
}
