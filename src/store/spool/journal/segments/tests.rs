//! Tests with filled, torn and damaged segments.

use super::*;

/// The length of a segment, with room for a few batches.
const LEN: u64 = 4_096;

fn written(log: &mut JournalLog, entries: &[&[u8]]) -> bool {
    let mut batch = JournalBatch::default();
    for entry in entries {
        batch.push(entry);
    }
    let has_room = log.has_room(&batch);
    if has_room {
        log.write(&mut batch).expect("written");
    }
    has_room
}

fn in_segment(file: &File) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(bytes) = read(file).expect("readable") {
        assert!(!entries(&bytes, |entry| all.push(entry.to_vec())));
    }
    all
}

#[test]
fn a_bad_batch_before_others_is_damage_and_loses_only_its_own_entries() {
    let (temp, mut log) = log();
    assert!(written(&mut log, &[b"first"]));
    let at = usize::try_from(log.at).expect("small");
    assert!(written(&mut log, &[b"second"]));
    assert!(written(&mut log, &[b"third", b"fourth"]));
    let path = temp.path().join("0");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[at + 20] ^= 1;
    let mut all = Vec::new();
    assert!(
        entries(&bytes, |entry| all.push(entry.to_vec())),
        "it is damaged"
    );
    assert_eq!(all, [&b"first"[..], b"third", b"fourth"]);
}

fn log() -> (tempfile::TempDir, JournalLog) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = Dir::open(temp.path()).expect("opened");
    let log = JournalLog::open(&dir, LEN).expect("made");
    (temp, log)
}

#[test]
fn entries_are_read_in_the_order_of_their_writes() {
    let (_temp, mut log) = log();
    assert_eq!(in_segment(log.segments[0].file()), Vec::<Vec<u8>>::new());
    assert!(written(&mut log, &[b"one", b"2", &[0; 9]]));
    assert!(written(&mut log, &[b"four"]));
    let expected: [&[u8]; 4] = [b"one", b"2", &[0; 9], b"four"];
    assert_eq!(in_segment(log.segments[0].file()), expected);
    assert!(log.any_used());
    assert_eq!(log.full(), None, "it is still being filled");
}

#[test]
fn segments_are_filled_in_turn_and_wait_until_they_are_emptied() {
    let (_temp, mut log) = log();
    let entry = [7; 900];
    let fill = |log: &mut JournalLog| {
        let mut n = 0;
        while written(log, &[&entry]) {
            n += 1;
        }
        n
    };
    assert_eq!(fill(&mut log), 3);
    assert!(log.turn().expect("turned"));
    assert_eq!(log.full(), Some(0));
    assert_eq!(fill(&mut log), 3);
    assert!(!log.turn().expect("not turned"), "both are full");
    assert_eq!(in_segment(log.segments[0].file()).len(), 3);
    log.emptied(0);
    assert!(log.turn().expect("turned"));
    assert!(written(&mut log, &[b"new"]));
    // Entries of the earlier filling do not count.
    assert_eq!(in_segment(log.segments[0].file()), [b"new"]);
    assert_eq!(in_segment(log.segments[1].file()).len(), 3);
    clear(log.segments[1].file()).expect("cleared");
    assert_eq!(in_segment(log.segments[1].file()).len(), 0);
}

#[test]
fn an_incomplete_last_batch_is_ignored() {
    let (temp, mut log) = log();
    assert!(written(&mut log, &[b"first"]));
    let from = usize::try_from(log.at).expect("small");
    assert!(written(&mut log, &[b"second", b"third"]));
    let to = usize::try_from(log.at).expect("small");
    let path = temp.path().join("0");
    let whole = std::fs::read(&path).expect("readable");
    for bit in from * 8..to * 8 {
        let mut torn = whole.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, torn).expect("written");
        let file = File::open(&path).expect("there");
        assert_eq!(in_segment(&file), [b"first"], "bit {bit}");
    }
    // Torn writes of clear(): the entries are read once more, and that is no damage.
    for (zeros_from, zeros_to) in [(0, 512), (512, 528)] {
        let mut part = whole.clone();
        part[zeros_from..zeros_to].fill(0);
        std::fs::write(&path, part).expect("written");
        let file = File::open(&path).expect("there");
        let found = in_segment(&file);
        assert!(
            found.ends_with(&[b"second".to_vec(), b"third".to_vec()]),
            "{found:?}"
        );
    }
}

#[test]
fn a_segment_without_its_header_or_its_end_is_damaged_and_its_batches_are_read() {
    let (temp, mut log) = log();
    assert!(written(&mut log, &[b"first"]));
    let from = usize::try_from(log.at).expect("small");
    assert!(written(&mut log, &[b"second"]));
    let path = temp.path().join("0");
    let whole = std::fs::read(&path).expect("readable");
    let found = |bytes: &[u8]| {
        let mut all = Vec::new();
        let is_damaged = entries(bytes, |entry| all.push(entry.to_vec()));
        (all, is_damaged)
    };
    let all = vec![b"first".to_vec(), b"second".to_vec()];
    for bit in 0..16 * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(found(&bad), (all.clone(), true), "bit {bit}");
    }
    assert_eq!(found(&whole[..from]), (all[..1].to_vec(), true));
    for len in [1, 15, 16, 511, 512, 527] {
        assert_eq!(found(&whole[..len]), (Vec::new(), true), "{len} bytes");
    }
    assert_eq!(found(&[]), (Vec::new(), false));
}

#[test]
fn a_segment_has_one_writer() {
    let (temp, _log) = log();
    let file = File::open(temp.path().join("0")).expect("there");
    let error = own(file, Duration::from_millis(1)).expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
}
