//! Filters of system calls (seccomp(2)), from lists of calls to the kernel.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, sock_filter};

use super::arguments::Rule;
use super::calls::{self, Calls};

/// Lets this process and its future children make only these system calls from now on. The others fail, and the kernel
/// logs them.
pub(super) fn lay(calls: Calls) -> Result<(), String> {
    let programs = programs(calls).map_err(|e| e.to_string())?;
    programs
        .iter()
        .try_for_each(|program| install(program))
        .map_err(|e| e.to_string())
}

/// Returns the filters, in the order in which to install them. Of two that refuse a call, the last one has its error.
fn programs(calls: Calls) -> Result<[BpfProgram; 2], BackendError> {
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let first = match calls {
        Calls::Serve | Calls::Files => {
            compile(calls::allowed(calls)?, refuse, SeccompAction::Allow)
        }
        Calls::Programs => compile(calls::forbidden()?, SeccompAction::Allow, refuse),
    }?;
    let unsupported = calls::UNSUPPORTED.iter().copied().chain(calls::RECENT);
    let unsupported = unsupported.map(|call| (call, Vec::new())).collect();
    let lacks = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    Ok([first, compile(unsupported, SeccompAction::Allow, lacks)?])
}

/// Compiles a filter that does `matched` for calls that a rule describes, and `otherwise` for all other calls.
fn compile(
    rules: Vec<Rule>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let mut by_call: BTreeMap<c_long, Vec<_>> = BTreeMap::new();
    for (call, conditions) in rules {
        by_call.entry(call).or_default().extend(conditions);
    }
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(by_call, otherwise, matched, arch)?.try_into()
}

/// Installs a filter. The kernel logs the calls that it refuses, if it can (since Linux 4.14).
fn install(program: &[sock_filter]) -> io::Result<()> {
    match set(program, libc::SECCOMP_FILTER_FLAG_LOG) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => set(program, 0),
        done => done,
    }
}

fn set(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the pointers are to live values, which the kernel copies. Both types of an instruction have the layout of
    // the kernel's `struct sock_filter`.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
