use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

use libc::{c_int, c_long};

use super::*;

const INSIDE: &str = "DROPLINE_TEST_SANDBOX";

/// A process outside of the sandbox. It is killed when dropped.
struct Sibling(Child);

impl Sibling {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        let quiet = || std::process::Stdio::null();
        let sleep = sleep.arg("60").stdout(quiet()).stderr(quiet()).spawn();
        Self(sleep.expect("started"))
    }

    fn pid(&self) -> c_long {
        self.0.id().into()
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        // Inside the sandbox this may fail.
        let _ = self.0.kill();
    }
}

fn denied(result: io::Result<()>, what: &str) {
    let kind = result.expect_err(what).kind();
    assert_eq!(kind, ErrorKind::PermissionDenied, "{what}");
}

/// Makes a system call. Returns its error, or 0.
fn error_of(call: c_long, args: [c_long; 4]) -> c_int {
    let [a, b, c, d] = args;
    // SAFETY: either the filter rejects the call before the kernel reads its arguments, or they name no memory.
    let done = unsafe { libc::syscall(call, a, b, c, d, 0, 0) };
    let error = Error::last_os_error().raw_os_error().unwrap_or_default();
    if done == -1 { error } else { 0 }
}

fn refused(call: c_long, args: [c_long; 4]) {
    let error = error_of(call, args);
    let is_refused = error == libc::EPERM || error == libc::ENOSYS;
    assert!(is_refused, "system call {call} {args:?}: error {error}");
}

/// The sandbox allows the call, which then fails for another reason or does nothing.
fn passed(call: c_long, args: [c_long; 4]) {
    let error = error_of(call, args);
    let is_refused = error == libc::EPERM || error == libc::ENOSYS;
    assert!(!is_refused, "system call {call} {args:?}: error {error}");
}

/// Makes each call that is not on the list, whatever its arguments.
fn refuses_what_is_not_listed(calls: Calls) {
    let listed: Vec<c_long> = calls::allowed(calls)
        .expect("valid")
        .into_iter()
        .map(|(call, _)| call)
        .collect();
    // Among the numbers without a call, there are those of probes of the kernel, which kill other users.
    const UNUSED: std::ops::Range<c_long> = 335..424;
    let others = (0..calls::RECENT.end).filter(|call| !listed.contains(call));
    let others = others.filter(|call| !UNUSED.contains(call));
    others.for_each(|call| refused(call, [0; 4]));
}

/// Makes calls that a child needs with other arguments only.
fn refuses_other_arguments(connection: &TcpStream) {
    let fd = c_long::from(connection.as_raw_fd());
    let int = c_long::from;
    let page = 4_096;
    for (call, args) in [
        // To connect out.
        (libc::SYS_sendto, [fd, 0, 0, int(libc::MSG_FASTOPEN)]),
        (libc::SYS_sendmsg, [fd, 0, int(libc::MSG_FASTOPEN), 0]),
        (libc::SYS_socketpair, [int(libc::AF_INET), 1, 0, 0]),
        // Memory for code.
        (
            libc::SYS_mmap,
            [0, page, int(libc::PROT_READ | libc::PROT_EXEC), 0x22],
        ),
        (
            libc::SYS_mmap,
            [0, page, int(libc::PROT_WRITE | libc::PROT_EXEC), 0x22],
        ),
        (libc::SYS_mprotect, [0, 0, int(libc::PROT_EXEC), 0]),
        // Signals to many processes, other signals, and signals for events.
        (libc::SYS_kill, [-1, int(libc::SIGTERM), 0, 0]),
        (libc::SYS_kill, [0, int(libc::SIGTERM), 0, 0]),
        (libc::SYS_kill, [int(i32::MAX), int(libc::SIGSTOP), 0, 0]),
        (libc::SYS_fcntl, [fd, int(libc::F_SETOWN), 1, 0]),
        (libc::SYS_fcntl, [fd, F_SETSIG, int(libc::SIGKILL), 0]),
        (libc::SYS_ioctl, [fd, FIOSETOWN, 0, 0]),
        // Other processes, and the settings of this one.
        (libc::SYS_prlimit64, [1, 0, 0, 0]),
        (
            libc::SYS_clone,
            [int(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0],
        ),
        (
            libc::SYS_clone,
            [int(libc::CLONE_VM | libc::SIGCHLD), 0, 0, 0],
        ),
        (libc::SYS_prctl, [int(libc::PR_SET_MM), 0, 0, 0]),
        (libc::SYS_prctl, [int(libc::PR_SET_SECCOMP), 0, 0, 0]),
        (libc::SYS_ioctl, [0, TIOCSTI, 0, 0]),
        (
            libc::SYS_setsockopt,
            [fd, int(libc::SOL_SOCKET), int(libc::SO_ATTACH_FILTER), 0],
        ),
    ] {
        refused(call, args);
    }
    // The control.
    for (call, args) in [
        (libc::SYS_sendto, [-1, 0, 0, int(libc::MSG_DONTWAIT)]),
        (
            libc::SYS_mmap,
            [0, 0, int(libc::PROT_READ | libc::PROT_WRITE), 0x22],
        ),
        (libc::SYS_mprotect, [0, 0, int(libc::PROT_READ), 0]),
        (libc::SYS_fcntl, [-1, int(libc::F_GETFL), 0, 0]),
        (libc::SYS_kill, [int(i32::MAX), int(libc::SIGTERM), 0, 0]),
        (libc::SYS_prlimit64, [0, int(i32::MAX), 0, 0]),
        (
            libc::SYS_setsockopt,
            [-1, int(libc::IPPROTO_TCP), int(libc::TCP_NODELAY), 0],
        ),
    ] {
        passed(call, args);
    }
}

/// Numbers of linux/fcntl.h and asm-generic/ioctls.h that some C libraries do not define.
const F_SETSIG: c_long = 10;
const FIOSETOWN: c_long = 0x8901;
const TIOCSTI: c_long = 0x5412;

/// Makes calls that no helper and no program that a helper starts needs.
fn refuses_what_no_program_needs() {
    let int = c_long::from;
    let forbidden = calls::forbidden().expect("valid");
    for (call, conditions) in forbidden {
        if conditions.is_empty() {
            refused(call, [0; 4]);
        }
    }
    let (packets, machine) = (libc::AF_PACKET, libc::AF_VSOCK);
    for (call, args) in [
        (
            libc::SYS_socket,
            [int(packets), int(libc::SOCK_DGRAM), 0, 0],
        ),
        (
            libc::SYS_socket,
            [int(machine), int(libc::SOCK_STREAM), 0, 0],
        ),
        (
            libc::SYS_socket,
            [
                int(libc::AF_INET),
                int(libc::SOCK_RAW | libc::SOCK_CLOEXEC),
                1,
                0,
            ],
        ),
        (
            libc::SYS_mmap,
            [0, 4_096, int(libc::PROT_WRITE | libc::PROT_EXEC), 0x22],
        ),
        (libc::SYS_mprotect, [0, 0, int(libc::PROT_EXEC), 0]),
        (
            libc::SYS_clone,
            [int(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0],
        ),
        (libc::SYS_clone3, [0, 0, 0, 0]),
    ] {
        refused(call, args);
    }
    passed(
        libc::SYS_mmap,
        [0, 0, int(libc::PROT_READ | libc::PROT_EXEC), 0x22],
    );
}

/// The part of the test below that runs in its own process, because a sandbox cannot be removed.
#[test]
fn inside() {
    let Some(dir) = std::env::var_os(INSIDE) else {
        return;
    };
    let dir = Path::new(&dir);
    let (spool, other) = (dir.join("spool"), dir.join("other"));
    let siblings = [Sibling::start(), Sibling::start()];
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("known");
    let connection = TcpStream::connect(address).expect("connected");
    let mut rules = Rules {
        writable: &[&spool, Path::new("/dev/null")],
        readable: &[Path::new("/")],
        removable: &[&other],
        calls: Calls::Programs,
    };
    lay(rules).expect("enough descriptors");
    let started = Command::new("/bin/true").status();
    assert!(started.expect("it may").success());
    TcpStream::connect(address).expect("a program may ask a server of logins");
    refuses_what_no_program_needs();
    let usr = [Path::new("/usr")];
    rules.readable = &usr;
    rules.calls = Calls::Serve;
    let domain = ChildDomain::prepared();
    let lacking = lay(rules).expect("enough descriptors");
    let has = |what| !lacking.iter().any(|lack| lack.what == what);
    assert!(has("no new privileges") && has("seccomp"), "{lacking:?}");
    fs::write(spool.join("f"), "as before").expect("what is needed can be done");
    UnixStream::pair().expect("to ask the login helper");
    denied(
        Command::new("/bin/true").status().map(drop),
        "start a program",
    );
    denied(TcpStream::connect(address).map(drop), "connect");
    refuses_what_is_not_listed(Calls::Serve);
    refuses_other_arguments(&connection);
    if has("landlock") {
        denied(fs::write(other.join("f"), "no"), "write elsewhere");
        denied(File::create(other.join("g")).map(drop), "truncate");
        fs::remove_file(other.join("g")).expect("files may be removed there");
        denied(File::open("/etc/passwd").map(drop), "read elsewhere");
    }
    // The master ends its children. They cannot signal other processes.
    let ends = |sibling: &Sibling| error_of(libc::SYS_kill, [sibling.pid(), 15, 0, 0]);
    assert_eq!(ends(&siblings[0]), 0);
    domain.enter().expect("entered");
    if has("landlock") && has("a part of landlock") {
        assert_eq!(ends(&siblings[1]), libc::EPERM);
    }
    rules.calls = Calls::Files;
    lay(rules).expect("enough descriptors");
    refuses_what_is_not_listed(Calls::Files);
    fs::write(spool.join("f"), "as before").expect("what is needed can be done");
}

#[test]
fn the_sandbox_denies_forbidden_calls_and_paths() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["spool", "other"] {
        fs::create_dir(dir.path().join(name)).expect("made");
    }
    // The control: without the sandbox, all of this succeeds.
    fs::write(dir.path().join("other/g"), "yes").expect("written");
    assert!(Command::new("/bin/true").status().expect("run").success());
    let inside = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "sys::sandbox::tests::inside", "--nocapture"])
        .env(INSIDE, dir.path())
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(
        inside.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&inside.stderr)
    );
}
