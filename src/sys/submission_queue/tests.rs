//! Tests of the submission queue.

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Opens the queue and completes `n` submissions. Returns their bytes.
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
fn completes_the_submissions_of_concurrent_producers() {
    const EACH: usize = 200;
    // Adjacent and distant slots. Some share a futex word, and some a word of `submitted`.
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
fn refuses_submissions_unless_open_and_completes_pending_ones_on_close() {
    let queue = SubmissionQueue::new().expect("mapped");
    assert_eq!(queue.submit(3, &[b"x"]), None, "not open yet");
    assert!(!queue.opens_within(Duration::from_millis(1)));
    queue.open();
    assert_eq!(queue.submit(3, &[&[0; SLOT_BYTES], b"x"]), None, "too long");
    queue.pause();
    assert_eq!(queue.submit(3, &[b"x"]), None, "paused");
    queue.resume();
    assert_eq!(queue.submit(SLOTS, &[b"x"]), None, "no such slot");
    let number = queue.submit(3, &[&[1; SLOT_BYTES]]).expect("room");
    assert_eq!(
        queue.wait(3, number, Duration::from_millis(1)),
        Completion::TimedOut,
        "no consumer"
    );
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.wait(3, number, LIMIT));
        queue.close();
        assert_eq!(waits.join().expect("joined"), Completion::Unknown);
    });
    assert_eq!(queue.submit(3, &[b"x"]), None, "closed");
}

#[test]
fn a_completion_for_a_killed_producer_is_not_taken_by_the_next_in_its_slot() {
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
    // A submission that failed is not reported as done.
    let number = queue.submit(7, &[b"more"]).expect("room");
    taken.clear();
    queue.take_all(&mut taken, |_| {});
    queue.complete(&taken, Completion::Unknown);
    assert_eq!(queue.wait(7, number, LIMIT), Completion::Unknown);
}

#[test]
fn counts_each_busy_producer_once() {
    let queue = SubmissionQueue::new().expect("mapped");
    for place in [0, 0, 64, SLOTS - 1, SLOTS] {
        queue.set_busy(place, true);
    }
    assert_eq!(queue.busy(), 3);
    queue.set_busy(0, false);
    assert_eq!(queue.busy(), 2);
}

#[test]
fn the_consumer_sleeps_until_it_is_woken() {
    let queue = SubmissionQueue::new().expect("mapped");
    queue.open();
    assert!(queue.sleep(Some(Duration::from_millis(1))), "no wake-up");
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
        // The queue is paused before or after the consumer goes to sleep without a limit.
        let sleeps = scope.spawn(|| queue.sleep(None));
        queue.pause();
        assert!(!sleeps.join().expect("joined"));
    });
    queue.resume();
    queue.submit(0, &[b"x"]);
    assert!(!queue.sleep(Some(LIMIT)), "a submission is pending");
}

#[test]
fn submissions_to_a_dead_consumer_are_unknown_even_after_the_next_has_opened_the_queue() {
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
    queue.take_all(&mut taken, |_| panic!("none is pending"));
    let number = queue.submit(3, &[b"next"]).expect("room");
    queue.take_all(&mut taken, |bytes| assert_eq!(bytes, b"next"));
    queue.complete(&taken, Completion::Done);
    assert_eq!(queue.wait(3, number, LIMIT), Completion::Done);
}

#[test]
fn a_draining_queue_stays_draining_when_a_consumer_opens_it() {
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
