//! The index of registered names.

use super::*;
use crate::store::spool::names;

/// Returns the names from `after` on, at most `max`.
fn listed(spool: &Spool, after: Option<&str>, max: usize) -> Vec<String> {
    let mut all = Vec::new();
    let after = after.map(n);
    let each = &mut |name: &Name, _| {
        all.push(name.to_string());
        all.len() < max
    };
    spool.registrations(after.as_ref(), each).expect("readable");
    all
}

fn register(spool: &Spool, name: &str) {
    assert!(
        spool.register(&n(name), 7, &|| true).expect("written"),
        "{name}"
    );
}

/// Makes registrations without the index, as an earlier version does.
fn register_without_index(f: &Fixture, names: std::ops::Range<usize>) {
    let text = {
        register(&f.spool, "zz");
        std::fs::read(f.path().join("user").join(&*place(&n("zz")))).expect("a registration")
    };
    for number in names {
        let file = f
            .path()
            .join("user")
            .join(&*place(&n(&format!("u{number:05}"))));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, &text).expect("written");
    }
}

#[test]
fn names_are_listed_in_order_and_by_pages() {
    let f = Fixture::new();
    assert!(listed(&f.spool, None, 9).is_empty());
    for name in ["cy", "al", "bob"] {
        register(&f.spool, name);
    }
    assert_eq!(listed(&f.spool, None, 9), ["al", "bob", "cy"]);
    assert_eq!(listed(&f.spool, Some("al"), 1), ["bob"]);
    assert_eq!(listed(&f.spool, Some("b"), 9), ["bob", "cy"]);
    assert!(f.spool.deregister(&n("bob")).expect("removed"));
    f.spool.claim(&n("cy"), Some(7), 1).expect("claimed");
    assert_eq!(listed(&f.spool, None, 9), ["al"]);
    register(&f.spool, "bob");
    assert_eq!(listed(&f.look(), None, 9), ["al", "bob"]);
}

#[test]
fn many_changes_are_merged_and_none_is_lost() {
    let f = Fixture::new();
    register(&f.spool, "al");
    assert_eq!(listed(&f.spool, None, 9), ["al"]);
    let count = 1_300;
    std::thread::scope(|scope| {
        for part in 0..4 {
            let spool = f.look();
            scope.spawn(move || {
                for number in (part..count).step_by(4) {
                    register(&spool, &format!("u{number:05}"));
                    if number % 5 == 0 {
                        spool
                            .deregister(&n(&format!("u{number:05}")))
                            .expect("removed");
                    }
                }
            });
        }
    });
    let len =
        |name: &str| std::fs::metadata(f.path().join("names").join(name)).map_or(0, |m| m.len());
    assert!(len("sorted") > 64 * 500, "they were merged");
    assert!(len("changed") < 64 * 1_200);
    let expected: Vec<_> = std::iter::once("al".into())
        .chain(
            (0..count)
                .filter(|number| number % 5 > 0)
                .map(|number| format!("u{number:05}")),
        )
        .collect();
    assert_eq!(listed(&f.spool, None, usize::MAX), expected);
    let mut paged = Vec::new();
    loop {
        let page = listed(&f.spool, paged.last().map(String::as_str), 100);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, expected);
    let limits = Limits::default();
    assert_eq!(
        listed(&f.reopened(limits).spool, None, usize::MAX),
        expected,
        "after a restart"
    );
}

#[test]
fn a_registration_that_was_announced_before_a_merge_is_listed() {
    let f = Fixture::new();
    register(&f.spool, "al");
    names::registering(&f.spool, &n("bob")).expect("announced");
    names::removing(&f.spool, &n("al")).expect("announced");
    // Makes the index anew, and merges the announcements.
    names::discard(&f.spool).expect("removed");
    assert_eq!(listed(&f.spool, None, 9), ["al"]);
    names::discard(&f.spool).expect("removed");
    assert_eq!(listed(&f.spool, None, 9), ["al"]);
    // The changes happen after that, by processes that announce nothing more.
    let users = f.path().join("user");
    let of = |name: &str| users.join(&*place(&n(name)));
    std::fs::create_dir_all(of("bob").parent().expect("a folder")).expect("made");
    std::fs::rename(of("al"), of("bob")).expect("renamed");
    assert_eq!(listed(&f.spool, None, 9), ["bob"]);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let f = Fixture::new();
    register_without_index(&f, 0..100);
    let expected = 101;
    assert_eq!(listed(&f.spool, None, usize::MAX).len(), expected);
    let sorted = f.path().join("names/sorted");
    let sound = std::fs::read(&sorted).expect("an index");
    for damage in [0, 64, 64 * 50 + 3, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[damage] ^= 1;
        std::fs::write(&sorted, bytes).expect("written");
        assert_eq!(
            listed(&f.spool, None, usize::MAX).len(),
            expected,
            "byte {damage}"
        );
        assert_eq!(std::fs::read(&sorted).expect("an index"), sound);
    }
    std::fs::write(&sorted, &sound[..sound.len() - 64]).expect("written");
    assert_eq!(listed(&f.spool, Some("u00050"), usize::MAX).len(), 50);
    std::fs::write(f.path().join("names/changed"), [7; 100]).expect("written");
    register(&f.spool, "yy");
    assert_eq!(listed(&f.spool, None, usize::MAX).len(), expected + 1);
}

#[test]
fn names_that_another_version_has_registered_are_listed_after_a_start() {
    let f = Fixture::new();
    register(&f.spool, "al");
    assert_eq!(listed(&f.spool, None, 9), ["al"]);
    register_without_index(&f, 0..2);
    let names = ["al", "u00000", "u00001", "zz"];
    assert_eq!(listed(&f.spool, None, 9), ["al", "zz"], "not known yet");
    let f = f.reopened(Limits::default());
    assert_eq!(listed(&f.spool, None, 9), ["al", "zz"], "the same version");
    // It takes the spool lock.
    std::fs::write(f.path().join("owner"), "7\n").expect("written");
    assert_eq!(listed(&f.reopened(Limits::default()).spool, None, 9), names);
}

#[test]
fn one_of_many_names_costs_little_more_than_one_of_few() {
    let costs = [200, 20_000].map(|count| {
        let f = Fixture::new();
        register_without_index(&f, 0..count);
        assert_eq!(listed(&f.spool, None, usize::MAX).len(), count + 1);
        bounded::cost(|| {
            let after = format!("u{:05}", count / 2);
            let next = format!("u{:05}", count / 2 + 1);
            assert_eq!(listed(&f.spool, Some(&after), 1), [next]);
        })
    });
    assert!(
        costs[1] < 4 * costs[0] && costs[1] < 64 * 1_024,
        "{costs:?} bytes"
    );
}
