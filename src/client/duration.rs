//! Time spans as text.

use std::time::Duration;

use crate::wire::session::LONGEST_TTL;

/// Parses a time to live such as `90`, `10m`, `2h` or `1d`. Returns seconds, from 1 to [`LONGEST_TTL`].
///
/// # Errors
/// The form that was expected.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    const HOW: &str =
        "expected a number of seconds more than 0, or a number followed by m, h or d, such as 10m";
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (&text[..at], unit),
        _ => (text, 's'),
    };
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(HOW.into()),
    };
    let number: u64 = number.parse().map_err(|_| HOW.to_owned())?;
    match number.checked_mul(factor) {
        Some(seconds) if seconds > LONGEST_TTL => {
            Err(format!("the maximum is {}d", LONGEST_TTL / 86_400))
        }
        Some(seconds) if seconds > 0 && !text.starts_with('+') => Ok(seconds),
        _ => Err(HOW.into()),
    }
}

/// Formats a time span for people. The longer the span, the coarser the units.
pub(super) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats_time_spans() {
        let read = |text: &str| seconds(text).ok();
        assert_eq!(read("90"), Some(90));
        assert_eq!(read("90s"), Some(90));
        assert_eq!(read("10m"), Some(600));
        assert_eq!(read("2h"), Some(7_200));
        assert_eq!(read("1d"), Some(86_400));
        assert!(read("36600d").is_some() && read("36601d").is_none());
        for wrong in [
            "",
            "0",
            "m",
            "-1",
            "+1",
            "1w",
            "1.5h",
            "99999999999999999999",
            "1ü",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(words(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(words(Duration::from_secs(59)), "59 s");
        assert_eq!(words(Duration::from_secs(3_599)), "59 min 59 s");
        assert_eq!(words(Duration::from_secs(7_260)), "2 h 1 min");
    }
}
