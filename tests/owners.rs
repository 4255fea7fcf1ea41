//! Tests of `droplinectl release`, `owner`, `users`, `export` and `import` on the owners of names, with accounts that come
//! and go.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::reserved::Machine;
use crate::support::session::Session;
use crate::support::{Daemon, files_below, wait_until};

const FRANK: &str = "frank:x:4711:100::/nowhere:/bin/sh\n";
const EVE: &str = "eve:x:4712:100::/nowhere:/bin/sh\n";
const RELEASED: &str =
    "ERR denied Not allowed: the operator of the server has released frank; connect again";

/// Exit status, standard output, standard error.
type Ran = (i32, String, String);

fn run(mut command: Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let status = output.status.code().expect("a status");
    (status, text(output.stdout), text(output.stderr))
}

impl Machine {
    /// Runs `droplinectl`, which must succeed. Returns standard output and standard error.
    fn operate(&self, args: &[&str]) -> (String, String) {
        let (status, out, err) = run(self.operator(args));
        assert_eq!(status, 0, "{args:?}: {out}{err}");
        (out, err)
    }

    /// Stores a message from root.
    fn send(&self, to: &str, body: &str) {
        let reply = self.ask_as(0, &format!("store;{to};root;{body}\n"));
        assert_eq!(reply, "Message accepted and stored:\n");
    }

    /// Returns the owners other than root: names and uids.
    fn owners(&self) -> Vec<(String, String)> {
        let users = self.operate(&["users"]).0;
        let owner = |line: &str| {
            let fields: Vec<_> = line.split('\t').collect();
            (fields[0].to_owned(), fields[2].to_owned())
        };
        let owners = users.lines().map(owner);
        owners
            .filter(|(name, uid)| name != "root" && uid != "-")
            .collect()
    }
}

/// A session over the socket.
struct LocalSession {
    nc: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl LocalSession {
    fn of(machine: &Machine, uid: u32) -> Self {
        let mut session = Self::silent(machine, uid);
        let hello = session.ask("HELLO dropline/1");
        assert!(hello.starts_with("OK dropline/1 name="), "{hello}");
        session
    }

    /// Connects and sends nothing.
    fn silent(machine: &Machine, uid: u32) -> Self {
        let uid = uid.to_string();
        let mut nc = Command::new("setpriv")
            .args(["--reuid", &uid, "--regid", "nogroup", "--clear-groups"])
            .args(["nc", "-U"])
            .arg(machine.daemon.path().join("run/dropline.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv and nc");
        let stdin = nc.stdin.take().expect("a pipe");
        let lines = BufReader::new(nc.stdout.take().expect("a pipe"));
        Self { nc, stdin, lines }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("written");
    }

    /// Returns the next line; an empty one at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Returns the number and the text of the next message, which has one line.
    fn message(&mut self) -> (String, String) {
        let head = self.line();
        assert!(head.starts_with("MSG "), "{head}");
        let number = head.split(' ').nth(1).expect("a number").to_owned();
        (number, self.line())
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        let _ = self.nc.kill();
        let _ = self.nc.wait();
    }
}

#[test]
fn a_release_ends_sessions_and_presence_and_a_restore_wakes_a_watch() {
    let test = "a_release_ends_sessions_and_presence_and_a_restore_wakes_a_watch";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    machine.send("frank", "one");
    let mut online = LocalSession::of(&machine, 4_711);
    let reply = online.ask("ONLINE port=9");
    assert!(reply.starts_with("OK lease="), "{reply}");
    let mut watch = LocalSession::of(&machine, 4_711);
    watch.send("WATCH");
    assert_eq!(watch.message().1, "one");
    let lease = machine.daemon.path().join("run/online/frank");
    assert!(lease.exists());
    machine.operate(&["release", "frank"]);
    assert!(!lease.exists());
    assert_eq!(watch.line(), RELEASED);
    assert_eq!(watch.line(), "", "the session ends");
    for request in ["RENEW", "HISTORY", "FETCH", "ONLINE port=9"] {
        assert_eq!(online.ask(request), RELEASED, "{request}");
    }
    assert!(!lease.exists());
    // The name has no owner yet, and the messages wait for one.
    let (status, _, err) = run(machine.operator(&["release", "frank", "--restore"]));
    assert!(status == 67 && err.contains("no recorded owner"), "{err}");
    let mut watch = LocalSession::of(&machine, 4_711);
    watch.send("WATCH");
    wait_until("the watch waits", || {
        machine.daemon.path().join("run/watch/frank").exists()
    });
    let list = machine.operate(&["release", "--list"]).0;
    let fields: Vec<_> = list.trim_end().split('\t').collect();
    assert_eq!(
        (fields[0], &fields[2..4], fields[5]),
        ("frank", &["1", "0"][..], "4711")
    );
    let (_, err) = machine.operate(&["release", "frank", "--restore"]);
    assert!(
        err.contains("1 message is waiting for frank again"),
        "{err}"
    );
    assert_eq!(watch.message(), ("seq=2".into(), "one".into()));
    assert_eq!(watch.ask("ACK 2"), "OK");
    assert_eq!(machine.operate(&["release", "--list"]).0, "");
    let (status, _, err) = run(machine.operator(&["release", "frank", "--restore"]));
    assert!(status == 67 && err.contains("no waiting messages"), "{err}");
}

/// Returns the path of the owner record of `name`.
fn owner_record(machine: &Machine, name: &str) -> std::path::PathBuf {
    let files = files_below(&machine.daemon.spool().join("user")).expect("readable");
    let record = format!(".{name}.claim");
    let record = files.into_iter().find(|file| file.ends_with(&record));
    record.expect("an owner record")
}

/// Waits until a child of the daemon tries to lock this file: it keeps it open.
fn wait_for_a_waiter(daemon: &Daemon, path: &std::path::Path) {
    let has_open = |pid: &String| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut targets = descriptors.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        targets.any(|target| target == path)
    };
    wait_until("a process waits for the lock", || {
        daemon.children().iter().any(has_open)
    });
}

#[test]
fn a_message_that_crosses_a_release_is_for_the_present_account() {
    let test = "a_message_that_crosses_a_release_is_for_the_present_account";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    machine.send("frank", "one");
    let number = crc32fast::hash(b"frank") % 4_096;
    let path = machine.daemon.spool().join(format!("lock/{number:03x}"));
    let record = owner_record(&machine, "frank");
    for request in [
        "store;frank;root;two\n",
        "HELLO dropline/1\nSEND frank 3\ntwo\nQUIT\n",
    ] {
        let lock = fs::File::open(&path).expect("there");
        lock.lock().expect("locked");
        std::thread::scope(|scope| {
            let reply = scope.spawn(|| machine.ask_as(0, request));
            wait_for_a_waiter(&machine.daemon, &path);
            // As a release does, under the same lock.
            fs::remove_file(&record).expect("removed");
            lock.unlock().expect("unlocked");
            let reply = reply.join().expect("ended");
            let mut accepted = ["accepted", " to=frank seq="].iter();
            assert!(accepted.any(|text| reply.contains(text)), "{reply}");
        });
        assert_eq!(machine.owners(), [("frank".into(), "4711".into())]);
    }
}

#[test]
fn set_aside_messages_are_for_the_account_that_had_them() {
    let test = "set_aside_messages_are_for_the_account_that_had_them";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    machine.send("frank", "zero");
    assert!(machine.ask_as(4_711, "fetch;frank\n").contains("zero"));
    machine.daemon.logged("1 messages delivered");
    machine.send("frank", "one");
    machine.operate(&["release", "frank"]);
    let list = machine.operate(&["release", "--list"]).0;
    assert_eq!(
        list.split('\t').collect::<Vec<_>>()[2..4],
        ["1", "1"],
        "{list}"
    );
    machine.set_accounts("frank:x:4800:100::/nowhere:/bin/sh\n");
    wait_until("the daemon knows the new account", || {
        machine
            .ask_as(4_800, "fetch;frank\n")
            .ends_with("NO MORE MESSAGES")
    });
    let (status, _, err) = run(machine.operator(&["release", "frank", "--restore"]));
    assert!(
        status == 67 && err.contains("belonged to another owner"),
        "{err}"
    );
    let empty = "Retrieving messages...\nNO MORE MESSAGES";
    assert_eq!(machine.ask_as(4_800, "fetch;frank\n"), empty);
    machine.operate(&["release", "frank", "--to-new-owner"]);
    let read = machine.ask_as(4_800, "fetch;frank\n");
    assert!(
        read.contains("frank;root;one\n") && !read.contains("zero"),
        "{read}"
    );
}

#[test]
fn owners_whose_accounts_are_gone_are_listed_and_released() {
    let test = "owners_whose_accounts_are_gone_are_listed_and_released";
    let carol = "carol:x:4713:100::/nowhere:/bin/sh\n";
    let zoe = "zoe:x:4714:100::/nowhere:/bin/sh\n";
    let accounts = format!("{FRANK}{EVE}{carol}{zoe}");
    let Some(machine) = Machine::with(test, &accounts, "") else {
        return;
    };
    for name in ["frank", "eve", "carol", "zoe"] {
        machine.send(name, "one");
    }
    // An owner that is in no file, such as one of a directory service.
    machine.operate(&["owner", "carol", "--uid", "9000"]);
    assert_eq!(machine.operate(&["check"]), Default::default());
    machine.set_accounts(&format!("eve:x:4800:100::/nowhere:/bin/sh\n{zoe}"));
    let before = contents(&machine);
    let (out, err) = machine.operate(&["check"]);
    assert_eq!(out, "", "they are no findings");
    let notes: Vec<_> = err
        .lines()
        .filter(|line| line.contains("whose account is gone"))
        .collect();
    assert_eq!(notes.len(), 2, "{err}");
    assert!(notes[0].contains("eve belongs to uid 4712"), "{err}");
    assert!(notes[1].contains("droplinectl release frank"), "{err}");
    let gone = "eve\t4712\nfrank\t4711\n";
    let dry = machine.operate(&["release", "--gone", "--dry-run"]);
    assert_eq!(dry.0, gone);
    for reads in [
        &["users"][..],
        &["queue"],
        &["history", "eve"],
        &["release", "--list"],
    ] {
        machine.operate(reads);
    }
    assert_eq!(contents(&machine), before, "nothing has changed");
    // A directory that is away has no accounts either, and may have these. A login that came from it shows that.
    let canaries = machine.daemon.spool().join("canaries");
    fs::write(&canaries, format!("{:63}\n", "ldap")).expect("written");
    machine.set_file("nsswitch.conf", "passwd: files sss\n");
    let (status, out, err) = run(machine.operator(&["release", "--gone"]));
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("the directory service"), "{err}");
    machine.set_file("nsswitch.conf", "passwd: files\n");
    assert_eq!(machine.operate(&["release", "--gone"]).0, gone);
    let owners = [("carol", "9000"), ("zoe", "4714")];
    assert_eq!(
        machine.owners(),
        owners.map(|(name, uid)| (name.into(), uid.into()))
    );
    assert_eq!(machine.operate(&["release", "--list"]).0.lines().count(), 2);
    assert_eq!(machine.operate(&["release", "--gone"]).0, "");
}

/// Returns the files of the spool and their contents.
fn contents(machine: &Machine) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = files_below(&machine.daemon.spool()).expect("readable");
    files.sort();
    let read = |file: std::path::PathBuf| {
        let bytes = fs::read(&file).expect("readable");
        (file, bytes)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn an_account_that_moves_keeps_its_messages() {
    let test = "an_account_that_moves_keeps_its_messages";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    machine.send("frank", "one");
    let mut session = LocalSession::of(&machine, 4_711);
    machine.operate(&["owner", "frank", "--uid", "5000"]);
    let reply = session.ask("FETCH");
    assert!(
        reply.starts_with("ERR denied Not allowed: frank has another owner"),
        "{reply}"
    );
    machine.set_accounts("frank:x:5000:100::/nowhere:/bin/sh\n");
    wait_until("the daemon knows the account", || {
        machine
            .ask_as(5_000, "fetch;frank\n")
            .contains("frank;root;one\n")
    });
    assert_eq!(machine.owners(), [("frank".into(), "5000".into())]);
    let (status, _, err) = run(machine.operator(&["owner", "eve", "--uid", "5000"]));
    assert!(
        status == 67 && err.contains("eve has no recorded owner"),
        "{err}"
    );
    let (status, ..) = run(machine.operator(&["owner", "frank", "--uid", "4294967295"]));
    assert_eq!(status, 64);
}

#[test]
fn a_damaged_owner_record_closes_the_name_and_an_operator_mends_it() {
    let test = "a_damaged_owner_record_closes_the_name_and_an_operator_mends_it";
    let Some(machine) = Machine::with(test, FRANK, "") else {
        return;
    };
    machine.send("frank", "one");
    fs::write(owner_record(&machine, "frank"), "damaged").expect("written");
    for reply in [
        machine.ask_as(4_711, "fetch;frank\n"),
        machine.daemon.ask("fetch;frank\n"),
    ] {
        assert!(
            reply.starts_with("Message declined. Not allowed: frank "),
            "{reply}"
        );
    }
    let mut open = Session::over(machine.daemon.connect());
    let hello = open.ask("HELLO dropline/1 name=frank");
    assert!(hello.starts_with("ERR denied "), "{hello}");
    // Messages are accepted, and wait.
    machine.send("frank", "two");
    let (status, out, _) = run(machine.operator(&["check"]));
    assert!(
        status == 1 && out.contains("droplinectl owner frank --uid N"),
        "{out}"
    );
    machine.operate(&["owner", "frank", "--uid", "4711"]);
    assert_eq!(machine.operate(&["check"]).0, "");
    let read = machine.ask_as(4_711, "fetch;frank\n");
    assert!(read.contains("one\n") && read.contains("two\n"), "{read}");
}

#[test]
fn an_export_has_owners_and_an_import_knows_the_machine() {
    let test = "an_export_has_owners_and_an_import_knows_the_machine";
    let Some(machine) = Machine::with(test, &format!("{FRANK}{EVE}"), "") else {
        return;
    };
    let id = |digit: &str| format!("{}\n", digit.repeat(32));
    machine.set_file("machine-id", &id("7"));
    machine.send("frank", "one");
    machine.send("eve", "one");
    let exported = machine.operate(&["export"]).0;
    assert!(!exported.contains(&"7".repeat(32)), "the id stays secret");
    let archive = machine.daemon.path().join("archive");
    fs::write(&archive, &exported).expect("written");
    // A later account has the name frank, and eve has none.
    machine.set_accounts("frank:x:4800:100::/nowhere:/bin/sh\n");
    for (machine_id, frank, eve) in [("7", "4711", "4712"), ("8", "4800", "?")] {
        machine.set_file("machine-id", &id(machine_id));
        let spool = machine.daemon.path().join(format!("spool{machine_id}"));
        let operate = |args: &[&str]| machine.operator_on(&spool, args);
        let mut import = operate(&["import"]);
        import.stdin(fs::File::open(&archive).expect("there"));
        let output = import.output().expect("run");
        assert!(output.status.success(), "{output:?}");
        let (_, users, _) = run(operate(&["users"]));
        assert_eq!(
            users,
            format!("eve\t-\t{eve}\nfrank\t-\t{frank}\nroot\t-\t0\n")
        );
        if machine_id == "7" {
            assert_eq!(run(operate(&["export"])).1, exported);
        }
    }
}

/// A process of the account may pass a connection to another one before the account ends.
#[test]
fn a_connection_that_is_older_than_its_account_says_nothing_in_its_name() {
    let test = "a_connection_that_is_older_than_its_account_says_nothing_in_its_name";
    let Some(machine) = Machine::with(test, FRANK, "first_byte_timeout = 60\n") else {
        return;
    };
    let children = || machine.daemon.children().len();
    let mut line = LocalSession::silent(&machine, 4_711);
    let mut hello = LocalSession::silent(&machine, 4_711);
    let mut frames = LocalSession::silent(&machine, 4_711);
    wait_until("all are served", || children() == 3);
    machine.set_accounts("frank:x:4712:100::/nowhere:/bin/sh\n");
    let gone = "Not allowed: user number 4711 has no login that could be a name here";
    wait_until("the daemon knows", || {
        machine.ask_as(4_711, "fetch;frank\n") == format!("Message declined. {gone}\n")
    });
    let declined = line.ask("store;bob;frank;forged");
    assert_eq!(declined, format!("Message declined. {gone}"));
    assert_eq!(hello.ask("HELLO dropline/1"), format!("ERR denied {gone}"));
    let command = "\0\x0c\0\0!deregister\0\0\x06\0\0frank\0";
    frames.stdin.write_all(command.as_bytes()).expect("written");
    assert_eq!(frames.line(), "");
    machine
        .daemon
        .logged("deregister frank: Not allowed: user number 4711");
    // The new account has its name.
    let reply = machine.ask_as(4_712, "HELLO dropline/1\nFETCH\n");
    assert!(reply.contains("\nEND n=0 "), "{reply}");
}
