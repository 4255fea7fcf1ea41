//! Tests of the login helper, which runs getent(1) for logins that are not in /etc/passwd. The daemons run in a mount
//! namespace with another getent and another nsswitch.conf.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::others::public_dir;
use crate::support::session::Session;
use crate::support::{Daemon, is_dead, skip, wait_until};

/// Uids that are not in /etc/passwd: getent returns an entry, hangs, or returns the entry of another uid.
const ELSEWHERE: u32 = 3_000_000_001;
const HANGS: u32 = 3_000_000_002;
const MISTAKEN: u32 = 3_000_000_003;

/// While the file AWAY exists, the directory service is away.
const GETENT: &str = "#!/bin/sh
[ \"$1\" = -s ] && [ \"$2\" = passwd:sss ] && shift 2
[ \"$1 $2\" = 'passwd --' ] || exit 1
shift 2
status=0
for key; do
    case \"$key\" in
    3000000001 | elsewhere) line='elsewhere:*:3000000001:100:Else Where:/nowhere:/bin/sh' ;;
    3000000005 | another) line='another:*:3000000005:100::/nowhere:/bin/sh' ;;
    3000000002 | hangs*) exec sleep 3600 ;;
    3000000003) line='root:*:0:0::/:/bin/sh' ;;
    broken) exit 3 ;;
    *) line= ;;
    esac
    if [ \"$line\" ] && [ ! -e AWAY ]; then echo \"$line\"; else status=2; fi
done
exit $status
";

/// Starts a daemon with [`GETENT`] and these lines of nsswitch.conf. `None`, with a reported skip, if not permitted.
fn daemon(test: &str, sources: &str, config: &str) -> Option<Daemon> {
    daemon_in(test, public_dir(), sources, config)
}

/// Like [`daemon`], in the directory of an earlier daemon.
fn daemon_in(test: &str, dir: TempDir, sources: &str, config: &str) -> Option<Daemon> {
    let getent = getent(&dir);
    daemon_with(test, dir, &getent, sources, config)
}

/// Makes [`GETENT`].
fn getent(dir: &TempDir) -> PathBuf {
    let away = dir.path().join("away").display().to_string();
    let getent = dir.path().join("getent");
    fs::write(&getent, GETENT.replace("AWAY", &away)).expect("written");
    fs::set_permissions(&getent, Permissions::from_mode(0o755)).expect("set");
    getent
}

/// Starts a daemon with this file in place of getent.
fn daemon_with(
    test: &str,
    dir: TempDir,
    getent: &Path,
    sources: &str,
    config: &str,
) -> Option<Daemon> {
    let starter = starter(test, &dir, getent, sources)?;
    let starter: Vec<_> = starter.iter().map(String::as_str).collect();
    Some(Daemon::started_by(&starter, dir, config))
}

/// Returns a command that starts a daemon with this file in place of getent.
fn starter(test: &str, dir: &TempDir, getent: &Path, sources: &str) -> Option<Vec<String>> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "replacing getent needs root");
        return None;
    }
    let nsswitch = dir.path().join("nsswitch.conf");
    fs::write(&nsswitch, sources).expect("written");
    let view = "mount --bind \"$0\" /usr/bin/getent && mount --bind \"$1\" /etc/nsswitch.conf && \
                shift && exec \"$@\"";
    let paths = [getent, &nsswitch].map(|path| path.display().to_string());
    let unshare = ["unshare", "-m", "--propagation", "private"];
    let can = Command::new("unshare")
        .args(&unshare[1..])
        .args(["sh", "-c", view, &paths[0], &paths[1], "true"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        skip(test, "cannot mount a file over /usr/bin/getent");
        return None;
    }
    let starter = [&unshare[..], &["sh", "-c", view, &paths[0], &paths[1]]].concat();
    Some(starter.into_iter().map(str::to_owned).collect())
}

const SOURCES: &str = "passwd: files sss\ngroup: files\n";

/// Opens a session over the socket under this uid. Returns the replies and the time until the end.
fn ask_as(daemon: &Daemon, uid: u32) -> (String, Duration) {
    let begun = Instant::now();
    let uid = uid.to_string();
    let said = crate::logins::ask_as(daemon, &uid, "HELLO dropline/1\nQUIT\n");
    (said, begun.elapsed())
}

/// Returns whether a process runs and is not a zombie.
fn runs(pid: &str) -> bool {
    !is_dead(pid)
}

/// Returns the pid of the login helper. Waits for it, because it may just be starting.
fn helper_of(daemon: &Daemon) -> String {
    wait_until("the helper runs", || daemon.login_helper().is_some());
    daemon.login_helper().expect("one")
}

/// Sends these signals to a process.
fn signal(pid: &str, signals: &[Signal]) {
    for signal in signals {
        let pid = Pid::from_raw(pid.parse().expect("a number"));
        kill(pid, *signal).expect("sent");
    }
}

const NO_LOGIN: &str = "ERR denied Not allowed: user number ";
const NO_ANSWER: &str = "ERR internal The server cannot look up whether user number ";

#[test]
fn a_login_that_is_not_in_passwd_is_looked_up() {
    for config in ["", "user = \"games\"\n", "sandbox = \"off\"\n"] {
        let test = "a_login_that_is_not_in_passwd_is_looked_up";
        let Some(daemon) = daemon(test, SOURCES, config) else {
            return;
        };
        let (said, _) = ask_as(&daemon, ELSEWHERE);
        let greeting = "OK dropline/1 name=elsewhere trust=local ";
        assert!(said.starts_with(greeting), "{config}: {said}");
        // An entry for another uid, and a missing entry, are refused.
        for uid in [MISTAKEN, 3_000_000_004] {
            let (said, _) = ask_as(&daemon, uid);
            assert!(said.starts_with(NO_LOGIN), "{config}: {said}");
        }
        let (said, _) = ask_as(&daemon, 2);
        assert!(said.starts_with("OK dropline/1 name=bin "), "{said}");
    }
}

#[test]
fn a_getent_that_hangs_delays_only_its_own_client() {
    let test = "a_getent_that_hangs_delays_only_its_own_client";
    let Some(daemon) = daemon(test, SOURCES, "") else {
        return;
    };
    let helper = helper_of(&daemon);
    let asks = || crate::support::children(helper.parse().expect("a number"));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask_as(&daemon, HANGS));
        wait_until("getent runs", || !asks().is_empty());
        for uid in [ELSEWHERE, 2, 0] {
            let (said, took) = ask_as(&daemon, uid);
            assert!(said.starts_with("OK "), "{said}");
            assert!(took < Duration::from_secs(4), "{uid}: {took:?}");
        }
        daemon.store("ulla", "al", "TCP clients do not wait");
        let (said, took) = waits.join().expect("joined");
        assert!(said.starts_with(NO_ANSWER), "{said}");
        assert!(took > Duration::from_secs(4), "{took:?}");
        assert!(took < Duration::from_secs(9), "{took:?}");
    });
    daemon.logged("cannot look up the login of uid 3000000002: getent does not answer");
    wait_until("getent is killed", || asks().is_empty());
    let (said, _) = ask_as(&daemon, ELSEWHERE);
    assert!(said.starts_with("OK "), "{said}");
}

#[test]
fn a_helper_has_no_descriptor_of_the_master() {
    let test = "a_helper_has_no_descriptor_of_the_master";
    let Some(daemon) = daemon(test, SOURCES, "user = \"games\"\n") else {
        return;
    };
    let helper = helper_of(&daemon);
    let of = |pid: &str, fd: &str| fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let open = |pid: &str| -> Vec<PathBuf> {
        let dir = fs::read_dir(format!("/proc/{pid}/fd")).expect("readable");
        let names = dir.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbered = names.filter(|name| name.parse().is_ok_and(|n: i32| n > 2));
        numbered.filter_map(|name| of(pid, &name).ok()).collect()
    };
    // The helper has its ends of two socket pairs, and no other descriptor.
    let [sockets, others] = [true, false].map(|is_socket| {
        let all = open(&helper).into_iter();
        all.filter(|path| path.to_string_lossy().starts_with("socket:") == is_socket)
            .collect::<Vec<_>>()
    });
    assert_eq!(others, [] as [PathBuf; 0]);
    assert_eq!(sockets.len(), 2, "{sockets:?}");
    let masters = open(&daemon.pid().to_string());
    assert!(!sockets.iter().any(|socket| masters.contains(socket)));
    let log = daemon.path().join("log");
    assert_eq!(of(&helper, "2").expect("open"), log);
    // Descriptor 1 was the one of --ready-fd.
    for fd in ["0", "1"] {
        assert_eq!(of(&helper, fd).expect("open"), Path::new("/dev/null"));
    }
    let status = fs::read_to_string(format!("/proc/{helper}/status")).expect("readable");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(status.contains("Uid:\t5\t5\t5\t5\n"), "{status}");
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
    // A child has two connections to the helper: for the login of its client, and to look up whether a name is a login.
    let held = daemon.say(b"\x00");
    wait_until("there is a child", || !daemon.children().is_empty());
    let child = daemon.children()[0].clone();
    let way = |pid: &str| {
        let all = open(pid).into_iter();
        let sockets = all.filter(|path| path.to_string_lossy().starts_with("socket:"));
        sockets.filter(|path| masters.contains(path)).count()
    };
    wait_until("the child has closed the other descriptors", || {
        way(&child) == 2
    });
    drop(held);
    wait_until("no child runs", || daemon.children().is_empty());
    let socket = daemon.path().join("run/dropline.sock");
    let mut held = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    std::io::Write::write_all(&mut held, b"HELLO dropline/1\n").expect("sent");
    std::io::Read::read_exact(&mut held, &mut [0; 10]).expect("an answer");
    let child = daemon.children()[0].clone();
    assert_eq!(way(&child), 2);
}

#[test]
fn a_killed_helper_is_restarted() {
    let test = "a_killed_helper_is_restarted";
    let Some(mut daemon) = daemon(test, SOURCES, "") else {
        return;
    };
    let first = helper_of(&daemon);
    let supervisor = daemon.supervisor().expect("one");
    // The terminal sends signals to the whole process group, but they are for the master.
    for pid in [&first, &supervisor] {
        signal(
            pid,
            &[
                Signal::SIGINT,
                Signal::SIGTERM,
                Signal::SIGHUP,
                Signal::SIGUSR1,
            ],
        );
    }
    let (said, _) = ask_as(&daemon, ELSEWHERE);
    assert!(said.starts_with("OK "), "{said}");
    assert_eq!(helper_of(&daemon), first);
    let mut pids = vec![first];
    for pause in ["100ms", "200ms", "400ms", "800ms"] {
        let last = pids.last().expect("one").clone();
        signal(&last, &[Signal::SIGKILL]);
        daemon.logged(&format!(
            "the helper for logins (process {last}) killed by SIGKILL: it is started again in {pause}; until then"
        ));
        // Before the restart, requests without a lookup are served, and a lookup waits.
        let (said, _) = ask_as(&daemon, 2);
        assert!(said.starts_with("OK dropline/1 name=bin "), "{said}");
        let (said, took) = ask_as(&daemon, ELSEWHERE);
        assert!(said.starts_with("OK dropline/1 name=elsewhere "), "{said}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        let next = helper_of(&daemon);
        assert!(!pids.contains(&next), "{pids:?} {next}");
        pids.push(next);
    }
    assert_eq!(daemon.supervisor(), Some(supervisor));
    assert_eq!(crate::support::counter(&daemon, "crashes"), 0);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
}

#[test]
fn a_killed_supervisor_is_replaced_with_its_helpers() {
    let test = "a_killed_supervisor_is_replaced_with_its_helpers";
    let Some(mut daemon) = daemon(test, SOURCES, "") else {
        return;
    };
    let reserve_of = |daemon: &Daemon| {
        wait_until("there is a reserve", || daemon.reserve().is_some());
        daemon.reserve().expect("one")
    };
    // A reserve that is killed is replaced as well.
    let first = reserve_of(&daemon);
    signal(&first, &[Signal::SIGKILL]);
    wait_until("there is another reserve", || {
        daemon.reserve().is_some_and(|pid| pid != first)
    });
    for pause in ["100ms", "200ms", "400ms"] {
        let helpers = [helper_of(&daemon), daemon.writer().expect("one")];
        let (supervisor, reserve) = (daemon.supervisor().expect("one"), reserve_of(&daemon));
        signal(&supervisor, &[Signal::SIGKILL]);
        daemon.logged(&format!(
            "warning: the supervisor of the helper processes (process {supervisor}) killed by SIGKILL: process {reserve} \
             replaces it in {pause}; until then "
        ));
        wait_until("its helpers are gone", || {
            helpers.iter().all(|pid| is_dead(pid))
        });
        // A lookup waits for the next helper.
        let (said, took) = ask_as(&daemon, ELSEWHERE);
        assert!(said.starts_with("OK dropline/1 name=elsewhere "), "{said}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        daemon.store("ulla", "al", "hi");
        wait_until("the writer runs", || daemon.writer().is_some());
        assert_eq!(daemon.supervisor(), Some(reserve));
    }
    assert_eq!(crate::support::counter(&daemon, "crashes"), 0);
    let all = [
        daemon.supervisor().expect("one"),
        reserve_of(&daemon),
        daemon.writer().expect("one"),
        helper_of(&daemon),
    ];
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    for pid in all {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn without_a_supervisor_and_a_reserve_a_daemon_serves_and_logs_it_once() {
    let test = "without_a_supervisor_and_a_reserve_a_daemon_serves_and_logs_it_once";
    let Some(mut daemon) = daemon(test, SOURCES, "") else {
        return;
    };
    let (helper, writer) = (helper_of(&daemon), daemon.writer().expect("one"));
    let supervisor = daemon.kill_supervisor_and_reserve();
    let said = "error: the supervisor of the helper processes (process ";
    daemon.logged(&format!("{said}{supervisor}) killed by SIGKILL: until"));
    wait_until("the helpers are gone", || !runs(&helper) && !runs(&writer));
    for _ in 0..3 {
        let (said, took) = ask_as(&daemon, ELSEWHERE);
        assert!(said.starts_with(NO_ANSWER), "{said}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        let (said, _) = ask_as(&daemon, 2);
        assert!(said.starts_with("OK dropline/1 name=bin "), "{said}");
    }
    daemon.store("ulla", "al", "hi");
    assert_eq!(daemon.log().matches(said).count(), 1, "{}", daemon.log());
    assert_eq!(crate::support::counter(&daemon, "crashes"), 0);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
}

#[test]
fn no_helper_outlives_its_daemon() {
    let test = "no_helper_outlives_its_daemon";
    let Some(mut ends) = daemon(test, SOURCES, "") else {
        return;
    };
    let family = |daemon: &Daemon| {
        let supervisor = daemon.supervisor().expect("one");
        let writer = daemon.writer().expect("one");
        wait_until("there is a reserve", || daemon.reserve().is_some());
        let reserve = daemon.reserve().expect("one");
        [supervisor, reserve, writer, helper_of(daemon)]
    };
    let all = family(&ends);
    ends.signal(Signal::SIGTERM);
    assert!(ends.ended().success());
    for pid in all {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
    assert!(!ends.log().contains("helper"), "{}", ends.log());
    let killed = daemon(test, SOURCES, "").expect("as before");
    let helper = helper_of(&killed);
    // A running getent ends as well.
    std::thread::scope(|scope| {
        scope.spawn(|| ask_as(&killed, HANGS));
        let mut asks = Vec::new();
        wait_until("getent runs", || {
            asks = crate::support::children(helper.parse().expect("a number"));
            !asks.is_empty()
        });
        let all = family(&killed);
        killed.signal(Signal::SIGKILL);
        wait_until("all processes have exited", || {
            !all.iter().any(|pid| runs(pid)) && !runs(&asks[0])
        });
    });
}

#[test]
fn without_a_directory_service_there_is_no_login_helper() {
    let test = "without_a_directory_service_there_is_no_login_helper";
    let Some(daemon) = daemon(test, "passwd: files\n", "") else {
        return;
    };
    let supervisor = daemon.supervisor().expect("one");
    wait_until("there is a reserve", || daemon.reserve().is_some());
    let mut helpers = crate::support::children(supervisor.parse().expect("a number"));
    helpers.sort();
    let expected = [
        daemon.writer(),
        daemon.helper("droplined: budgets"),
        daemon.reserve(),
    ];
    let mut expected = expected.map(|pid| pid.expect("one"));
    expected.sort();
    assert_eq!(helpers, expected);
    let (said, _) = ask_as(&daemon, ELSEWHERE);
    assert!(said.starts_with(NO_LOGIN), "{said}");
    let (said, _) = ask_as(&daemon, 2);
    assert!(said.starts_with("OK dropline/1 name=bin "), "{said}");
    assert!(!daemon.log().contains("warning: "), "{}", daemon.log());
}

#[test]
fn tcp_clients_cannot_act_as_a_login_that_is_not_in_passwd() {
    let test = "tcp_clients_cannot_act_as_a_login_that_is_not_in_passwd";
    let Some(daemon) = daemon(test, SOURCES, "reserve_logins = true\n") else {
        return;
    };
    for _ in 0..2 {
        // The second time, the answer is taken from memory.
        let reply = daemon.ask("fetch;elsewhere\n");
        assert!(reply.contains("elsewhere belongs to a login"), "{reply}");
        let reply = daemon.ask("fetch;unknown-name\n");
        assert!(reply.ends_with("There is no such name"), "{reply}");
        // A failure of getent does not open the name.
        let reply = daemon.ask("fetch;broken\n");
        assert!(
            reply.contains("cannot look up whether broken is a login"),
            "{reply}"
        );
    }
}

const RESERVED: &str = "reserve_logins = true\n";

/// Returns the reply to a request over the socket under this uid.
fn line_as(daemon: &Daemon, uid: u32, request: &str) -> String {
    crate::logins::ask_as(daemon, &uid.to_string(), request)
}

const UNKNOWN: &str = "Message declined. The server cannot look up whether ";

#[test]
fn while_the_directory_is_away_new_names_are_refused_and_their_mail_waits() {
    let test = "while_the_directory_is_away_new_names_are_refused_and_their_mail_waits";
    let Some(first) = daemon(test, SOURCES, RESERVED) else {
        return;
    };
    first.store("ulla", "al", "one");
    assert_eq!(first.fetch("ulla"), ["ulla;al;one"]);
    first.store("ulla", "al", "two");
    // The daemon learns that this login comes from the directory, and keeps that over a restart.
    assert!(
        first
            .ask("fetch;elsewhere\n")
            .contains("belongs to a login")
    );
    let canaries = || fs::read_to_string(first.spool().join("canaries"));
    wait_until("the login is kept, after the reply", || {
        canaries().is_ok_and(|text| text.starts_with("elsewhere "))
    });
    let dir = first.kill();
    let away = dir.path().join("away");
    fs::write(&away, "").expect("written");
    let second = daemon_in(test, dir, SOURCES, RESERVED).expect("as before");
    // A name that TCP clients use is open. A new name, which may be a login, is not.
    assert_eq!(second.fetch("ulla"), ["ulla;al;two"]);
    let refused = second.ask("store;ulla;newname;hi\n");
    assert!(refused.starts_with(UNKNOWN), "{refused}");
    second.logged("getent does not find elsewhere there any more");
    second.store("another", "ulla", "waits");
    for _ in 0..2 {
        let refused = second.ask("fetch;another\n");
        assert!(refused.starts_with(UNKNOWN), "{refused}");
    }
    let mut session = Session::over(second.connect());
    let refused = session.ask("HELLO dropline/1 name=another");
    assert!(refused.starts_with("ERR internal "), "{refused}");
    fs::remove_file(&away).expect("removed");
    let refused = second.ask("fetch;another\n");
    assert!(refused.contains("another belongs to a login"), "{refused}");
    second.store("ulla", "newname", "hi");
    let read = line_as(&second, 3_000_000_005, "fetch;another\n");
    assert!(read.contains("\nanother;ulla;waits\n"), "{read}");
}

#[test]
fn mail_for_a_new_name_that_is_no_login_is_open_when_the_directory_is_back() {
    let test = "mail_for_a_new_name_that_is_no_login_is_open_when_the_directory_is_back";
    let Some(daemon) = daemon(test, SOURCES, RESERVED) else {
        return;
    };
    daemon.store("ulla", "al", "al is known");
    assert!(
        daemon
            .ask("fetch;elsewhere\n")
            .contains("belongs to a login")
    );
    let away = daemon.path().join("away");
    fs::write(&away, "").expect("written");
    daemon.store("script", "al", "waits");
    assert!(daemon.ask("fetch;script\n").starts_with(UNKNOWN));
    fs::remove_file(&away).expect("removed");
    assert_eq!(daemon.fetch("script"), ["script;al;waits"]);
}

#[test]
fn without_logins_from_elsewhere_all_other_names_are_open() {
    let test = "without_logins_from_elsewhere_all_other_names_are_open";
    for sources in ["passwd: files systemd\n", SOURCES] {
        let Some(daemon) = daemon(test, sources, RESERVED) else {
            return;
        };
        fs::write(daemon.path().join("away"), "").expect("written");
        daemon.store("ulla", "al", "hi");
        assert_eq!(daemon.fetch("ulla"), ["ulla;al;hi"]);
    }
}

#[test]
fn without_getent_new_names_are_refused_and_it_is_logged_once() {
    let test = "without_getent_new_names_are_refused_and_it_is_logged_once";
    let sources = "passwd: files systemd\n";
    // Not a regular file.
    let none = Path::new("/dev/null");
    let Some(daemon) = daemon_with(test, public_dir(), none, sources, RESERVED) else {
        return;
    };
    for name in ["newname", "other"] {
        let refused = daemon.ask(format!("fetch;{name}\n"));
        assert!(refused.starts_with(UNKNOWN), "{refused}");
    }
    let said = "cannot look up logins that are not in /etc/passwd: ";
    assert_eq!(daemon.log().matches(said).count(), 1, "{}", daemon.log());
    // Logins of the file are served, and names of logins are closed.
    assert!(line_as(&daemon, 2, "fetch;bin\n").starts_with("Retrieving "));
    assert!(daemon.ask("fetch;bin\n").contains("bin belongs to a login"));
    let open = daemon_with(test, public_dir(), none, sources, "").expect("as before");
    open.store("ulla", "al", "names are open without reserve_logins");
}

#[test]
fn a_flood_of_names_keeps_no_login_out() {
    let test = "a_flood_of_names_keeps_no_login_out";
    let Some(daemon) = daemon(test, SOURCES, RESERVED) else {
        return;
    };
    let helper = helper_of(&daemon);
    let asks = || crate::support::children(helper.parse().expect("a number")).len();
    let flood: Vec<_> = (0..40)
        .map(|n| daemon.say(format!("fetch;hangs{n}\n").as_bytes()))
        .collect();
    wait_until("all places for names are taken", || asks() == 8);
    let (said, took) = ask_as(&daemon, ELSEWHERE);
    assert!(said.starts_with("OK dropline/1 name=elsewhere "), "{said}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(flood);
}

#[test]
fn names_are_looked_up_without_a_unix_socket() {
    let test = "names_are_looked_up_without_a_unix_socket";
    let can = Command::new("systemd-socket-activate")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        return skip(test, "systemd-socket-activate is not installed");
    }
    let dir = public_dir();
    let Some(mut starter) = starter(test, &dir, &getent(&dir), SOURCES) else {
        return;
    };
    // The service manager passes a TCP socket only, and starts the daemon at the first connection.
    let address = format!("127.0.0.1:{}", crate::service::free_port());
    starter.extend(["systemd-socket-activate", "-l", &address].map(str::to_owned));
    let starter: Vec<_> = starter.iter().map(String::as_str).collect();
    let daemon = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("the manager listens", || {
                TcpStream::connect(&address).is_ok()
            });
        });
        Daemon::started_by(&starter, dir, RESERVED)
    });
    assert!(!daemon.path().join("run/dropline.sock").exists());
    let reply = daemon.ask("fetch;elsewhere\n");
    assert!(reply.contains("elsewhere belongs to a login"), "{reply}");
}
