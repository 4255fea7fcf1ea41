//! Many producers, and one consumer.

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Deals with what is left until it has been `n`; what that was.
fn serve(queue: SubmissionQueue, n: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut taken = Vec::new();
    queue.open();
    while all.len() < n {
        taken.clear();
        queue.take_all(&mut taken, |bytes| all.push(bytes.to_vec()));
        if taken.is_empty() {
            queue.sleep(Some(LIMIT));
        }
        queue.complete(&taken, Completion::Done);
    }
    all
}

#[test]
fn what_many_leave_is_dealt_with_and_each_is_told() {
    const EACH: usize = 200;
    // One beside the other, and far away; some share a bell, and some a word.
    let places = [0, 1, 31, 32, 63, 64, 100, SLOTS - 1];
    let queue = SubmissionQueue::new().expect("mapped");
    let served = std::thread::scope(|scope| {
        for place in places {
            scope.spawn(move || {
                assert!(queue.opens_within(LIMIT));
                for n in 0..EACH {
                    let text = format!("{place} {n} ");
                    let long = vec![b'x'; n];
                    let number = queue.submit(place, &[text.as_bytes(), &long]);
                    let number = number.expect("room");
                    let completion = queue.wait(place, number, LIMIT);
                    assert_eq!(completion, Completion::Done, "{text}");
                }
            });
        }
        scope.spawn(|| serve(queue, EACH * places.len())).join()
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
    let queue = SubmissionQueue::new().expect("mapped");
    assert_eq!(queue.submit(3, &[b"x"]), None, "nobody is there yet");
    assert!(!queue.opens_within(Duration::from_millis(1)));
    queue.open();
    assert_eq!(queue.submit(3, &[&[0; SLOT_BYTES], b"x"]), None, "too much");
    queue.pause();
    assert_eq!(queue.submit(3, &[b"x"]), None, "not now");
    queue.resume();
    assert_eq!(queue.submit(SLOTS, &[b"x"]), None, "no such place");
    let number = queue.submit(3, &[&[1; SLOT_BYTES]]).expect("room");
    assert_eq!(
        queue.wait(3, number, Duration::from_millis(1)),
        Completion::TimedOut,
        "in time"
    );
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.wait(3, number, LIMIT));
        queue.close();
        assert_eq!(waits.join().expect("joined"), Completion::Unknown);
    });
    assert_eq!(queue.submit(3, &[b"x"]), None, "it is closed");
}

/// A process that was killed has left something, and the next one in its place leaves something else.
#[test]
fn an_answer_to_a_process_that_was_killed_is_none_to_the_next() {
    let queue = SubmissionQueue::new().expect("mapped");
    queue.open();
    let killed = queue.submit(7, &[b"killed"]).expect("room");
    let mut taken = Vec::new();
    queue.take_all(&mut taken, |bytes| assert_eq!(bytes, b"killed"));
    let next = queue.submit(7, &[b"next"]).expect("room");
    assert_ne!(killed, next);
    queue.complete(&taken, Completion::Done);
    let soon = Duration::from_millis(1);
    assert_eq!(queue.wait(7, next, soon), Completion::TimedOut);
    taken.clear();
    queue.take_all(&mut taken, |bytes| assert_eq!(bytes, b"next"));
    queue.complete(&taken, Completion::Done);
    assert_eq!(queue.wait(7, next, soon), Completion::Done);
    // What went wrong is no success.
    let number = queue.submit(7, &[b"more"]).expect("room");
    taken.clear();
    queue.take_all(&mut taken, |_| {});
    queue.complete(&taken, Completion::Unknown);
    assert_eq!(queue.wait(7, number, LIMIT), Completion::Unknown);
}

#[test]
fn who_is_busy_is_counted_once() {
    let queue = SubmissionQueue::new().expect("mapped");
    for place in [0, 0, 64, SLOTS - 1, SLOTS] {
        queue.set_busy(place, true);
    }
    assert_eq!(queue.busy(), 3);
    queue.set_busy(0, false);
    assert_eq!(queue.busy(), 2);
}

#[test]
fn the_one_sleeps_until_it_is_asked() {
    let queue = SubmissionQueue::new().expect("mapped");
    queue.open();
    assert!(queue.sleep(Some(Duration::from_millis(1))), "nobody came");
    std::thread::scope(|scope| {
        let sleeps = scope.spawn(|| {
            queue.sleep(Some(LIMIT));
            queue.is_draining()
        });
        queue.pause();
        queue.drain();
        queue.resume();
        assert!(sleeps.join().expect("joined"));
    });
    let queue = SubmissionQueue::new().expect("mapped");
    queue.open();
    std::thread::scope(|scope| {
        // Somebody pauses it, before or after it has gone to sleep without a limit.
        let sleeps = scope.spawn(|| queue.sleep(None));
        queue.pause();
        assert!(!sleeps.join().expect("joined"));
    });
    queue.resume();
    queue.submit(0, &[b"x"]);
    assert!(!queue.sleep(Some(LIMIT)), "something is there");
}

#[test]
fn a_submission_to_a_consumer_that_died_is_unknown_also_when_the_next_has_begun() {
    let queue = SubmissionQueue::new().expect("mapped");
    queue.open();
    let taken_by_it = queue.submit(3, &[b"taken"]).expect("room");
    let mut taken = Vec::new();
    queue.take_all(&mut taken, |_| {});
    let not_taken = queue.submit(SLOTS - 1, &[b"not taken"]).expect("room");
    queue.close();
    queue.open();
    assert_eq!(queue.wait(3, taken_by_it, LIMIT), Completion::Unknown);
    let completion = queue.wait(SLOTS - 1, not_taken, LIMIT);
    assert_eq!(completion, Completion::Unknown);
    taken.clear();
    queue.take_all(&mut taken, |_| panic!("nothing is left"));
    let number = queue.submit(3, &[b"next"]).expect("room");
    queue.take_all(&mut taken, |bytes| assert_eq!(bytes, b"next"));
    queue.complete(&taken, Completion::Done);
    assert_eq!(queue.wait(3, number, LIMIT), Completion::Done);
}

#[test]
fn a_consumer_that_begins_while_the_queue_is_drained_is_asked_to_end() {
    let queue = SubmissionQueue::new().expect("mapped");
    for died in [false, true] {
        if died {
            queue.close();
        }
        queue.drain();
        queue.open();
        assert!(queue.is_draining() && !queue.is_open());
    }
}
