//! Properties that hold for every dialect.

use super::line::LineRequest;
use super::session::{Parsed, Request};
use super::{datagram, framed, line, session};
use crate::name::Name;

/// The bytes that a name may contain.
const NAME: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
/// The bytes that a name for `!register` may contain.
const REGISTRABLE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Returns whether a dialect's parser accepts this name and leaves it unchanged.
type GetsThrough = fn(&[u8]) -> bool;

const DIALECTS: [(&str, &[u8], GetsThrough); 5] = [
    ("line", NAME, |name| {
        let request = [b"store;", name, b";", name, b";x"].concat();
        let Ok(LineRequest::Store {
            to,
            from,
            body: b"x",
        }) = line::parse(&request, 10)
        else {
            return false;
        };
        to.as_bytes() == name && from.as_bytes() == name
    }),
    ("session", NAME, |name| {
        let request = [b"LOOKUP ", name, b"\n"].concat();
        let parsed = session::decode_request(&request, 10);
        matches!(parsed, Parsed::Request(Request::Lookup(of), _) if of.as_bytes() == name)
    }),
    ("framed, the header of a message", NAME, |name| {
        let (from, _) = framed::decode_message(&[name, b" (msg offline)>\nx\n"].concat());
        from.is_some_and(|from| from.as_bytes() == name)
    }),
    ("framed, !register", REGISTRABLE, |name| {
        Name::new(name).is_ok_and(|name| framed::is_registrable(&name))
    }),
    ("datagram", NAME, |name| {
        let bytes = [name, b" (Instat Msg)>\nx\n\0"].concat();
        let decoded = datagram::decode(&bytes);
        matches!(decoded, Ok(datagram::Datagram::Text { from, .. }) if from.as_bytes() == name)
    }),
];

#[test]
fn each_dialect_takes_the_names_of_its_list_and_no_others() {
    for (dialect, allowed, gets_through) in DIALECTS {
        for byte in 0..=u8::MAX {
            let name = [b"ab", &[byte][..], b"cd"].concat();
            assert_eq!(
                gets_through(&name),
                allowed.contains(&byte),
                "{dialect}: {}",
                name.escape_ascii()
            );
        }
    }
}
