//! The sandbox: this process and its children permanently drop rights that they never need.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A part of the sandbox that the kernel does not support, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Lacking {
    what: &'static str,
    why: String,
}

/// System calls that neither the daemon nor its libraries need while it serves: they start programs, inspect other
/// processes, administer the machine, or have had bugs that sandbox escapes used.
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

/// The rights of a process inside the sandbox. Paths that do not exist are ignored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules<'a> {
    /// Files and directories to read and write.
    pub(crate) writable: &'a [&'a Path],
    /// Files and directories to read and to run programs from.
    pub(crate) readable: &'a [&'a Path],
    /// Directories from which files may be removed, and nothing else.
    pub(crate) removable: &'a [&'a Path],
    /// Whether the process may start programs.
    pub(crate) programs: bool,
}

/// Applies a sandbox to this process and its future children: they gain no privileges through execve(2) (prctl(2)),
/// access files by the rules only (landlock(7)), and get EPERM from some system calls (seccomp(2)). Returns the parts
/// that the kernel does not support; the others are in force. A further sandbox can only remove rights.
///
/// # Errors
/// EMFILE when this process cannot open two more descriptors.
pub(crate) fn lay(rules: Rules<'_>) -> io::Result<Vec<Lacking>> {
    // Landlock needs descriptors for the ruleset and for a path. Check first, as it ignores a path that does not open.
    drop(io::pipe()?);
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
    note("landlock", landlock(rules));
    note("seccomp", seccomp(rules.programs));
    Ok(lacking)
}

/// Prevents this process and its children from gaining privileges through execve(2) (PR_SET_NO_NEW_PRIVS,
/// since Linux 3.5).
pub(crate) fn no_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

fn landlock(rules: Rules<'_>) -> Result<(), String> {
    let abi = ABI::V3;
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let lay = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(rules.readable, read))?
            .add_rules(path_beneath_rules(rules.writable, AccessFs::from_all(abi)))?
            .add_rules(path_beneath_rules(rules.removable, AccessFs::RemoveFile))?
            .restrict_self()
    };
    let status = lay().map_err(|e: landlock::RulesetError| e.to_string())?;
    match status.ruleset {
        // An older kernel supports fewer kinds of access (no truncation by path, for example), and enforces the rest.
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("not supported by this kernel, or disabled".into()),
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

    /// The part of the test below that runs in its own process, because a sandbox cannot be removed.
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
            removable: &[&other],
            programs: true,
        };
        lay(rules).expect("enough descriptors");
        let started = Command::new("/bin/true").status();
        assert!(started.expect("it may").success());
        let usr = [Path::new("/usr")];
        rules.readable = &usr;
        rules.programs = false;
        let lacking = lay(rules).expect("enough descriptors");
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
            // SAFETY: the filter rejects each call before the kernel reads its arguments, none of which is an address.
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
            denied(File::create(other.join("g")).map(drop), "truncate");
            fs::remove_file(other.join("g")).expect("files may be removed there");
            denied(File::open("/etc/passwd").map(drop), "read elsewhere");
        }
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
            "{said}"
        );
    }
}
