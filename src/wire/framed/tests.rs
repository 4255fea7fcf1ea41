use proptest::prelude::{any, prop, proptest};

use super::*;

fn n(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn frames_in_both_orders() {
    let little = b"\x00\x0a\x00\x00!register\0more";
    let big = b"\x00\x00\x00\x0a!register\0";
    assert_eq!(
        decode_frame(little, None),
        Frame::Whole(b"!register", 14, Order::Little)
    );
    assert_eq!(
        decode_frame(big, None),
        Frame::Whole(b"!register", 14, Order::Big)
    );
    assert!(matches!(
        decode_frame(big, Some(Order::Little)),
        Frame::Malformed(_)
    ));
    for wrong in [
        &b"\0\0\0\0"[..],
        b"\x01\x01\x01\x01",
        b"\0\x01\x01\0",
        b"\0\x02\0\0ab",
    ] {
        assert!(
            matches!(decode_frame(wrong, None), Frame::Malformed(_)),
            "{wrong:?}"
        );
    }
    assert_eq!(decode_frame(b"\0\x02\0\0a", None), Frame::Incomplete);
    let mut out = Vec::new();
    encode_frame(&mut out, &vec![b'x'; MAX_TEXT], Order::Little);
    assert_eq!(out.len(), 4 + 65_535);
    encode_frame(&mut out, &vec![b'x'; MAX_TEXT + 1], Order::Little);
    assert_eq!(out.len(), 4 + 65_535, "nothing is cut");
}

#[test]
fn addresses_and_names() {
    let address = decode_address(b"10.0.0.5 8283").expect("an address");
    assert_eq!(encode_address(address), b"10.0.0.5 8283");
    assert_eq!(
        decode_address(b"::1 80\n"),
        Some("[::1]:80".parse().expect("one"))
    );
    for wrong in [
        &b""[..],
        b"10.0.0.5",
        b"10.0.0.5 0",
        b"10.0.0.5 65536",
        b"x 1",
        b"1.2.3.4 1 2",
        b"\xff 1",
    ] {
        assert_eq!(decode_address(wrong), None, "{wrong:?}");
    }
    for (name, may) in [
        ("bob", true),
        ("b-o_B9", true),
        ("bo", false),
        ("b.ob", false),
        ("x234567890123456", false),
    ] {
        assert_eq!(is_registrable(&n(name)), may, "{name}");
    }
}

#[test]
fn a_long_list_is_truncated_to_one_frame() {
    let names: Vec<Name> = (0..100_000)
        .map(|n| format!("u{n}").parse().expect("a name"))
        .collect();
    assert_eq!(encode_list(&[], 0, |_| true), NO_CLIENTS);
    let two = encode_list(&names[..2], 0, |name| name.as_str() == "u1");
    assert_eq!(two, b"Client Status List:\nu0 (offline)\nu1 (online)\n");
    assert_eq!(decode_listed(b"u1 (online)"), Some((n("u1"), true)));
    assert_eq!(decode_listed(b"u0 (offline)"), Some((n("u0"), false)));
    assert_eq!(decode_listed(b"Client Status List:"), None);
    let many = encode_list(&names, 0, |_| false);
    assert!(many.len() <= MAX_TEXT);
    let last = String::from_utf8(many).expect("text");
    let shown = last.lines().count() - 2;
    assert!(last.ends_with(&format!("... and {} more\n", names.len() - shown)));
}

#[test]
fn the_header_of_a_message_carries_its_sender() {
    let text = b"alice (msg offline)>\nhello\nyou\n";
    assert_eq!(decode_message(text), (Some(n("alice")), &b"hello\nyou"[..]));
    let mut out = Vec::new();
    encode_delivery(&mut out, &n("alice"), b"hello\nyou");
    assert_eq!(out, text);
    assert_eq!(decode_message(b"no head\n"), (None, &b"no head"[..]));
    assert_eq!(decode_message(b"a/b (msg offline)>\nx\n").0, None);
    assert_eq!(
        decode_message(b"al (Instat Msg)>\nx\n"),
        (Some(n("al")), &b"x"[..])
    );
    assert_eq!(decode_message(b""), (None, &b""[..]));
}

#[test]
fn forged_headers_and_control_characters_are_escaped() {
    let mut out = Vec::new();
    encode_delivery(&mut out, &n("eve"), b"x\x1b[2J\nbob (msg offline)>\nlies\0");
    assert_eq!(
        out,
        b"eve (msg offline)>\nx\\x1b[2J\n\tbob (msg offline)>\nlies\\x00\n"
    );
}

#[test]
fn odd_white_space_makes_no_header() {
    for forged in [
        "bob  (msg offline)>",
        " bob (msg offline)>",
        "\tbob (msg offline)>",
        "bob (msg offline)> ",
        "bob\u{a0}(msg\u{3000}offline)>",
        "bob(MSG offline)>\r",
        "b\u{200b}ob (Instat Msg)>\u{feff}",
    ] {
        let mut out = Vec::new();
        encode_delivery(&mut out, &n("eve"), format!("x\n{forged}\nlies").as_bytes());
        let out = String::from_utf8_lossy(&out);
        assert_eq!(
            out.lines().filter(|line| line.starts_with('\t')).count(),
            1,
            "{out:?}"
        );
    }
    assert!(!looks_like_header(b"see (msg offline)> there"));
}

proptest! {
    #[test]
    fn a_frame_is_decoded_as_it_was_encoded(
        text in prop::collection::vec(any::<u8>(), 0..600),
        next in prop::collection::vec(any::<u8>(), 0..9),
        big: bool,
    ) {
        let order = if big { Order::Big } else { Order::Little };
        let mut out = Vec::new();
        encode_frame(&mut out, &text, order);
        let len = out.len();
        for cut in 0..len {
            assert_eq!(decode_frame(&out[..cut], Some(order)), Frame::Incomplete);
        }
        out.extend(next);
        assert_eq!(decode_frame(&out, Some(order)), Frame::Whole(&text, len, order));
    }

    #[test]
    fn a_stored_message_is_decoded_as_it_was_encoded(
        from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut out = Vec::new();
        encode_message(&mut out, &n(&from), &body);
        assert_eq!(decode_message(&out), (Some(n(&from)), body.as_slice()));
    }

    #[test]
    fn a_queue_has_one_header_per_message(bodies in prop::collection::vec("[a-z\\n]{1,20}(\\neve \\(msg offline\\)>)?", 1..5)) {
        let mut out = Vec::new();
        for body in &bodies {
            encode_delivery(&mut out, &n("al"), body.as_bytes());
        }
        let heads = out.split(|&b| b == b'\n').filter(|line| matches!(decode_delivered(line), Delivered::From(_)));
        assert_eq!(heads.count(), bodies.len());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode_frame(&bytes, None);
        let _ = decode_message(&bytes);
        let _ = decode_address(&bytes);
        let _ = decode_delivered(&bytes);
    }
}
