//! What a client has said, as requests: where each begins, and what is wrong with it.

use std::net::IpAddr;

use super::{Code, Request, VERSION, first_line};
use crate::message::MessageId;
use crate::name::Name;

/// How many bytes of a body that is too long the server still reads, to find the next request.
const LONGEST_SKIP: usize = 64 << 20;
/// How far into the future a message can expire, in seconds: a hundred years.
pub(crate) const LONGEST_TTL: u64 = 100 * 366 * 24 * 3_600;

/// What the bytes that a client has sent begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A part of a request.
    Incomplete,
    /// A request, and how many bytes it has.
    Request(Request<'a>, usize),
    /// Something wrong. The next request begins so many bytes from here, which may not all have come yet.
    Wrong(Code, String, usize),
    /// Something wrong, and nobody can tell where the next request begins.
    Lost(Code, String),
}

/// A request that is wrong.
type Wrong = (Code, String);

/// What `received` begins with, from a client of a server that takes bodies of `max_body` bytes.
pub(crate) fn decode_request(received: &[u8], max_body: usize) -> Parsed<'_> {
    let (line, end) = match first_line(received) {
        Ok(Some((Ok(line), end))) => (line, end),
        // A body could follow a SEND like this one, of which nobody knows how long it is.
        Ok(Some((Err(what), end))) if !received.starts_with(b"SEND") => {
            return Parsed::Wrong(Code::Syntax, what.into(), end);
        }
        Ok(Some((Err(what), _))) => return Parsed::Lost(Code::Syntax, what.into()),
        Ok(None) => return Parsed::Incomplete,
        Err(what) => return Parsed::Lost(Code::Syntax, what.into()),
    };
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    if verb == "SEND" {
        return send(received, rest, end, max_body);
    }
    match simple(verb, rest) {
        Ok(request) => Parsed::Request(request, end),
        Err((code, text)) => Parsed::Wrong(code, text, end),
    }
}

fn simple(verb: &str, rest: &str) -> Result<Request<'static>, Wrong> {
    Ok(match verb {
        "HELLO" => {
            let (version, options) = argument(rest, "the version, dropline/1")?;
            if version != VERSION {
                return Err(syntax(format!("this server speaks {VERSION}")));
            }
            let name = option(options, "name")?.map(name).transpose()?;
            Request::Hello { name }
        }
        "FETCH" => Request::Fetch {
            max: number(rest, "max")?.unwrap_or(u64::MAX),
            peek: number(rest, "peek")?.unwrap_or(0) != 0,
        },
        "ACK" => {
            let (seq, options) = argument(rest, "the number of a message")?;
            check(options)?;
            Request::Ack(to_number(seq)?)
        }
        "WATCH" => bare(rest, Request::Watch)?,
        "HISTORY" => Request::History {
            before: number(rest, "before")?,
            max: number(rest, "max")?.unwrap_or(100),
        },
        "STATUS" => {
            let to = option(rest, "to")?.ok_or_else(|| syntax("STATUS needs to= and seq="))?;
            let seq = number(rest, "seq")?.ok_or_else(|| syntax("STATUS needs to= and seq="))?;
            Request::Status { to: name(to)?, seq }
        }
        "ONLINE" => Request::Online {
            port: port(rest)?.ok_or_else(|| syntax("ONLINE needs port="))?,
            addr: option(rest, "addr")?
                .map(|text| {
                    let addr = text.parse::<IpAddr>();
                    addr.map_err(|_| syntax(format!("'{text}' is not an address")))
                })
                .transpose()?,
        },
        "RENEW" => bare(rest, Request::Renew)?,
        "OFFLINE" => Request::Offline { port: port(rest)? },
        "DEREGISTER" => bare(rest, Request::Deregister)?,
        "WHO" => Request::Who {
            after: option(rest, "after")?.map(name).transpose()?,
            max: number(rest, "max")?.unwrap_or(1_000),
        },
        "LOOKUP" => {
            let (of, options) = argument(rest, "a name")?;
            check(options)?;
            Request::Lookup(name(of)?)
        }
        "QUIT" => bare(rest, Request::Quit)?,
        _ => return Err(syntax("no such request")),
    })
}

fn send<'a>(received: &'a [u8], rest: &str, end: usize, max_body: usize) -> Parsed<'a> {
    let lost = |text: &str| Parsed::Lost(Code::Syntax, text.into());
    let Some((to, rest)) = rest.split_once(' ') else {
        return lost("SEND needs the recipient and the length of the message");
    };
    let (len, options) = rest.split_once(' ').unwrap_or((rest, ""));
    let Ok(len) = to_number(len).map(|len| usize::try_from(len).unwrap_or(usize::MAX)) else {
        return lost("the length of the message is not a number");
    };
    if len > LONGEST_SKIP {
        let text = format!("the message is too long: at most {max_body} bytes are allowed");
        return Parsed::Lost(Code::TooLong, text);
    }
    // The newline after the body.
    let next = end + len + 1;
    let wrong = |(code, text): Wrong| Parsed::Wrong(code, text, next);
    if len > max_body {
        let text = format!("the message is too long: at most {max_body} bytes are allowed");
        return wrong((Code::TooLong, text));
    }
    let (to, id, ttl) = match head(to, options) {
        Ok(head) => head,
        Err(e) => return wrong(e),
    };
    if len == 0 {
        return wrong(syntax("the message is empty"));
    }
    match received.get(end + len) {
        None => Parsed::Incomplete,
        Some(b'\n') => {
            let body = &received[end..end + len];
            Parsed::Request(Request::Send { to, id, ttl, body }, next)
        }
        Some(_) => lost("the message is not followed by a newline: its length is wrong"),
    }
}

/// Whom a message is for, its id, and for how long it is of use.
fn head(to: &str, options: &str) -> Result<(Name, Option<MessageId>, Option<u64>), Wrong> {
    let to = name(to)?;
    let id = option(options, "id")?
        .map(|text| {
            let id = text.parse::<MessageId>();
            id.map_err(|()| syntax("an id is 32 hexadecimal digits"))
        })
        .transpose()?;
    let ttl = number(options, "ttl")?;
    if ttl.is_some_and(|ttl| ttl == 0 || ttl > LONGEST_TTL) {
        return Err(syntax(format!("ttl is 1 to {LONGEST_TTL} seconds")));
    }
    Ok((to, id, ttl))
}

fn syntax(text: impl Into<String>) -> Wrong {
    (Code::Syntax, text.into())
}

fn name(text: &str) -> Result<Name, Wrong> {
    text.parse()
        .map_err(|e| (Code::Name, format!("'{text}' is not a name: {e}")))
}

/// The field that must stand first, and the options behind it.
fn argument<'l>(rest: &'l str, what: &str) -> Result<(&'l str, &'l str), Wrong> {
    let (first, options) = rest.split_once(' ').unwrap_or((rest, ""));
    if first.is_empty() {
        return Err(syntax(format!("{what} is missing")));
    }
    Ok((first, options))
}

fn bare(rest: &str, request: Request<'static>) -> Result<Request<'static>, Wrong> {
    check(rest)?;
    Ok(request)
}

/// Whether these are options.
fn check(options: &str) -> Result<(), Wrong> {
    option(options, "").map(drop)
}

/// The value of an option, if it is there; the last one if it is there twice.
fn option<'l>(options: &'l str, key: &str) -> Result<Option<&'l str>, Wrong> {
    let mut found = None;
    if options.is_empty() {
        return Ok(found);
    }
    for field in options.split(' ') {
        match field.split_once('=') {
            Some((this, value)) if this == key => found = Some(value),
            Some(_) => {}
            None => return Err(syntax(format!("'{field}' is not an option: key=value"))),
        }
    }
    Ok(found)
}

fn number(options: &str, key: &str) -> Result<Option<u64>, Wrong> {
    option(options, key)?.map(to_number).transpose()
}

fn to_number(text: &str) -> Result<u64, Wrong> {
    // parse() alone would take a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    Err(syntax(format!("'{text}' is not a number")))
}

fn port(options: &str) -> Result<Option<u16>, Wrong> {
    let Some(port) = number(options, "port")? else {
        return Ok(None);
    };
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(syntax("a port is 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::super::encode_request;
    use super::*;

    fn n(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn a_request_is_read_and_the_next_one_is_found() {
        let id = "9f86d081884c7d659a2feaa0c55ad015";
        let line = format!("SEND bob 5 ttl=3600 new=1 id={id}\nhello\nQUIT\n");
        let Parsed::Request(request, len) = decode_request(line.as_bytes(), 10) else {
            panic!("a request");
        };
        let expected = Request::Send {
            to: n("bob"),
            id: id.parse().ok(),
            ttl: Some(3600),
            body: b"hello",
        };
        assert_eq!(request, expected);
        let rest = &line.as_bytes()[len..];
        assert_eq!(decode_request(rest, 10), Parsed::Request(Request::Quit, 5));
    }

    #[test]
    fn what_is_wrong_says_where_the_next_request_begins() {
        let wrong = |line: &str| match decode_request(line.as_bytes(), 10) {
            Parsed::Wrong(code, _, next) => (code, next),
            other => panic!("{line:?}: {other:?}"),
        };
        assert_eq!(wrong("send bob 1\nx\n"), (Code::Syntax, 11));
        assert_eq!(wrong("\n"), (Code::Syntax, 1));
        assert_eq!(wrong("FETCH  max=1\n"), (Code::Syntax, 13));
        assert_eq!(wrong("FETCH max=-1\n"), (Code::Syntax, 13));
        assert_eq!(wrong("FETCH max=+1\n"), (Code::Syntax, 13));
        assert_eq!(wrong("FETCH max=18446744073709551616\n").0, Code::Syntax);
        assert_eq!(wrong("ACK\n"), (Code::Syntax, 4));
        assert_eq!(wrong("LOOKUP .x\n"), (Code::Name, 10));
        assert_eq!(wrong("HELLO dropline/2\n"), (Code::Syntax, 17));
        assert_eq!(wrong("SEND bob 11\n"), (Code::TooLong, 12 + 12));
        assert_eq!(wrong("SEND ../b 3\nabc\n"), (Code::Name, 12 + 4));
        assert_eq!(wrong("SEND bob 0\n\n"), (Code::Syntax, 11 + 1));
        assert_eq!(wrong("SEND bob 3 id=12\nabc\n"), (Code::Syntax, 17 + 4));
        assert_eq!(wrong("SEND bob 3 ttl=0\nabc\n"), (Code::Syntax, 17 + 4));
        assert_eq!(wrong("ONLINE port=0\n").0, Code::Syntax);
        assert_eq!(wrong("ONLINE\n").0, Code::Syntax);
        assert_eq!(wrong("ONLINE port=1 addr=x\n").0, Code::Syntax);
        assert_eq!(wrong("STATUS to=bob\n").0, Code::Syntax);
        assert_eq!(wrong("QUIT now\n").0, Code::Syntax);
        assert_eq!(wrong("WHO\0\nWHO\n"), (Code::Syntax, 5));
    }

    #[test]
    fn a_lost_framing_is_told_from_a_wrong_request() {
        for lost in [
            "SEND bob\n",
            "SEND bob five\nhello\n",
            "SEND bob 2\nhello\n",
            "SEND bob 99999999999\n",
            "SEND bob 99999999999999999999999\n",
            "SEND bob \u{1}5\n",
        ] {
            let parsed = decode_request(lost.as_bytes(), 10);
            assert!(matches!(parsed, Parsed::Lost(..)), "{lost:?}: {parsed:?}");
        }
        assert_eq!(decode_request(b"SEND bob 5\nhell", 10), Parsed::Incomplete);
        assert_eq!(decode_request(b"SEND bob 5\nhello", 10), Parsed::Incomplete);
        assert_eq!(decode_request(b"", 10), Parsed::Incomplete);
    }

    fn names() -> impl Strategy<Value = Name> {
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}".prop_map(|text| n(&text))
    }

    fn requests() -> impl Strategy<Value = Request<'static>> {
        let some = || prop::option::of(any::<u64>());
        prop_oneof![
            prop::option::of(names()).prop_map(|name| Request::Hello { name }),
            (
                names(),
                prop::option::of(any::<[u8; 16]>()),
                prop::option::of(1..LONGEST_TTL)
            )
                .prop_map(|(to, id, ttl)| Request::Send {
                    to,
                    id: id.map(MessageId),
                    ttl,
                    body: b"two\nlines\n",
                }),
            (any::<u64>(), any::<bool>()).prop_map(|(max, peek)| Request::Fetch { max, peek }),
            any::<u64>().prop_map(Request::Ack),
            Just(Request::Watch),
            (some(), any::<u64>()).prop_map(|(before, max)| Request::History { before, max }),
            (names(), any::<u64>()).prop_map(|(to, seq)| Request::Status { to, seq }),
            (1..=u16::MAX, prop::option::of(any::<IpAddr>()))
                .prop_map(|(port, addr)| Request::Online { port, addr }),
            Just(Request::Renew),
            prop::option::of(1..=u16::MAX).prop_map(|port| Request::Offline { port }),
            Just(Request::Deregister),
            (prop::option::of(names()), any::<u64>())
                .prop_map(|(after, max)| Request::Who { after, max }),
            names().prop_map(Request::Lookup),
            Just(Request::Quit),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(request in requests(), next in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = Vec::new();
            encode_request(&mut bytes, &request);
            let len = bytes.len();
            for cut in 0..len {
                assert_eq!(decode_request(&bytes[..cut], 100), Parsed::Incomplete, "{cut}");
            }
            bytes.extend(next);
            assert_eq!(decode_request(&bytes, 100), Parsed::Request(request, len));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(verb in "[A-Z]{0,3}|SEND [a-z]{0,3} [0-9]{0,20}|FETCH|HISTORY", rest in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_request(&[verb.as_bytes(), &rest].concat(), 100);
        }
    }
}
