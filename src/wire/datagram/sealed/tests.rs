use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::super::form::MAGIC;
use super::super::{Datagram, decode as decode_any};
use super::*;
use crate::message::from_hex;

const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}";

fn n(text: &str) -> Name {
    text.parse().expect("a name")
}

fn counted<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first + u8::try_from(at).expect("short"))
}

fn letter<'a>(from: &str, to: &str, body: &'a [u8]) -> Letter<'a> {
    Letter {
        id: MessageId(counted(0x60)),
        at: 0x0102_0304_0506_0708,
        from: n(from),
        to: n(to),
        body,
    }
}

fn ticket(secret: &TicketSecret, nonce: u8, trust: Trust, letter: &Letter<'_>) -> Ticket {
    let nonce = TicketNonce([nonce; 16]);
    let key = TicketKey::derive(secret, nonce, trust, &letter.from, &letter.to);
    Ticket { nonce, key }
}

fn sealed(bytes: &[u8]) -> Sealed<'_> {
    match decode_any(bytes) {
        Ok(Datagram::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
}

/// RFC 8439, section 2.8.2, with the nonce and the associated data given there.
#[test]
fn the_content_is_sealed_with_chacha20_poly1305() {
    let key = LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, &counted::<32>(0x80)).expect("32 bytes"),
    );
    let nonce = from_hex("070000004041424344454647").expect("hexadecimal");
    let data: [u8; 12] = from_hex("50515253c0c1c2c3c4c5c6c7").expect("hexadecimal");
    let mut text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
        for the future, sunscreen would be it."
        .to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(data),
        &mut text,
    )
    .expect("sealed");
    let expected: [u8; 130] = from_hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e06\
         0b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d265\
         86cec64b61161ae10b594f09e26a7e902ecbd0600691",
    )
    .expect("hexadecimal");
    assert_eq!(text, expected);
}

/// The expected values come from another implementation of this format.
#[test]
fn tickets_messages_and_acknowledgements_are_these_bytes() {
    let letter = letter("al", "bob", b"hi\n");
    let (secret, nonce) = (TicketSecret(counted(0)), TicketNonce(counted(0x40)));
    let key = TicketKey::derive(&secret, nonce, Trust::Local, &letter.from, &letter.to);
    assert_eq!(
        Some(key.0),
        from_hex("592a08fe660fa23219579af2c11c7ac79d2667cd8d1948c1315041f1494e3492")
    );
    let ticket = Ticket { nonce, key };
    let bytes = seal(&letter, Trust::Local, &ticket).expect("fits");
    let expected: [u8; 72] = from_hex(
        "00444c3201404142434445464748494a4b4c4d4e4f0102616c03626f62606162636465666768696a6b6c6d6e6f017259e5dfcee6e72b\
         a64541ceb0487e1b5912da80efcf88f6bad7",
    )
    .expect("hexadecimal");
    assert_eq!(bytes, expected);
    let opened = sealed(&bytes).open(&secret).expect("sealed with it");
    assert_eq!((opened.at, &opened.body[..]), (letter.at, letter.body));
    let expected: [u8; 53] = from_hex(
        "00444c3202404142434445464748494a4b4c4d4e4f606162636465666768696a6b6c6d6e6f2df6dce2f5f8ea7591d17b3977330555",
    )
    .expect("hexadecimal");
    assert_eq!(opened.ack, expected);
    let Ok(Datagram::Ack(ack)) = decode_any(&expected) else {
        panic!("an acknowledgement");
    };
    assert!(ack.is_for(&ticket, letter.id));
}

#[test]
fn an_acknowledgement_needs_the_key_the_nonce_and_the_id() {
    let letter = letter("al", "bob", b"hi");
    let secret = TicketSecret([1; 32]);
    let ours = ticket(&secret, 2, Trust::Open, &letter);
    let bytes = seal(&letter, Trust::Open, &ours).expect("fits");
    let ack = sealed(&bytes).open(&secret).expect("sealed with it").ack;
    let is_for = |bytes: &[u8], ticket: &Ticket, id| match decode_any(bytes) {
        Ok(Datagram::Ack(ack)) => ack.is_for(ticket, id),
        _ => false,
    };
    assert!(is_for(&ack, &ours, letter.id));
    assert!(!is_for(&ack, &ours, MessageId([0; 16])));
    assert!(!is_for(
        &ack,
        &ticket(&secret, 3, Trust::Open, &letter),
        letter.id
    ));
    let other = ticket(&TicketSecret([9; 32]), 2, Trust::Open, &letter);
    assert!(!is_for(&ack, &other, letter.id));
    for at in 0..ack.len() {
        let mut damaged = ack.clone();
        damaged[at] ^= 1;
        assert!(!is_for(&damaged, &ours, letter.id), "{at}");
    }
}

#[test]
fn a_changed_message_does_not_open() {
    let letter = letter("al", "bob", b"hi");
    let secret = TicketSecret([1; 32]);
    let ticket = ticket(&secret, 2, Trust::Local, &letter);
    let bytes = seal(&letter, Trust::Local, &ticket).expect("fits");
    assert_eq!(sealed(&bytes).open(&TicketSecret([2; 32])), None);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            if let Ok(Datagram::Sealed(sealed)) = decode_any(&other) {
                assert_eq!(sealed.open(&secret), None, "{at}");
            }
        }
    }
    // A sender cannot make its trust higher than the server says.
    let forged = seal(&letter, Trust::Open, &ticket).expect("fits");
    assert_eq!(sealed(&forged).open(&secret), None);
}

#[test]
fn oversized_messages_are_refused_and_not_truncated() {
    let secret = TicketSecret([1; 32]);
    let body = [b'x'; MOST_BYTES];
    let fits = |len| {
        let letter = letter("al", "bob", &body[..len]);
        seal(
            &letter,
            Trust::Open,
            &ticket(&secret, 2, Trust::Open, &letter),
        )
        .map(|b| b.len())
    };
    let room = MOST_BYTES - fits(1).expect("fits") + 1;
    assert_eq!(fits(room), Ok(MOST_BYTES));
    assert_eq!(fits(room + 1), Err(Unfit::TooLong));
    assert_eq!(fits(0), Err(Unfit::Empty));
}

#[test]
fn junk_is_refused() {
    let letter = letter("al", "bob", b"x");
    let ticket = ticket(&TicketSecret([1; 32]), 2, Trust::Open, &letter);
    let bytes = seal(&letter, Trust::Open, &ticket).expect("fits");
    let changed = |at: usize, to: u8| {
        let mut other = bytes.clone();
        other[at] = to;
        other
    };
    let trust = MAGIC.len() + 1 + 16;
    for (junk, why) in [
        (b"\0".to_vec(), Malformed::Form),
        (b"\0DL1".to_vec(), Malformed::Form),
        (b"\0DL2".to_vec(), Malformed::Lengths),
        (vec![0; MOST_BYTES + 1], Malformed::TooLong),
        (changed(4, 3), Malformed::Type(3)),
        (changed(4, 2), Malformed::Lengths),
        // From a server that knows more kinds of trust.
        (changed(trust, 3), Malformed::Trust(3)),
        (changed(trust + 1, 200), Malformed::Lengths),
        (bytes[..bytes.len() - 1].to_vec(), Malformed::Empty),
        (bytes[..bytes.len() - 2].to_vec(), Malformed::Lengths),
    ] {
        assert_eq!(decode_any(&junk), Err(why), "{}", junk.escape_ascii());
    }
}

proptest! {
    #[test]
    fn a_message_is_opened_as_it_was_sealed(
        from in NAME, to in NAME, at in any::<u64>(), id in any::<[u8; 16]>(), local in any::<bool>(),
        body in prop::collection::vec(any::<u8>(), 1..1000), secret in any::<[u8; 32]>(), nonce in any::<u8>(),
    ) {
        let message = Letter { id: MessageId(id), at, from: n(&from), to: n(&to), body: &body };
        let trust = if local { Trust::Local } else { Trust::Open };
        let secret = TicketSecret(secret);
        let bytes = seal(&message, trust, &ticket(&secret, nonce, trust, &message)).expect("fits");
        let sealed = sealed(&bytes);
        prop_assert_eq!((&sealed.key.from, &sealed.to), (&message.from, &message.to));
        prop_assert_eq!((sealed.key.id, sealed.key.trust), (message.id, trust));
        let opened = sealed.open(&secret).expect("sealed with it");
        prop_assert_eq!((opened.at, opened.body), (at, body));
        for short in 0..bytes.len() {
            if let Ok(Datagram::Sealed(sealed)) = decode_any(&bytes[..short]) {
                prop_assert!(sealed.open(&secret).is_none());
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..1300), kind in 1..=2u8) {
        if let Ok(Datagram::Sealed(sealed)) = decode_any(&[&MAGIC[..], &[kind], &bytes].concat()) {
            let _ = sealed.open(&TicketSecret([0; 32]));
        }
        let _ = decode_any(&[&[0], &bytes[..]].concat());
    }
}
