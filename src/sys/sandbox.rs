//! What this process and its children give up for good: rights that they never need.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Something that the kernel does not give up for us.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Lacking {
    what: &'static str,
    why: String,
}

/// System calls that neither the daemon nor a library that it uses needs once it serves: to start programs, to look
/// into others, to change the machine, and those whose bugs have helped to break out before.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
];

/// What a process can still do inside its sandbox. Paths that do not exist are passed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Files and directories that it can write to, and read.
    pub(crate) writable: &'a [&'a Path],
    /// Files and directories that it can read, and run programs from.
    pub(crate) readable: &'a [&'a Path],
    /// Whether it can start programs.
    pub(crate) programs: bool,
}

/// Lays the sandbox on this process and all that it forks from now on: no new privileges (prctl(2)); access to files by
/// the rules (landlock(7)); and some system calls fail with EPERM (seccomp(2)). Returns what the kernel lacks; the rest
/// is in force. A process in a sandbox can lay another one, which can only take more away.
pub(crate) fn lay(rules: Rules<'_>) -> Vec<Lacking> {
    let mut lacking = Vec::new();
    let mut note = |what, done: Result<(), String>| {
        if let Err(why) = done {
            lacking.push(Lacking { what, why });
        }
    };
    note(
        "no new privileges",
        no_new_privileges().map_err(|e| e.to_string()),
    );
    note("landlock", landlock(rules.writable, rules.readable));
    note("seccomp", seccomp(rules.programs));
    lacking
}

/// Lets this process, and all that it starts, gain no rights by what they start (prctl(2), PR_SET_NO_NEW_PRIVS).
///
/// # Errors
/// Those of `prctl(2)`: none since Linux 3.5.
pub(crate) fn no_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

fn landlock(writable: &[&Path], readable: &[&Path]) -> Result<(), String> {
    let abi = ABI::V3;
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let lay = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(readable, read))?
            .add_rules(path_beneath_rules(writable, AccessFs::from_all(abi)))?
            .restrict_self()
    };
    let status = lay().map_err(|e: landlock::RulesetError| e.to_string())?;
    match status.ruleset {
        // An older kernel knows fewer kinds of access (truncating by path, for one), and enforces the rest.
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("this kernel has none, or it is switched off".into()),
    }
}

fn seccomp(programs: bool) -> Result<(), String> {
    let starts = |call: &libc::c_long| matches!(*call, libc::SYS_execve | libc::SYS_execveat);
    let forbidden = FORBIDDEN.iter().filter(|call| !(programs && starts(call)));
    let forbidden = forbidden.map(|call| (*call, Vec::new()));
    let rules: BTreeMap<i64, _> = forbidden.collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH;
    let lay = || {
        let arch = arch.try_into()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
        let program: BpfProgram = filter.try_into()?;
        Ok::<_, seccompiler::BackendError>(program)
    };
    let program = lay().map_err(|e| e.to_string())?;
    seccompiler::apply_filter(&program).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::process::Command;

    use super::*;

    const INSIDE: &str = "DROPLINE_TEST_SANDBOX";

    /// The other half of the test below, in a process of its own: what is laid cannot be taken off.
    #[test]
    fn inside() {
        let Some(dir) = std::env::var_os(INSIDE) else {
            return;
        };
        let dir = Path::new(&dir);
        let (spool, other) = (dir.join("spool"), dir.join("other"));
        let mut rules = Rules {
            writable: &[&spool],
            readable: &[Path::new("/")],
            programs: true,
        };
        lay(rules);
        let started = Command::new("/bin/true").status();
        assert!(started.expect("it may").success());
        let usr = [Path::new("/usr")];
        rules.readable = &usr;
        rules.programs = false;
        let lacking = lay(rules);
        let has = |what| !lacking.iter().any(|lack| lack.what == what);
        assert!(has("no new privileges") && has("seccomp"), "{lacking:?}");
        fs::write(spool.join("f"), "as before").expect("what is needed can be done");
        let denied = |result: std::io::Result<()>, what: &str| {
            let kind = result.expect_err(what).kind();
            assert_eq!(kind, std::io::ErrorKind::PermissionDenied, "{what}");
        };
        denied(
            Command::new("/bin/true").status().map(drop),
            "start a program",
        );
        let forbidden = |call| {
            // SAFETY: each of these is refused before it looks at its arguments, which are no addresses.
            let done = unsafe { libc::syscall(call, 0, 0, 0, 0, 0) };
            let error = std::io::Error::last_os_error();
            assert_eq!(
                (done, error.raw_os_error()),
                (-1, Some(libc::EPERM)),
                "{call}"
            );
        };
        FORBIDDEN.iter().copied().for_each(forbidden);
        if has("landlock") {
            denied(fs::write(other.join("f"), "no"), "write elsewhere");
            denied(File::open("/etc/passwd").map(drop), "read elsewhere");
        }
    }

    #[test]
    fn whoever_is_inside_cannot_do_what_is_forbidden() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["spool", "other"] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        // The control: outside of it, all of that can be done.
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
            "{said}"
        );
    }
}
