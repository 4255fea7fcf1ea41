//! The helper processes of the daemon: the work and the sandbox of each.

use std::path::Path;

use super::config::{Config, Sandbox};
use super::supervisor::{Supervisor, Task};
use crate::store::Engine;
use crate::sys::login::{self, LoginHelper};
use crate::sys::sandbox::{Calls, Rules};

/// Starts the supervisor with the helpers that this daemon needs. Returns `None` when they cannot be started; the
/// children then do without. Must be called while this process has one thread and no sandbox.
pub(super) fn start(store: &mut dyn Engine, config: &Config) -> Option<Supervisor> {
    let logins = delegate_logins();
    let of_store = store
        .prepare_helper()
        .inspect_err(|e| log::warn!("cannot share memory with the helper of the store: {e}"));
    let store = &*store;
    let has_sandbox = config.sandbox != Sandbox::Off;
    // Log lines need the time zone.
    let writable = [config.spool.as_path()];
    // It makes missing lock files.
    let writable_by_counter = [config.spool.as_path(), config.run_dir.as_path()];
    let readable = ["/etc", "/usr/share/zoneinfo"].map(Path::new);
    // Which files getent(1) reads depends on nsswitch.conf(5).
    let (nowhere, all) = ([Path::new("/dev/null")], [Path::new("/")]);
    // The supervisor has the rights of all helpers.
    let any = [writable[0], config.run_dir.as_path(), nowhere[0]];
    let sandbox = has_sandbox.then_some(Rules {
        writable: &any,
        readable: &all,
        removable: &[],
        calls: Calls::Programs,
    });
    let mut tasks = Vec::new();
    tasks.extend(of_store.ok().flatten().map(|helper| Task {
        name: helper.name,
        title: helper.title,
        meanwhile: helper.meanwhile,
        descriptors: helper.descriptors,
        sandbox: has_sandbox.then_some(Rules {
            writable: &writable,
            readable: &readable,
            removable: &[],
            calls: Calls::Files,
        }),
        queue: Some(helper.queue),
        work: Box::new(move || Ok(store.run_helper(helper.queue)?)),
    }));
    tasks.push(Task {
        name: "the counter of what TCP clients use",
        title: "droplined: budgets",
        meanwhile: "what is removed does not count as free for TCP clients",
        descriptors: store.descriptors(),
        sandbox: has_sandbox.then_some(Rules {
            writable: &writable_by_counter,
            readable: &readable,
            removable: &[],
            calls: Calls::Files,
        }),
        queue: None,
        work: Box::new(|| Ok(store.run_counter()?)),
    });
    tasks.extend(logins.as_ref().map(|logins| Task {
        name: "the helper for logins",
        title: "droplined: logins",
        meanwhile: "lookups of logins that are not in /etc/passwd wait",
        descriptors: logins.descriptors(),
        sandbox: has_sandbox.then_some(Rules {
            writable: &nowhere,
            readable: &all,
            removable: &[],
            calls: Calls::Programs,
        }),
        queue: None,
        work: Box::new(|| Ok(logins.serve()?)),
    }));
    Supervisor::start(&tasks, sandbox)
        .inspect_err(|e| {
            log::warn!(
                "cannot start the supervisor of the helper processes: {e}; each child syncs its mailbox by itself, and \
                 logins that are not in /etc/passwd, and new names, are refused"
            );
        })
        .ok()
}

/// Delegates login lookups to a helper, if this machine needs one: of the clients of Unix sockets, and of the names
/// that TCP clients state. It is needed also without a Unix socket.
fn delegate_logins() -> Option<LoginHelper> {
    login::delegate().unwrap_or_else(|e| {
        log::warn!(
            "cannot look up logins that are not in /etc/passwd: {e}; they are refused, and so are new names, which could \
             be such logins (unless reserve_logins = false)"
        );
        None
    })
}
