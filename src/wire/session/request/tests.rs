use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::*;

fn n(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn a_request_is_decoded_and_the_next_one_found() {
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
fn an_invalid_request_returns_the_offset_of_the_next_one() {
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
    assert_eq!(wrong("ONLINE port=1 token=12\n").0, Code::Syntax);
    assert_eq!(wrong("RENEW secret=12\n").0, Code::Syntax);
    assert_eq!(wrong("STATUS to=bob\n").0, Code::Syntax);
    assert_eq!(wrong("QUIT now\n").0, Code::Syntax);
    assert_eq!(wrong("WHO\0\nWHO\n"), (Code::Syntax, 5));
}

#[test]
fn lost_framing_is_distinguished_from_an_invalid_request() {
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

fn tokens() -> impl Strategy<Value = Option<LeaseToken>> {
    prop::option::of(any::<[u8; 8]>().prop_map(LeaseToken))
}

fn secrets() -> impl Strategy<Value = Option<TicketSecret>> {
    prop::option::of(any::<[u8; 32]>().prop_map(TicketSecret))
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
        (
            1..=u16::MAX,
            prop::option::of(any::<IpAddr>()),
            tokens(),
            secrets()
        )
            .prop_map(|(port, addr, token, secret)| Request::Online {
                port,
                addr,
                token,
                secret
            }),
        (tokens(), secrets()).prop_map(|(token, secret)| Request::Renew { token, secret }),
        tokens().prop_map(|token| Request::Offline { token }),
        Just(Request::Deregister),
        (prop::option::of(names()), any::<u64>())
            .prop_map(|(after, max)| Request::Who { after, max }),
        names().prop_map(Request::Lookup),
        Just(Request::Quit),
    ]
}

proptest! {
    #[test]
    fn a_request_is_decoded_as_it_was_encoded(request in requests(), next in prop::collection::vec(any::<u8>(), 0..20)) {
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
