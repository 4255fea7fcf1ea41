//! The files of a name: its registration and its owner record, each a line and its checksum.

use crate::store::{Owner, OwnerRecord};

/// The largest time that an owner record holds, in milliseconds since 1970.
const LATEST: u64 = 99_999_999_999_999;

/// Parses the contents of an owner record, also those of an earlier version.
pub(crate) fn decode_owner_record(text: &[u8]) -> OwnerRecord {
    if is_unwritten(text) {
        return OwnerRecord::Incomplete;
    }
    decode_owner(text).map_or(OwnerRecord::Damaged, OwnerRecord::Complete)
}

/// The contents of a record that no version takes for that of an owner.
pub(crate) const DAMAGED: &str = "damaged\n";

/// Returns whether a file has no contents: it was created, and its first write did not reach the disk.
pub(crate) fn is_unwritten(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == 0)
}

/// Formats a registration at this time, in milliseconds since 1970.
pub(crate) fn encode_registration(at: u64) -> String {
    with_checksum(&format!("registered {at}\n"))
}

/// Parses a registration; `None` if it is incomplete or damaged.
pub(crate) fn decode_registration(text: &[u8]) -> Option<u64> {
    first_line(text)?.strip_prefix("registered ")?.parse().ok()
}

/// Formats an owner record. All have the same length.
pub(crate) fn encode_owner(owner: Owner) -> String {
    let Owner {
        uid,
        since,
        in_files,
    } = owner;
    let uid = uid.map_or_else(|| "-".repeat(10), |uid| format!("{uid:010}"));
    let since = since.min(LATEST);
    let source = if in_files { "files" } else { "other" };
    with_checksum(&format!("owner {uid} {since:014} {source}\n"))
}

fn decode_owner(text: &[u8]) -> Option<Owner> {
    let line = first_line(text)?;
    let mut fields = line.split(' ');
    let kind = fields.next()?;
    let uid = match kind {
        "owner" => fields.next()?,
        "registered" => "-",
        _ => return None,
    };
    let owner = Owner {
        uid: match uid.starts_with('-') {
            true => None,
            false => Some(uid.parse().ok()?),
        },
        since: fields.next()?.parse().ok()?,
        in_files: match fields.next() {
            None | Some("other") => false,
            Some("files") => true,
            Some(_) => return None,
        },
    };
    fields.next().is_none().then_some(owner)
}

fn with_checksum(line: &str) -> String {
    format!("{line}checksum {:08x}\n", crc32fast::hash(line.as_bytes()))
}

/// Returns the first line of a record, without its end. `None` if the record is incomplete or damaged. Zeros behind it
/// are the rest of a longer one.
fn first_line(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0');
    let end = text.find('\n')? + 1;
    (with_checksum(&text[..end]) == text).then(|| &text[..end - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_300_000_123;

    #[test]
    fn an_incomplete_registration_is_rejected() {
        let text = encode_registration(NOW);
        assert_eq!(decode_registration(text.as_bytes()), Some(NOW));
        for cut in 0..text.len() {
            assert_eq!(decode_registration(&text.as_bytes()[..cut]), None, "{cut}");
        }
        let other = text.replace("123", "124");
        assert_eq!(decode_registration(other.as_bytes()), None);
    }

    #[test]
    fn owner_records_have_one_length() {
        let mut lens = Vec::new();
        for uid in [None, Some(0), Some(u32::MAX)] {
            for (since, in_files) in [(0, true), (NOW, false), (LATEST, true)] {
                let owner = Owner {
                    uid,
                    since,
                    in_files,
                };
                let text = encode_owner(owner);
                let decoded = decode_owner_record(text.as_bytes());
                assert_eq!(decoded, OwnerRecord::Complete(owner));
                assert_eq!(decode_registration(text.as_bytes()), None);
                lens.push(text.len());
            }
        }
        lens.dedup();
        assert_eq!(lens.len(), 1);
        let owner = Owner {
            uid: Some(7),
            since: u64::MAX,
            in_files: true,
        };
        assert_eq!(encode_owner(owner).len(), lens[0], "a time out of range");
    }

    #[test]
    fn owner_records_of_earlier_versions_are_read() {
        let earlier = [
            (encode_registration(NOW), None),
            (
                with_checksum(&format!("owner 0000000007 {NOW:014}\n")),
                Some(7),
            ),
            (
                with_checksum(&format!("owner ---------- {NOW:014}\n")),
                None,
            ),
        ];
        for (text, uid) in earlier {
            let owner = Owner {
                uid,
                since: NOW,
                in_files: false,
            };
            assert!(text.len() < encode_owner(owner).len());
            let decoded = decode_owner_record(text.as_bytes());
            assert_eq!(decoded, OwnerRecord::Complete(owner), "{text}");
        }
    }

    #[test]
    fn an_unwritten_owner_record_is_incomplete_and_any_other_damaged() {
        assert_eq!(decode_owner_record(b""), OwnerRecord::Incomplete);
        assert_eq!(decode_owner_record(&[0; 64]), OwnerRecord::Incomplete);
        let owner = Owner {
            uid: Some(7),
            since: NOW,
            in_files: false,
        };
        let text = encode_owner(owner);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(decode_owner_record(&bytes), OwnerRecord::Damaged, "{at}");
            if at > 0 {
                let cut = decode_owner_record(&text.as_bytes()[..at]);
                assert_eq!(cut, OwnerRecord::Damaged, "cut at {at}");
            }
        }
    }
}
