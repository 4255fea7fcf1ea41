//! Many that leave something, and one that deals with it.

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Deals with what is left until it has been `n`; what that was.
fn serve(handover: Handover, n: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut taken = Vec::new();
    handover.open();
    while all.len() < n {
        taken.clear();
        handover.take(&mut taken, |bytes| all.push(bytes.to_vec()));
        if taken.is_empty() {
            handover.sleep(Some(PATIENCE));
        }
        handover.answer(&taken, Answer::Done);
    }
    all
}

#[test]
fn what_many_leave_is_dealt_with_and_each_is_told() {
    const EACH: usize = 200;
    // One beside the other, and far away; some share a bell, and some a word.
    let places = [0, 1, 31, 32, 63, 64, 100, PLACES - 1];
    let handover = Handover::new().expect("mapped");
    let served = std::thread::scope(|scope| {
        for place in places {
            scope.spawn(move || {
                assert!(handover.opens_within(PATIENCE));
                for n in 0..EACH {
                    let text = format!("{place} {n} ");
                    let long = vec![b'x'; n];
                    let number = handover.leave(place, &[text.as_bytes(), &long]);
                    let number = number.expect("room");
                    let answer = handover.wait_for(place, number, PATIENCE);
                    assert_eq!(answer, Answer::Done, "{text}");
                }
            });
        }
        scope.spawn(|| serve(handover, EACH * places.len())).join()
    });
    let served = served.expect("served");
    for place in places {
        let prefix = format!("{place} ");
        let of_place = served
            .iter()
            .filter(|text| text.starts_with(prefix.as_bytes()));
        let expected: Vec<_> = (0..EACH)
            .map(|n| [format!("{place} {n} ").as_bytes(), &vec![b'x'; n]].concat())
            .collect();
        assert!(of_place.eq(expected.iter()), "in their order, each once");
    }
}

#[test]
fn nobody_waits_for_one_that_is_gone() {
    let handover = Handover::new().expect("mapped");
    assert_eq!(handover.leave(3, &[b"x"]), None, "nobody is there yet");
    assert!(!handover.opens_within(Duration::from_millis(1)));
    handover.open();
    assert_eq!(handover.leave(3, &[&[0; ROOM], b"x"]), None, "too much");
    handover.pause();
    assert_eq!(handover.leave(3, &[b"x"]), None, "not now");
    handover.go_on();
    assert_eq!(handover.leave(PLACES, &[b"x"]), None, "no such place");
    let number = handover.leave(3, &[&[1; ROOM]]).expect("room");
    assert_eq!(
        handover.wait_for(3, number, Duration::from_millis(1)),
        Answer::Late,
        "in time"
    );
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| handover.wait_for(3, number, PATIENCE));
        handover.close();
        assert_eq!(waits.join().expect("joined"), Answer::Unknown);
    });
    assert_eq!(handover.leave(3, &[b"x"]), None, "it is closed");
}

/// A process that was killed has left something, and the next one in its place leaves something else.
#[test]
fn an_answer_to_a_process_that_was_killed_is_none_to_the_next() {
    let handover = Handover::new().expect("mapped");
    handover.open();
    let killed = handover.leave(7, &[b"killed"]).expect("room");
    let mut taken = Vec::new();
    handover.take(&mut taken, |bytes| assert_eq!(bytes, b"killed"));
    let next = handover.leave(7, &[b"next"]).expect("room");
    assert_ne!(killed, next);
    handover.answer(&taken, Answer::Done);
    let soon = Duration::from_millis(1);
    assert_eq!(handover.wait_for(7, next, soon), Answer::Late);
    taken.clear();
    handover.take(&mut taken, |bytes| assert_eq!(bytes, b"next"));
    handover.answer(&taken, Answer::Done);
    assert_eq!(handover.wait_for(7, next, soon), Answer::Done);
    // What went wrong is no success.
    let number = handover.leave(7, &[b"more"]).expect("room");
    taken.clear();
    handover.take(&mut taken, |_| {});
    handover.answer(&taken, Answer::Unknown);
    assert_eq!(handover.wait_for(7, number, PATIENCE), Answer::Unknown);
}

#[test]
fn who_is_busy_is_counted_once() {
    let handover = Handover::new().expect("mapped");
    for place in [0, 0, 64, PLACES - 1, PLACES] {
        handover.set_busy(place, true);
    }
    assert_eq!(handover.busy(), 3);
    handover.set_busy(0, false);
    assert_eq!(handover.busy(), 2);
}

#[test]
fn the_one_sleeps_until_it_is_asked() {
    let handover = Handover::new().expect("mapped");
    handover.open();
    assert!(
        handover.sleep(Some(Duration::from_millis(1))),
        "nobody came"
    );
    std::thread::scope(|scope| {
        let sleeps = scope.spawn(|| {
            handover.sleep(Some(PATIENCE));
            handover.is_ending()
        });
        handover.pause();
        handover.ask_to_end();
        handover.go_on();
        assert!(sleeps.join().expect("joined"));
    });
    let handover = Handover::new().expect("mapped");
    handover.open();
    std::thread::scope(|scope| {
        // Somebody pauses it, before or after it has gone to sleep without a limit.
        let sleeps = scope.spawn(|| handover.sleep(None));
        handover.pause();
        assert!(!sleeps.join().expect("joined"));
    });
    handover.go_on();
    handover.leave(0, &[b"x"]);
    assert!(!handover.sleep(Some(PATIENCE)), "something is there");
}
