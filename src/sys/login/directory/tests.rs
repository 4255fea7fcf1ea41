//! Tests of the login directory, with a directory service that can be away.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::sys::login::tests::{InThread, getent};

#[test]
fn finds_the_logins_of_this_machine() {
    let directory = LoginDirectory::open().expect("opened");
    assert_eq!(directory.uid_of("root").expect("read"), Some(0));
    assert_eq!(
        directory.login_of(0).expect("read").as_deref(),
        Some("root")
    );
    assert_eq!(directory.uid_of("no such login").expect("read"), None);
}

#[test]
fn the_overflow_uid_is_that_of_the_kernel_and_has_no_login() {
    let mut directory = LoginDirectory::open().expect("opened");
    let said = std::fs::read_to_string(OVERFLOW_UID).expect("a kernel");
    assert_eq!(directory.overflow_uid.to_string(), said.trim());
    // Even if it is the uid of a login.
    directory.overflow_uid = 0;
    assert_eq!(directory.login_of(0).expect("read"), None);
}

#[test]
fn a_further_canary_replaces_the_oldest() {
    let directory = LoginDirectory::open().expect("opened");
    assert_eq!(directory.changed_canaries(), None);
    directory.expect(["a", "b", "c"]);
    assert_eq!(directory.changed_canaries(), None, "they are known");
    directory.shared.add_canary("d");
    directory.shared.remove_canary("b");
    let changed = directory.changed_canaries();
    assert_eq!(changed.expect("changed"), ["a", "c", "d"]);
    assert_eq!(directory.changed_canaries(), None);
    directory.shared.add_canary("e");
    assert_eq!(directory.canaries(), ["a", "e", "c", "d"]);
    directory.shared.add_canary("f");
    assert_eq!(directory.canaries().len(), CANARIES);
    assert!(directory.canaries().contains(&"f".into()));
}

/// A directory service with the logins `svc-al`, `svc-bob` and `svc-carol`, in a machine that has `dyn` from another
/// source.
struct Service {
    dir: TempDir,
    directory: LoginDirectory,
    helper: InThread,
}

/// Without a file `here`, the service is away. Without a file of its name, a login does not exist.
const SERVICE: &str = "here=${0%/*}
[ \"$1\" = -s ] && shift 2 && remote=1
shift 2
status=0
for key; do
    uid=
    case $key in
    svc-al | 3001) name=svc-al uid=3001 ;;
    svc-bob | 3002) name=svc-bob uid=3002 ;;
    svc-carol | 3003) name=svc-carol uid=3003 ;;
    late) [ ! \"$remote\" ] || : >\"$here/here\" ;;
    esac
    if [ \"$uid\" ] && [ -e \"$here/here\" ] && [ -e \"$here/$name\" ]; then
        echo \"$name:x:$uid:100::/:\"
    elif [ \"$key$remote\" = dyn ]; then
        echo 'dyn:x:61200:100::/:'
    else
        status=2
    fi
done
exit $status";

impl Service {
    fn start() -> Self {
        let (dir, program) = getent(SERVICE);
        let service = Self {
            dir,
            directory: LoginDirectory::open().expect("opened"),
            helper: InThread::start(program),
        };
        for name in ["here", "svc-al", "svc-bob", "svc-carol"] {
            service.set(name, true);
        }
        service
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&self, name: &str, exists: bool) {
        match exists {
            true => fs::write(self.path(name), "").expect("written"),
            false => fs::remove_file(self.path(name)).expect("removed"),
        }
    }

    fn uid_of(&self, name: &str) -> io::Result<Option<u32>> {
        self.directory.uid_elsewhere(&self.helper.requests, name)
    }

    fn login_of(&self, uid: u32) -> io::Result<Option<String>> {
        self.directory.login_elsewhere(&self.helper.requests, uid)
    }

    /// Makes all kept answers older than a minute.
    fn age(&self) {
        let shared = self.directory.shared;
        for words in [shared.names, shared.uids] {
            for words in words.chunks_exact(answers::WORDS) {
                Answer::new(words).age();
            }
        }
    }

    fn asked(&self) -> usize {
        let asked = fs::read_to_string(self.path("asked"));
        asked.unwrap_or_default().lines().count()
    }
}

#[test]
fn an_absence_counts_only_while_a_canary_resolves() {
    let service = Service::start();
    // No login is known to come from the service: it may have none.
    service.set("here", false);
    assert_eq!(service.uid_of("new1").expect("believed"), None);
    service.set("here", true);
    assert_eq!(service.uid_of("svc-al").expect("found"), Some(3001));
    assert_eq!(service.directory.canaries(), ["svc-al"]);
    assert_eq!(service.uid_of("new2").expect("proved"), None);
    service.set("here", false);
    let error = service.uid_of("new3").expect_err("no proof").to_string();
    assert!(error.contains("does not find svc-al"), "{error}");
    assert!(service.login_of(3002).is_err(), "svc-bob may come again");
    assert!(
        service.uid_of("svc-bob").is_err(),
        "it may be a login, and is one"
    );
    service.set("here", true);
    assert_eq!(service.uid_of("svc-bob").expect("found"), Some(3002));
    assert_eq!(service.uid_of("new3").expect("proved"), None);
    service.helper.end();
}

#[test]
fn an_absence_proves_nothing_if_the_directory_comes_back_after_it() {
    let service = Service::start();
    assert_eq!(service.uid_of("svc-al").expect("found"), Some(3001));
    service.set("here", false);
    // The script makes the directory available while it looks for this name.
    assert!(service.uid_of("late").is_err());
    assert!(service.path("here").exists(), "it was asked");
    assert_eq!(service.directory.canaries(), ["svc-al"]);
    assert_eq!(service.uid_of("late").expect("proved"), None);
    service.helper.end();
}

#[test]
fn a_login_of_a_source_that_is_always_there_is_no_canary() {
    let service = Service::start();
    assert_eq!(service.uid_of("dyn").expect("found"), Some(61_200));
    assert_eq!(service.directory.canaries(), [] as [String; 0]);
    service.helper.end();
}

#[test]
fn without_an_answer_the_last_one_stands() {
    let service = Service::start();
    assert_eq!(
        service.login_of(3001).expect("found").as_deref(),
        Some("svc-al")
    );
    assert_eq!(service.uid_of("svc-al").expect("found"), Some(3001));
    assert_eq!(service.uid_of("open").expect("proved"), None);
    service.set("here", false);
    let asked = service.asked();
    for name in ["svc-al", "open"] {
        service.uid_of(name).expect("fresh");
    }
    assert_eq!(service.asked(), asked, "answers are used for a minute");
    service.age();
    assert_eq!(
        service.login_of(3001).expect("kept").as_deref(),
        Some("svc-al")
    );
    assert_eq!(service.uid_of("svc-al").expect("kept"), Some(3001));
    assert!(service.uid_of("open").is_err(), "it may be a login by now");
    let asked = service.asked();
    service.uid_of("svc-al").expect("kept");
    assert_eq!(service.asked(), asked, "it is asked once a minute");
    // When the service is back, the account is deleted.
    service.set("here", true);
    assert_eq!(service.uid_of("svc-bob").expect("found"), Some(3002));
    service.set("svc-al", false);
    service.age();
    assert_eq!(service.login_of(3001).expect("proved"), None);
    assert_eq!(service.uid_of("svc-al").expect("proved"), None);
    assert_eq!(
        service.directory.canaries(),
        ["svc-bob"],
        "svc-al is deleted"
    );
    service.helper.end();
}

#[test]
fn a_flood_of_names_does_not_replace_the_answer_about_a_client() {
    let service = Service::start();
    assert_eq!(
        service.login_of(3001).expect("found").as_deref(),
        Some("svc-al")
    );
    for n in 0..4 * ANSWERS {
        let name = format!("n{n}");
        service.directory.shared.of_name(&name).keep(&name, None);
    }
    service.set("here", false);
    assert_eq!(
        service.login_of(3001).expect("kept").as_deref(),
        Some("svc-al")
    );
    service.helper.end();
}

#[test]
fn when_all_canaries_are_deleted_the_next_login_becomes_one() {
    let service = Service::start();
    service.directory.expect(["d1", "d2", "d3", "d4"]);
    assert!(service.uid_of("new").is_err(), "none resolves");
    assert_eq!(service.uid_of("svc-carol").expect("found"), Some(3003));
    assert!(service.directory.canaries().contains(&"svc-carol".into()));
    assert_eq!(service.uid_of("new").expect("proved"), None);
    assert_eq!(service.directory.canaries(), ["svc-carol"]);
    service.helper.end();
}
