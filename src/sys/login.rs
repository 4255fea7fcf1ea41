//! The logins of this machine.

use nix::unistd::{Uid, User};

/// The login of the user with this number, from wherever this machine keeps them (NSS); `None` when there is
/// none, or it cannot be found out.
pub(crate) fn name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()?;
    user.map(|user| user.name)
}
