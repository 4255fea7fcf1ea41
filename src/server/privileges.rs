//! Gives up the privileges of root once they are no longer needed.

use std::io;
use std::path::Path;

use super::config::Config;
use crate::sys::login::{self, Account};
use crate::sys::new_dir;

/// The account that a daemon started by root becomes if none is configured and this one exists.
const DEFAULT_USER: &str = "dropline";

/// Why the daemon does not become the configured account.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    #[error("there is no account {0}: make it, or set user in the configuration")]
    NoAccount(String),
    #[error("cannot look up the account {0}: {1}")]
    LookUp(String, io::Error),
    /// The kernel refuses the change, or would allow it to be undone.
    #[error("cannot become {0}: {1}")]
    System(String, io::Error),
    #[error("cannot give {0} to {1}: {2}")]
    Directory(String, String, io::Error),
}

/// Returns the account to become; `None` to stay the current user.
///
/// # Errors
/// When the configured account does not exist.
pub(super) fn account(config: &Config) -> Result<Option<Account>, PrivilegeError> {
    if !login::is_root() {
        if let Some(user) = &config.user {
            log::info!("not started by root: the daemon does not become {user}");
        }
        return Ok(None);
    }
    let wanted = config.user.as_deref().unwrap_or(DEFAULT_USER);
    let account = login::account(wanted).map_err(|e| PrivilegeError::LookUp(wanted.into(), e))?;
    match account {
        Some(account) if account.is_root() => Ok(None),
        Some(account) => Ok(Some(account)),
        None if config.user.is_some() => Err(PrivilegeError::NoAccount(wanted.into())),
        None => {
            log::warn!("there is no account {wanted}: the daemon stays root");
            Ok(None)
        }
    }
}

/// Creates a directory for `account` if it is missing: as the account if that may do it, or else as root. An existing
/// directory keeps its owner.
///
/// # Errors
/// Those of the system.
pub(super) fn make_dir(path: &Path, mode: u32, account: &Account) -> Result<(), PrivilegeError> {
    let owner = (account.uid(), account.gid());
    let made = login::acting_as(account, || new_dir::make_path(path, mode, None));
    let made = made.flatten().or_else(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => new_dir::make_path(path, mode, Some(owner)),
        _ => Err(e),
    });
    made.map_err(|e| {
        PrivilegeError::Directory(path.display().to_string(), account.name().into(), e)
    })
}

/// Runs `what` as `account`, which root may not have become yet.
///
/// # Errors
/// Those of the system.
pub(super) fn as_account<T>(account: Option<&Account>, what: impl FnOnce() -> T) -> io::Result<T> {
    match account {
        Some(account) if login::is_root() => login::acting_as(account, what),
        _ => Ok(what()),
    }
}

/// Becomes `account` irrevocably.
///
/// # Errors
/// When the kernel refuses, or would allow this process to become root again.
pub(super) fn become_account(account: &Account) -> Result<(), PrivilegeError> {
    let name = account.name();
    login::become_account(account).map_err(|e| PrivilegeError::System(name.into(), e))?;
    log::info!("running as {name}");
    Ok(())
}
