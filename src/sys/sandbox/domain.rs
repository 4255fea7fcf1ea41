//! Domains of Landlock (landlock(7)): the files, TCP ports and processes that a process can reach.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::calls::Calls;
use super::rules::{Lacking, Rules};

/// The version of Landlock that has all that is used here (Linux 6.12). Older ones have a part of it.
const COMPLETE: ABI = ABI::V6;

/// Confines this process and its future children to the files of these rules. A process that starts no programs cannot
/// connect to TCP ports either. Returns what this kernel does not support.
pub(super) fn lay(rules: Rules<'_>) -> Result<(), Lacking> {
    let status = ruleset(rules).and_then(RulesetCreated::restrict_self);
    let status = status.map_err(|e| lacking(e.to_string()))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => {
            Err(lacking("not supported by this kernel, or disabled".into()))
        }
        (_, LandlockStatus::Available { effective_abi, .. }) if effective_abi < COMPLETE => {
            Err(Lacking {
                what: "a part of landlock",
                why: format!(
                    "this kernel has version {effective_abi} of it; with version {COMPLETE} (Linux 6.12), children \
                     cannot signal other processes"
                ),
            })
        }
        _ => Ok(()),
    }
}

fn lacking(why: String) -> Lacking {
    let what = "landlock";
    Lacking { what, why }
}

fn ruleset(rules: Rules<'_>) -> Result<RulesetCreated, RulesetError> {
    let read = match rules.calls {
        Calls::Programs => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
        Calls::Serve | Calls::Files => AccessFs::ReadFile | AccessFs::ReadDir,
    };
    let all = AccessFs::from_all(COMPLETE);
    let ruleset = Ruleset::default().handle_access(all)?;
    let ruleset = match rules.calls {
        // It may ask a server of logins.
        Calls::Programs => ruleset,
        Calls::Serve | Calls::Files => ruleset
            .handle_access(AccessNet::ConnectTcp)?
            .scope(Scope::AbstractUnixSocket)?,
    };
    let ruleset = match rules.calls {
        // The master ends its children and the supervisor, which ends the helpers.
        Calls::Serve | Calls::Programs => ruleset,
        Calls::Files => ruleset.scope(Scope::Signal)?,
    };
    ruleset
        .create()?
        .add_rules(path_beneath_rules(rules.readable, read))?
        .add_rules(path_beneath_rules(rules.writable, all))?
        .add_rules(path_beneath_rules(rules.removable, AccessFs::RemoveFile))
}

/// What each child gives up beyond the sandbox of the master: it cannot signal other processes. It is prepared once,
/// because entering it then costs a child a few microseconds. A filter of system calls for each child would cost as
/// much as half of a fork.
#[derive(Debug)]
pub(crate) struct ChildDomain(Option<OwnedFd>);

impl ChildDomain {
    /// Prepares the domain. It is empty where the kernel does not support it, which [`lay`](super::lay) reports.
    pub(crate) fn prepared() -> Self {
        let ruleset = Ruleset::default()
            .scope(Scope::Signal)
            .and_then(|ruleset| ruleset.handle_access(AccessNet::BindTcp))
            .and_then(Ruleset::create);
        Self(ruleset.ok().and_then(Into::into))
    }

    /// Returns a domain that takes no rights away.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Enters the domain, before the child closes the descriptors of its parent.
    ///
    /// # Errors
    /// Those of `landlock_restrict_self(2)`: ENOMEM; E2BIG in a container that has many domains already.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let Some(ruleset) = &self.0 else {
            return Ok(());
        };
        // SAFETY: the call touches no memory.
        let done =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
