//! The bytes on the disk, to and from values: nothing here knows a path, takes a lock, or waits for the disk.

pub(super) mod backwards;
pub(super) mod end;
pub(super) mod header;
pub(super) mod lease;
pub(super) mod record;
pub(super) mod version;
pub(super) mod walk;
