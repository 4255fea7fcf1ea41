//! The format of a lease file: one line and its checksum.
//!
//! ```text
//! lease ADDRESS|- text|sealed BY TOKEN SECRET|- SINCE UNTIL BOOT
//! checksum CRC-32
//! ```
//!
//! TOKEN and SECRET are hexadecimal. BOOT is the boot id of the machine: a lease ends with its boot. UNTIL is a time of `CLOCK_BOOTTIME`, which cannot be
//! set.

use std::fs::File;
use std::io;

use crate::message::{Hex, LeaseToken, TicketSecret, from_hex};
use crate::store::Lease;
use crate::sys::clock::boot_millis;
use crate::sys::file;

/// The state of a lease file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeaseFile {
    /// There is no file.
    None,
    /// The lease has ended. A damaged lease counts as ended.
    Over,
    /// The lease is in force.
    Current(Lease),
}

impl LeaseFile {
    /// Reads the lease in `file`. `boot` is the current boot id.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn read(file: Option<&File>, boot: &str) -> io::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::None);
        };
        let mut text = [0; 512];
        let n = file::read_at(file, &mut text, 0)?;
        Ok(decode(&text[..n], boot).map_or(Self::Over, Self::Current))
    }
}

/// Encodes `lease` with the boot id `boot`.
pub(crate) fn encode(lease: &Lease, boot: &str) -> String {
    let Lease {
        address,
        speaks,
        by,
        token,
        secret,
        since,
        until,
    } = lease;
    let address = address.map_or_else(|| "-".into(), |address| address.to_string());
    let token = Hex(&token.0);
    let secret = secret.map_or_else(|| "-".into(), |secret| Hex(&secret.0).to_string());
    let line = format!("lease {address} {speaks} {by} {token} {secret} {since} {until} {boot}\n");
    let sum = crc32fast::hash(line.as_bytes());
    format!("{line}checksum {sum:08x}\n")
}

/// Decodes a lease; `None` when it is damaged or has ended.
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
        token: LeaseToken(from_hex(fields.next()?)?),
        secret: match fields.next()? {
            "-" => None,
            secret => Some(TicketSecret(from_hex(secret)?)),
        },
        since: fields.next()?.parse().ok()?,
        until: fields.next()?.parse().ok()?,
    };
    (encode(&lease, boot) == text && lease.until > boot_millis()).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Speaks;

    fn a_lease() -> Lease {
        Lease {
            address: Some("[::1]:8283".parse().expect("an address")),
            speaks: Speaks::Sealed,
            by: "10.0.0.1".parse().expect("an address"),
            token: LeaseToken([7; 8]),
            secret: Some(TicketSecret([8; 32])),
            since: 1_795_300_000_123,
            until: boot_millis() + 60_000,
        }
    }

    #[test]
    fn rejects_a_lease_that_is_damaged_expired_or_of_another_boot() {
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
            secret: None,
            ..lease
        };
        assert_eq!(
            decode(encode(&reserved, "b").as_bytes(), "b"),
            Some(reserved)
        );
    }
}
