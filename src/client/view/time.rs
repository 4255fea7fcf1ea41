//! Points in time.

use std::io::IsTerminal as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

fn timestamp(millis: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// Milliseconds since 1970 in UTC, as RFC 3339 has it; `-` for what no calendar has.
pub(in crate::client) fn rfc3339(millis: u64) -> String {
    timestamp(millis).map_or_else(|| "-".into(), |at| format!("{at:.3}"))
}

/// The same for a person at a terminal: in the time zone there, to the minute. Where standard output is no
/// terminal, it is that of RFC 3339.
pub(in crate::client) fn moment(millis: u64) -> String {
    if !std::io::stdout().is_terminal() {
        return rfc3339(millis);
    }
    let local = timestamp(millis).map(|at| at.to_zoned(TimeZone::system()));
    local.map_or_else(
        || "-".into(),
        |at| at.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        assert_eq!(rfc3339(1_795_300_000_123), "2026-11-21T22:26:40.123Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }
}
