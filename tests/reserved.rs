//! Tests of reserved names: the logins of the machine belong to their accounts, whether or not these have used the daemon.
//! The daemons run in a mount namespace with an /etc of their own, in which accounts come and go.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::logins::ask_as;
use crate::support::frames::{Frames, register};
use crate::support::others::public_dir;
use crate::support::session::Session;
use crate::support::{Daemon, program, skip, wait_until};

const ACCEPTED: &str = "Message accepted and stored:\n";
const ROOT: &str = "root:x:0:0:root:/root:/bin/sh\n";

/// A daemon with an /etc/passwd of its own.
pub(crate) struct Machine {
    pub(crate) daemon: Daemon,
    passwd: PathBuf,
}

/// The mount namespace of a machine: the arguments of unshare(1), to which the directory in place of /etc is added.
const UNSHARE: [&str; 6] = [
    "-m",
    "--propagation",
    "private",
    "sh",
    "-c",
    "mount --bind \"$0\" /etc && exec \"$@\"",
];

impl Machine {
    /// Starts a daemon on a machine with these lines in /etc/passwd. `None`, with a reported skip, if not permitted.
    pub(crate) fn with(test: &str, accounts: &str, config: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip(test, "replacing /etc needs root");
            return None;
        }
        let dir = public_dir();
        let etc = dir.path().join("etc");
        let passwd = etc.join("passwd");
        fs::create_dir(&etc).expect("made");
        fs::write(&passwd, format!("{ROOT}{accounts}")).expect("written");
        fs::write(etc.join("nsswitch.conf"), "passwd: files\n").expect("written");
        fs::set_permissions(&passwd, Permissions::from_mode(0o644)).expect("set");
        let etc = etc.display().to_string();
        let can = Command::new("unshare")
            .args(UNSHARE)
            .args([&etc, "true"])
            .stderr(Stdio::null())
            .status();
        if !can.is_ok_and(|status| status.success()) {
            skip(test, "cannot mount a directory over /etc");
            return None;
        }
        let starter = [&["unshare"][..], &UNSHARE, &[&etc]].concat();
        let config = format!("reserve_logins = true\n{config}");
        let daemon = Daemon::started_by(&starter, dir, &config);
        Some(Self { daemon, passwd })
    }

    /// Replaces the accounts as useradd(8) does: by a rename.
    pub(crate) fn set_accounts(&self, accounts: &str) {
        let new = self.passwd.with_extension("new");
        fs::write(&new, format!("{ROOT}{accounts}")).expect("written");
        fs::rename(&new, &self.passwd).expect("renamed");
    }

    /// Writes a file of /etc.
    pub(crate) fn set_file(&self, name: &str, text: &str) {
        fs::write(self.passwd.with_file_name(name), text).expect("written");
    }

    /// Returns the command that runs `droplinectl` on this machine, on the spool and the run directory of the daemon.
    pub(crate) fn operator(&self, args: &[&str]) -> Command {
        self.operator_on(&self.daemon.spool(), args)
    }

    /// Returns the same command for another spool.
    pub(crate) fn operator_on(&self, spool: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(UNSHARE).arg(self.passwd.with_file_name(""));
        command.arg(program("droplinectl").get_program());
        command.arg("--run-dir").arg(self.daemon.path().join("run"));
        command.arg("--spool").arg(spool).args(args);
        command
    }

    /// Replaces the configuration, and makes the daemon read it.
    fn configure(&self, config: &str) {
        let daemon = &self.daemon;
        let read = "the configuration was read again";
        let before = daemon.log().matches(read).count();
        let config = format!("user = \"root\"\nreserve_logins = true\n{config}");
        fs::write(daemon.path().join("droplined.toml"), config).expect("written");
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until(read, || daemon.log().matches(read).count() > before);
    }

    /// Returns the reply to a request over the socket by this uid.
    pub(crate) fn ask_as(&self, uid: u32, request: &str) -> String {
        ask_as(&self.daemon, &uid.to_string(), request)
    }
}

const FRANK: &str = "frank:x:4711:100::/nowhere:/bin/sh\n";

fn closed(name: &str) -> String {
    format!(
        "Message declined. Not allowed: {name} belongs to a login of the server's machine, who uses its socket there\n"
    )
}

#[test]
fn tcp_clients_cannot_act_as_a_login_that_never_used_the_daemon() {
    let test = "tcp_clients_cannot_act_as_a_login_that_never_used_the_daemon";
    let Some(machine) = Machine::with(test, FRANK, "open_logins = [\"games\"]\n") else {
        return;
    };
    let daemon = &machine.daemon;
    assert_eq!(machine.ask_as(0, "store;frank;root;for frank\n"), ACCEPTED);
    assert_eq!(daemon.ask("store;frank;al;from TCP\n"), ACCEPTED);
    assert_eq!(daemon.ask("fetch;frank\n"), closed("frank"));
    assert_eq!(daemon.ask("store;al;root;not root\n"), closed("root"));
    assert_eq!(register(daemon, "frank", "127.0.0.1 9"), ["401"]);
    let mut session = Session::over(daemon.connect());
    let hello = session.ask("HELLO dropline/1 name=frank");
    assert!(hello.starts_with("ERR denied "), "{hello}");
    let read = machine.ask_as(4_711, "fetch;frank\n");
    assert!(
        read.contains("frank;root;for frank\n") && read.contains("frank;al;from TCP\n"),
        "{read}"
    );
    // Other names are open.
    assert_eq!(daemon.ask("store;bob;al;hi\n"), ACCEPTED);
    assert!(daemon.ask("fetch;bob\n").contains("bob;al;hi\n"));
}

#[test]
fn names_follow_the_accounts_of_a_running_machine() {
    let test = "names_follow_the_accounts_of_a_running_machine";
    let Some(machine) = Machine::with(test, "", "") else {
        return;
    };
    let daemon = &machine.daemon;
    let mut session = Session::of(daemon, "frank");
    assert!(session.ask("ONLINE port=9").starts_with("OK lease="));
    daemon.store("frank", "al", "for an open name");
    session.send("FETCH\n");
    assert_eq!(session.messages().0.len(), 1);
    assert_eq!(session.ask("ACK 1"), "OK");
    daemon.store("frank", "al", "waits");
    machine.set_accounts(FRANK);
    wait_until("the daemon knows the account", || {
        daemon.ask("fetch;frank\n") == closed("frank")
    });
    // A session that was opened before.
    for request in [
        "FETCH",
        "HISTORY",
        "STATUS to=frank seq=1",
        "RENEW",
        "WATCH",
    ] {
        let reply = session.ask(request);
        assert!(reply.starts_with("ERR denied "), "{request}: {reply}");
    }
    // The account begins with an empty mailbox, whose numbers continue.
    let empty = "Retrieving messages...\nNO MORE MESSAGES";
    assert_eq!(machine.ask_as(4_711, "fetch;frank\n"), empty);
    let reply = machine.ask_as(0, "HELLO dropline/1\nSEND frank 2\nhi\n");
    assert!(reply.contains(" to=frank seq=3"), "{reply}");
    let released = fs::read_dir(daemon.spool().join("released")).expect("listed");
    assert_eq!(released.count(), 1, "the earlier messages are set aside");
    // The account is deleted. Its name stays closed.
    machine.set_accounts("");
    wait_until("the daemon knows that the account is gone", || {
        machine
            .ask_as(4_711, "fetch;frank\n")
            .contains("user number 4711")
    });
    assert_eq!(daemon.ask("fetch;frank\n"), closed("frank"));
    // An account of the same name with another uid is another owner.
    machine.set_accounts("frank:x:4712:100::/nowhere:/bin/sh\n");
    let other =
        "Message declined. Not allowed: frank has another owner; ask the operator of the server\n";
    wait_until("the daemon knows the new account", || {
        machine.ask_as(4_712, "fetch;frank\n") == other
    });
    let reply = machine.ask_as(4_712, "HELLO dropline/1\nFETCH\n");
    assert!(reply.starts_with("ERR denied "), "{reply}");
    // The owner stays the same if the name is open to TCP clients from now on.
    machine.configure("open_logins = [\"frank\"]\n");
    assert_eq!(machine.ask_as(4_712, "fetch;frank\n"), other);
    // After a release, it begins with an empty mailbox.
    let output = machine.operator(&["release", "frank"]).output();
    let output = output.expect("run");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(machine.ask_as(4_712, "fetch;frank\n"), empty);
}

#[test]
fn a_uid_acts_under_a_name_only_if_the_name_has_that_uid() {
    let test = "a_uid_acts_under_a_name_only_if_the_name_has_that_uid";
    // The second line with a name, and a second name of a uid.
    let accounts = format!("{FRANK}frank:x:4800:100::/:/bin/sh\ntoor:x:4711:100::/:/bin/sh\n");
    let Some(machine) = Machine::with(test, &accounts, "") else {
        return;
    };
    assert_eq!(
        machine.ask_as(4_711, "store;frank;frank;to myself\n"),
        ACCEPTED
    );
    for uid in [4_800, 65_534] {
        let refused = format!("Not allowed: user number {uid} ");
        let reply = machine.ask_as(uid, "fetch;frank\n");
        assert!(reply.contains(&refused), "{reply}");
    }
    let reply = machine.ask_as(4_711, "fetch;toor\n");
    assert!(reply.contains("over this socket you are frank"), "{reply}");
    assert_eq!(machine.daemon.ask("fetch;toor\n"), closed("toor"));
}

const RECONFIGURED: &str = "ERR shutdown The server's configuration has changed, try again later";

#[test]
fn a_reload_that_closes_a_name_takes_it_from_open_sessions() {
    let test = "a_reload_that_closes_a_name_takes_it_from_open_sessions";
    let Some(machine) = Machine::with(test, FRANK, "open_logins = [\"frank\"]\n") else {
        return;
    };
    let daemon = &machine.daemon;
    daemon.store("frank", "al", "one");
    let mut session = Session::of(daemon, "frank");
    session.send("FETCH\n");
    assert_eq!(session.messages().0.len(), 1);
    let mut watch = Session::of(daemon, "bob");
    watch.send("WATCH\n");
    let mut unnamed = Session::over(daemon.connect());
    unnamed.ask("HELLO dropline/1");
    assert_eq!(unnamed.ask("WHO"), "END n=0 more=0");
    // A wider configuration takes nothing away.
    machine.configure("open_logins = [\"frank\", \"games\"]\n");
    assert!(session.ask("STATUS to=frank seq=1").contains("of yours"));
    machine.configure("");
    for request in ["ACK 1", "FETCH", "HISTORY", "ONLINE port=9"] {
        assert_eq!(session.ask(request), RECONFIGURED, "{request}");
    }
    session.send("SEND al 2\nhi\n");
    assert_eq!(session.line(), RECONFIGURED);
    for request in ["WHO", "LOOKUP bob"] {
        assert_eq!(unnamed.ask(request), RECONFIGURED, "{request}");
    }
    // A session with another name ends as well. Its client connects again.
    daemon.store("bob", "al", "hi");
    assert_eq!(watch.line(), RECONFIGURED);
    assert!(watch.is_over());
    // New connections know the configuration.
    assert_eq!(daemon.ask("fetch;frank\n"), closed("frank"));
    let mut again = Session::of(daemon, "bob");
    assert!(again.ask("ONLINE port=9").starts_with("OK "));
    // What a TCP client has seen is not for the login.
    let read = machine.ask_as(4_711, "fetch;frank\n");
    assert_eq!(read, "Retrieving messages...\nNO MORE MESSAGES");
}

#[test]
fn a_login_that_is_no_longer_open_begins_with_an_empty_mailbox() {
    let test = "a_login_that_is_no_longer_open_begins_with_an_empty_mailbox";
    let Some(machine) = Machine::with(test, FRANK, "open_logins = [\"frank\"]\n") else {
        return;
    };
    let daemon = &machine.daemon;
    daemon.store("frank", "al", "one");
    let read = machine.ask_as(4_711, "fetch;frank\n");
    assert!(read.contains("frank;al;one\n"), "{read}");
    daemon.store("frank", "al", "two");
    machine.configure("");
    // TCP clients may have read the first message as well, and may have chosen the second.
    let empty = "Retrieving messages...\nNO MORE MESSAGES";
    assert_eq!(machine.ask_as(4_711, "fetch;frank\n"), empty);
    let released = fs::read_dir(daemon.spool().join("released")).expect("listed");
    assert_eq!(released.count(), 1);
}

#[test]
fn the_log_names_each_closed_name_once() {
    let test = "the_log_names_each_closed_name_once";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    let daemon = &machine.daemon;
    for _ in 0..3 {
        assert_eq!(daemon.ask("fetch;frank\n"), closed("frank"));
    }
    daemon.store("frank", "al", "a message makes the record");
    assert_eq!(daemon.ask("fetch;root\n"), closed("root"));
    assert_eq!(daemon.ask("fetch;frank\n"), closed("frank"));
    for name in ["frank", "root"] {
        let said = format!("{name} is closed to TCP clients");
        assert_eq!(daemon.log().matches(&said).count(), 1, "{}", daemon.log());
    }
    assert!(!daemon.log().contains("al is closed"));
}

#[test]
fn a_client_that_took_a_name_before_it_was_a_login_gets_no_instant_messages() {
    let test = "a_client_that_took_a_name_before_it_was_a_login_gets_no_instant_messages";
    let Some(machine) = Machine::with(test, "", "") else {
        return;
    };
    let daemon = &machine.daemon;
    let taken = register(daemon, "frank", "127.0.0.1 9");
    assert_eq!(taken, ["400", "400"]);
    let mut al = Session::of(daemon, "al");
    let address = "OK name=frank online=1 addr=127.0.0.1 port=9 speaks=text";
    assert_eq!(al.ask("LOOKUP frank"), address);
    machine.set_accounts(FRANK);
    let unknown = "ERR unknown-user frank is not registered";
    wait_until("the daemon knows the account", || {
        al.ask("LOOKUP frank") == unknown
    });
    assert_eq!(Frames::say(daemon, &["!send", "frank"]).frame(), "403");
}

#[test]
fn a_new_owner_is_not_told_what_the_former_one_has_sent() {
    let test = "a_new_owner_is_not_told_what_the_former_one_has_sent";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    let session = |uid, requests: &str| {
        let hello = format!("HELLO dropline/1\n{requests}");
        machine.ask_as(uid, &hello)
    };
    let sent = session(4_711, "SEND al 2\nhi\nSTATUS to=al seq=1\n");
    assert!(sent.contains("\nOK state=waiting "), "{sent}");
    machine.set_accounts("frank:x:4712:100::/nowhere:/bin/sh\n");
    let output = machine.operator(&["release", "frank"]).output();
    assert!(output.expect("run").status.success());
    wait_until("the daemon knows the account", || {
        session(4_712, "").starts_with("OK ")
    });
    let asked = session(4_712, "STATUS to=al seq=1\n");
    assert!(
        asked.contains("\nERR denied there is no message"),
        "{asked}"
    );
}
