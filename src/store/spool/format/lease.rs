//! The bytes of a lease: one line and its checksum.
//!
//! ```text
//! lease ADDRESS|- text|datagram BY TOKEN SINCE UNTIL BOOT
//! checksum CRC-32
//! ```
//!
//! BOOT is the id of a boot of the machine: after another one the lease has ended. UNTIL is of a clock that is never set.

use std::fs::File;
use std::io;

use crate::store::Lease;
use crate::sys::clock::boot_millis;
use crate::sys::file;

/// The state of a lease on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeaseFile {
    /// There is no file.
    None,
    /// It has ended, or is not whole: a damaged lease counts as ended.
    Over,
    /// It is in force.
    Current(Lease),
}

impl LeaseFile {
    /// The state of the lease in `file`, in the boot `boot` of the machine.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub(crate) fn read(file: Option<&File>, boot: &str) -> io::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::None);
        };
        let mut text = [0; 512];
        let n = file::read_at(file, &mut text, 0)?;
        Ok(decode(&text[..n], boot).map_or(Self::Over, Self::Current))
    }
}

/// The text of `lease` in the boot `boot` of the machine.
pub(crate) fn encode(lease: &Lease, boot: &str) -> String {
    let Lease {
        address,
        speaks,
        by,
        token,
        since,
        until,
    } = lease;
    let address = address.map_or_else(|| "-".into(), |address| address.to_string());
    let line = format!("lease {address} {speaks} {by} {token} {since} {until} {boot}\n");
    let sum = crc32fast::hash(line.as_bytes());
    format!("{line}checksum {sum:08x}\n")
}

/// The lease, if it is whole and has not ended.
fn decode(text: &[u8], boot: &str) -> Option<Lease> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.lines().next()?.strip_prefix("lease ")?.split(' ');
    let address = fields.next()?;
    let lease = Lease {
        address: match address {
            "-" => None,
            address => Some(address.parse().ok()?),
        },
        speaks: fields.next()?.parse().ok()?,
        by: fields.next()?.parse().ok()?,
        token: fields.next()?.parse().ok()?,
        since: fields.next()?.parse().ok()?,
        until: fields.next()?.parse().ok()?,
    };
    (encode(&lease, boot) == text && lease.until > boot_millis()).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Speaks;

    fn a_lease() -> Lease {
        Lease {
            address: Some("[::1]:8283".parse().expect("an address")),
            speaks: Speaks::Datagram,
            by: "10.0.0.1".parse().expect("an address"),
            token: 7,
            since: 1_795_300_000_123,
            until: boot_millis() + 60_000,
        }
    }

    #[test]
    fn a_lease_is_whole_or_none_and_ends_with_its_time_and_its_boot() {
        let lease = a_lease();
        let text = encode(&lease, "b1");
        assert_eq!(decode(text.as_bytes(), "b1"), Some(lease));
        assert_eq!(decode(text.as_bytes(), "b2"), None);
        for cut in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..cut], "b1"), None, "{cut}");
        }
        assert_eq!(decode(text.replace("8283", "8284").as_bytes(), "b1"), None);
        let over = Lease {
            until: boot_millis(),
            ..lease
        };
        assert_eq!(decode(encode(&over, "b1").as_bytes(), "b1"), None);
        let reserved = Lease {
            address: None,
            speaks: Speaks::Text,
            ..lease
        };
        assert_eq!(
            decode(encode(&reserved, "b").as_bytes(), "b"),
            Some(reserved)
        );
    }
}
