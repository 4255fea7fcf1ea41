//! Formats points in time.

use std::io::IsTerminal as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

fn timestamp(millis: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// Formats milliseconds since 1970 as RFC 3339, in UTC; `-` if out of range.
pub(in crate::client) fn rfc3339(millis: u64) -> String {
    timestamp(millis).map_or_else(|| "-".into(), |at| format!("{at:.3}"))
}

/// Formats milliseconds since 1970 in local time, to the minute. As [`rfc3339`] if standard output is not a terminal.
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
    fn times_are_formatted_as_rfc_3339() {
        assert_eq!(rfc3339(1_795_300_000_123), "2026-11-21T22:26:40.123Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }
}
