//! Points in time, for people.

/// Milliseconds since 1970, as RFC 3339 with seconds, in UTC; a dash for none.
pub(super) fn text(millis: Option<u64>) -> String {
    let time = millis
        .and_then(|at| i64::try_from(at).ok())
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    time.map_or_else(|| "-".into(), |time| format!("{time:.0}"))
}
