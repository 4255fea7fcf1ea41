use proptest::prelude::{any, prop, proptest};

use super::*;

fn n(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

fn refused(line: &[u8]) -> String {
    parse(line, 10).expect_err("a refusal").reply()
}

#[test]
fn requests_are_read() {
    let store = |body| LineRequest::Store {
        to: n("Kyriakos"),
        from: n("george"),
        body,
    };
    assert_eq!(parse(b"store;Kyriakos;george;hi", 10), Ok(store(b"hi")));
    assert_eq!(
        parse(b"store;Kyriakos;george;;a;b;", 10),
        Ok(store(b";a;b;"))
    );
    assert_eq!(
        parse(b"store;Kyriakos;george;\xff\0\r", 10),
        Ok(store(b"\xff\0\r"))
    );
    assert_eq!(
        parse(b"fetch;bob", 10),
        Ok(LineRequest::Fetch { of: n("bob") })
    );
    assert_eq!(
        parse(b"fetch;bob;and;more", 10),
        Ok(LineRequest::Fetch { of: n("bob") })
    );
}

#[test]
fn refusals_are_the_bytes_of_the_table() {
    for line in [&b""[..], b";", b";;;;"] {
        assert_eq!(refused(line), "No verb\n");
    }
    for line in [
        &b"STORE;a;b;c"[..],
        b"fetchx;a",
        b" fetch;a",
        b";fetch;a",
        b"\0\xff",
        b"list",
    ] {
        assert_eq!(refused(line), "Message declined. Bad verb\n");
    }
    for line in [
        &b"store"[..],
        b"store;",
        b"store;;a;b",
        b"fetch",
        b"fetch;",
        b"fetch;;",
    ] {
        assert_eq!(refused(line), "No reciever\n");
    }
    for line in [&b"store;a"[..], b"store;a;", b"store;a;;b"] {
        assert_eq!(refused(line), "No sender\n");
    }
    for line in [&b"store;a;b"[..], b"store;a;b;"] {
        assert_eq!(refused(line), "No message\n");
    }
    assert!(refused(b"store;../x;b;c").starts_with("Message declined. The recipient is not"));
    assert!(refused(b"store;x;-b;c").starts_with("Message declined. The sender is not"));
    assert_eq!(
        refused(b"store;x;b;12345678901"),
        "Message declined. The message is too long: at most 10 bytes are allowed\n"
    );
}

#[test]
fn the_kind_of_a_refusal_is_read_from_its_reply() {
    for declined in every_refusal() {
        let reply = declined.reply();
        assert!(reply.len() < 512 && reply.ends_with('\n'), "{reply}");
        assert!(!reply.trim_end().contains(char::is_control), "{reply}");
        let read = decode_refusal(reply.as_bytes());
        assert_eq!(
            read,
            Some((declined.code(), declined.to_string())),
            "{reply}"
        );
    }
    for reply in [ACCEPTED, RETRIEVING, NO_MORE, INTERNAL_ERROR, b"No way\n"] {
        assert_eq!(decode_refusal(reply), None, "{}", reply.escape_ascii());
    }
}

#[test]
fn an_unknown_refusal_is_temporary() {
    let read = decode_refusal(b"Message declined. Greylisted\n");
    let (code, sentence) = read.expect("a refusal");
    assert!(code.later_helps());
    assert_eq!(sentence, "Greylisted");
}

#[test]
fn a_line_ends_at_its_newline() {
    assert_eq!(
        first_line(b"fetch;bob\nmore"),
        Some((&b"fetch;bob"[..], 10))
    );
    assert_eq!(first_line(b"fetch;bob\r\n"), Some((&b"fetch;bob"[..], 11)));
    assert_eq!(first_line(b"fetch;bob"), None);
    assert_eq!(last_line(b"fetch;bob\r"), b"fetch;bob");
}

#[test]
fn control_characters_and_forged_messages_are_escaped() {
    let mut reply = Vec::new();
    let body = "one\n\tb;root;x\u{1b}[2J\u{9b}\u{7f}\r\tü".as_bytes();
    encode_message(
        &mut reply,
        &n("b"),
        &n("a"),
        &[body, b"\x9b\xe9\xa0"].concat(),
    );
    let text = b"b;a;one\n\t\tb;root;x\\x1b[2J\\xc2\\x9b\\x7f\\x0d\t\xc3\xbc\\x9b\xe9\xa0\n";
    assert_eq!(reply, text);
}

proptest! {
    #[test]
    fn a_request_is_parsed_as_it_was_encoded(
        to in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
        from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (to, from) = (n(&to), n(&from));
        match encode_store(&to, &from, &body) {
            Ok(request) => {
                let (line, end) = first_line(&request).expect("a line");
                assert_eq!(end, request.len());
                assert_eq!(parse(line, 300), Ok(LineRequest::Store { to, from, body: &body }));
            }
            Err(_) => assert!(body.is_empty() || body.contains(&b'\n') || body.ends_with(b"\r")),
        }
    }

    #[test]
    fn a_fetched_message_is_decoded_line_by_line(body in prop::collection::vec(any::<u8>(), 1..300)) {
        let (to, from) = (n("bob"), n("al"));
        let mut reply = Vec::new();
        encode_message(&mut reply, &to, &from, &body);
        let mut lines = reply.strip_suffix(b"\n").expect("a newline").split(|&b| b == b'\n');
        let first = lines.next().expect("a first line");
        assert!(matches!(decode_fetched(first, &to), Fetched::Message { from: b"al", .. }));
        assert!(lines.all(|line| matches!(decode_fetched(line, &to), Fetched::More(_))));
        assert!(!reply.iter().any(|b| *b < 0x20 && !b"\n\t".contains(b)));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line, 100);
        let _ = first_line(&line);
        let _ = decode_fetched(&line, &n("bob"));
    }
}
