//! Durations and sizes as people write them: `8s`, `1m30s`, `64MiB`. A bare number is milliseconds or bytes.

use std::time::Duration;

/// What a duration may look like, for messages.
pub(crate) const DURATION: &str =
    "a duration such as \"500ms\", \"8s\" or \"2m\", or a whole number of milliseconds";
/// What a size may look like, for messages.
pub(crate) const SIZE: &str = "a size such as \"64KiB\" or \"4MiB\", or a whole number of bytes";

/// `500ms`, `8s`, `1.5s`, `2m`, `1h30m`, `7d`, or bare milliseconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(milliseconds) = text.parse::<u64>() {
        return Some(Duration::from_millis(milliseconds));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after.trim_start();
    }
    (!text.is_empty()).then_some(sum)
}

/// A duration as people write it: `1.2s`, `20m`, `1h30m`. [`duration`] reads it.
pub(crate) fn text(duration: Duration) -> String {
    let (seconds, ms) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return format!("{ms}ms");
    }
    if seconds < 60 && ms > 0 {
        return format!("{}s", f64::from(u32::try_from(seconds).unwrap_or(0)) + f64::from(ms) / 1000.0);
    }
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// `100B`, `64KiB`, `64kB`, `1.5MiB`, `1GiB`, or bare bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(bytes) = text.parse::<u64>() {
        return Some(bytes);
    }
    let (number, unit) = leading_number(text)?;
    let factor: f64 = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    // Above 2^53 a float no longer counts bytes exactly; nothing here is that large.
    (bytes.fract() == 0.0 && bytes <= 9_007_199_254_740_992.0).then_some(bytes as u64)
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("500ms", ms(500)),
            ("8s", ms(8_000)),
            ("1.5s", ms(1_500)),
            ("2m", ms(120_000)),
            ("1h30m", ms(5_400_000)),
            ("1m 5s", ms(65_000)),
            ("7d", ms(604_800_000)),
            ("250", ms(250)),
            ("0", ms(0)),
        ] {
            assert_eq!(duration(text), Some(expected), "{text}");
        }
        for text in ["", "s", "8 parsecs", "-1s", "1e3s", "8s5"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        let ms = Duration::from_millis;
        for (time, expected) in [
            (ms(25), "25ms"),
            (ms(1_200), "1.2s"),
            (ms(25_000), "25s"),
            (ms(1_200_000), "20m"),
            (ms(5_405_000), "1h30m5s"),
            (ms(86_400_000), "24h"),
            (ms(0), "0ms"),
        ] {
            assert_eq!(text(time), expected);
            assert_eq!(duration(expected), Some(time));
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("64MiB", 64 << 20), ("1 KiB", 1024), ("1.5KiB", 1536), ("2kB", 2000), ("100B", 100), ("77", 77)]
        {
            assert_eq!(size(text), Some(expected), "{text}");
        }
        for text in ["", "MiB", "1.0001KiB", "-1", "3 elephants", "1e9"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
