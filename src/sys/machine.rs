//! The identity of this machine.

use std::path::Path;
use std::time::Duration;

use crate::sys::file;

/// The file with the identity of the machine, see machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";

/// Returns a short text that differs between machines, without disclosing the id of the machine; `None` if it has no
/// id.
pub(crate) fn tag() -> Option<String> {
    let id = file::read_small(Path::new(MACHINE_ID), 64, Duration::ZERO).ok()?;
    let id = id.trim();
    let is_set = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_set.then(|| {
        let text = format!("dropline owners of {id}");
        format!("{:08x}", crc32fast::hash(text.as_bytes()))
    })
}
