//! The on-disk formats: encoding, decoding and search. Nothing here opens a path, takes a lock or syncs.

pub(super) mod backwards;
pub(super) mod end;
pub(super) mod header;
pub(super) mod lease;
pub(super) mod place;
pub(super) mod record;
pub(super) mod user;
pub(super) mod version;
pub(super) mod walk;
