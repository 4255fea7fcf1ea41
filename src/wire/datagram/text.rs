//! The text form of datagrams, from an older client: `SENDER (Instat Msg)>`, a newline, the text, a newline and a NUL. The
//! misspelling is part of the protocol.

use super::form::{Malformed, Unfit};
use crate::name::Name;
use crate::wire::framed::{INSTANT_MARK, looks_like_header};

/// The longest datagram of the text form, in bytes, NUL included.
const MOST_TEXT_BYTES: usize = 1_023;

/// Decodes a datagram of the text form into its sender, unverified, and the text, which is not empty.
pub(super) fn decode(bytes: &[u8]) -> Result<(Name, &[u8]), Malformed> {
    if bytes.len() > MOST_TEXT_BYTES {
        return Err(Malformed::TooLong);
    }
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let text = &bytes[..end];
    let line = memchr::memchr(b'\n', text).ok_or(Malformed::Form)?;
    let from = text[..line]
        .strip_suffix(INSTANT_MARK)
        .ok_or(Malformed::Form)?;
    let from = Name::new(from)?;
    let body = &text[line + 1..];
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    Ok((from, body))
}

/// Encodes a message in the text form. A tab precedes each body line that a reader could take for a header.
///
/// # Errors
/// When the message is empty, too long or contains a NUL. In the last two cases it must go through the server.
pub(crate) fn encode_text(from: &Name, body: &[u8]) -> Result<Vec<u8>, Unfit> {
    if body.is_empty() {
        return Err(Unfit::Empty);
    }
    if body.contains(&0) {
        return Err(Unfit::Nul);
    }
    if body.len() > MOST_TEXT_BYTES {
        return Err(Unfit::TooLong);
    }
    let mut bytes = [from.as_bytes(), INSTANT_MARK, b"\n"].concat();
    for line in body.split(|&b| b == b'\n') {
        if looks_like_header(line) {
            bytes.push(b'\t');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes.push(0);
    if bytes.len() > MOST_TEXT_BYTES {
        return Err(Unfit::TooLong);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::name::NameError;

    fn n(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    #[test]
    fn the_text_form_is_these_bytes() {
        let bytes = encode_text(&n("al"), b"hi").expect("fits");
        assert_eq!(bytes, b"al (Instat Msg)>\nhi\n\0");
        let text = |body: &'static [u8]| Ok((n("al"), body));
        for same in [
            &bytes[..],
            b"al (Instat Msg)>\nhi\n",
            b"al (Instat Msg)>\nhi",
            b"al (Instat Msg)>\nhi\0junk",
        ] {
            assert_eq!(decode(same), text(b"hi"));
        }
        assert_eq!(decode(b"al (Instat Msg)>\na\n\nb\n\n"), text(b"a\n\nb\n"));
    }

    #[test]
    fn body_lines_are_not_taken_for_headers() {
        let bytes =
            encode_text(&n("al"), b"x\nbob (Instat Msg)>\n\tc (Instat Msg)>").expect("fits");
        assert_eq!(
            bytes,
            b"al (Instat Msg)>\nx\n\tbob (Instat Msg)>\n\tc (Instat Msg)>\n\0"
        );
        let first = encode_text(&n("al"), b"bob (msg offline)> ").expect("fits");
        assert_eq!(first, b"al (Instat Msg)>\n\tbob (msg offline)> \n\0");
    }

    #[test]
    fn oversized_messages_are_refused_and_not_truncated() {
        let body = [b'x'; MOST_TEXT_BYTES];
        let room = MOST_TEXT_BYTES - encode_text(&n("al"), b"x").expect("fits").len() + 1;
        assert!(encode_text(&n("al"), &body[..room]).is_ok());
        assert_eq!(
            encode_text(&n("al"), &body[..room + 1]),
            Err(Unfit::TooLong)
        );
        assert_eq!(encode_text(&n("al"), b"a\0b"), Err(Unfit::Nul));
        assert_eq!(encode_text(&n("al"), b""), Err(Unfit::Empty));
    }

    #[test]
    fn junk_is_refused() {
        for (junk, why) in [
            (&b""[..], Malformed::Form),
            (b"hello", Malformed::Form),
            (b"al (Instat Msg)>", Malformed::Form),
            (b"al (Instat Msg)>\n\n", Malformed::Empty),
            (b"al (Instat Msg)>\n\0hidden", Malformed::Empty),
            (
                b"a b (Instat Msg)>\nx",
                Malformed::Name(NameError::Character),
            ),
            (&[b'x'; MOST_TEXT_BYTES + 1], Malformed::TooLong),
        ] {
            assert_eq!(decode(junk), Err(why), "{}", junk.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_text_form_is_decoded_as_it_was_encoded(
            from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}", body in prop::collection::vec(1..=255u8, 1..900),
        ) {
            let bytes = encode_text(&n(&from), &body).expect("fits");
            prop_assert_eq!(bytes.last(), Some(&0));
            let from = n(&from);
            prop_assert_eq!(decode(&bytes), Ok((from, &body[..])));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
            let _ = decode(&bytes);
            let _ = decode(&[b"al (Instat Msg)>\n", &bytes[..]].concat());
        }
    }
}
