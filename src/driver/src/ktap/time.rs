//! How long a case took, where it says so.

use std::time::Duration;

/// Keys before a time, and the unit of a bare number behind them.
const KEYS: [(&str, &str); 4] = [("time", "s"), ("duration_ms", "ms"), ("duration", "s"), ("elapsed", "s")];

/// A time behind one of the keys: `time=0.234s`, `time=234ms`, `duration_ms: 12.3`.
pub(super) fn behind_a_key(text: &str) -> Option<Duration> {
    for (at, _) in text.char_indices() {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        for (key, unit) in KEYS {
            let value = text.get(at..).and_then(|rest| rest.strip_prefix(key));
            let Some(value) = value.and_then(|rest| rest.strip_prefix(['=', ':'])) else { continue };
            let value = value.trim_start_matches(' ');
            let end = value.find(|char: char| !(char.is_ascii_alphanumeric() || char == '.'));
            if let Some(time) = parse(value.get(..end.unwrap_or(value.len())).unwrap_or_default(), unit) {
                return Some(time);
            }
        }
    }
    None
}

/// A time at the end of a name, `name (1.5s)` or `name 1.52s`, and the name
/// without it. A bare one needs a decimal point: `after 5s` is a name.
pub(super) fn at_the_end(name: &str) -> Option<(&str, Duration)> {
    let (rest, last) = name.rsplit_once(' ')?;
    let within = last.strip_prefix('(').and_then(|last| last.strip_suffix(')'));
    let number = within.unwrap_or(last);
    if within.is_none() && !number.contains('.') {
        return None;
    }
    // Without a unit it is a version, or anything.
    number.ends_with('s').then(|| parse(number, "")).flatten().map(|time| (rest.trim_end(), time))
}

fn parse(text: &str, unit: &str) -> Option<Duration> {
    let end = text.find(|char: char| !(char.is_ascii_digit() || char == '.')).unwrap_or(text.len());
    let (number, written) = text.split_at(end);
    let scale = match if written.is_empty() { unit } else { written } {
        "s" | "sec" | "secs" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    if !number.starts_with(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Option<Duration> {
        Some(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_time_behind_a_key_keeps_its_fraction() {
        assert_eq!(behind_a_key("time=0.234s"), ms(234));
        assert_eq!(behind_a_key("no luck, time=17ms"), ms(17));
        assert_eq!(behind_a_key("duration_ms: 12"), ms(12));
        assert_eq!(behind_a_key("time=2"), ms(2000));
        assert_eq!(behind_a_key("uptime=2"), None);
        assert_eq!(behind_a_key("time=soon"), None);
        assert_eq!(behind_a_key("time=1.2.3s"), None);
    }

    #[test]
    fn a_time_at_the_end_of_a_name_is_no_part_of_it() {
        assert_eq!(at_the_end("bind (15ms)"), ms(15).map(|time| ("bind", time)));
        assert_eq!(at_the_end("bind 1.50s"), ms(1500).map(|time| ("bind", time)));
        assert_eq!(at_the_end("wait for 5s"), None);
        assert_eq!(at_the_end("protocol 1.2"), None);
        assert_eq!(at_the_end("bind"), None);
    }
}
