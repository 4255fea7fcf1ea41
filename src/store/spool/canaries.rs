//! The canaries: names of logins that are known to come from a directory service such as LDAP. While one of them
//! resolves, the service answers.
//!
//! The file `canaries` has 4 lines of 64 bytes, each a name that is padded with spaces. A missing file has no names.

use super::handle::Spool;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

const FILE: &str = "canaries";
/// The number of lines.
const LINES: usize = 4;
/// The length of a line without its end, in bytes. It exceeds that of a name.
const LINE: usize = 63;

/// Replaces the names. Those beyond [`LINES`] are not kept.
pub(super) fn keep(spool: &Spool, names: &[Name]) -> Result<(), StoreError> {
    let lines = (0..LINES).map(|n| names.get(n).map_or("", Name::as_str));
    let text: String = lines.map(|name| format!("{name:LINE$}\n")).collect();
    let root = spool.paths.root()?;
    // One write of a constant length: readers see all names or the earlier ones.
    let written = root.file_or_new(FILE).and_then(|file| {
        file::write_at(&file, text.as_bytes(), 0)?;
        file::sync(&file)?;
        root.sync()
    });
    written.map_err(StoreError::system("write", root.path_of(FILE)))
}

/// Returns the names. Lines that are not names are ignored.
pub(super) fn read(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    let root = spool.paths.root()?;
    let mut text = [0; LINES * (LINE + 1)];
    let read = root.file(FILE).and_then(|file| match file {
        Some(file) => file::read_at(&file, &mut text, 0),
        None => Ok(0),
    });
    let n = read.map_err(StoreError::system("read", root.path_of(FILE)))?;
    let lines = text[..n].split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| Name::new(line.trim_ascii_end()).ok())
        .collect())
}
