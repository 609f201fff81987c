//! Numbers with units, for people. Pure.

use kregress_wire::Unit;

/// One value with its unit.
#[must_use]
pub fn value(value: f64, unit: Unit) -> String {
    let scale = Scale::of(unit, value);
    format!("{}{}", scale.number(value), scale.suffix)
}

/// `1 boot`, `3 boots`.
#[must_use]
pub(crate) fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {}", plural(number, one))
}

/// `1 more boot`, `3 more boots`: what is there and not shown.
#[must_use]
pub(crate) fn more(all: usize, shown: usize, one: &str) -> String {
    let number = all.saturating_sub(shown) as u64;
    format!("{number} more {}", plural(number, one))
}

/// So many of something; its first word is what there are many of.
fn plural(number: u64, one: &str) -> String {
    let (noun, rest) = one.split_at(one.find(' ').unwrap_or(one.len()));
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    if number == 1 { one.to_owned() } else { format!("{noun}{ending}{rest}") }
}

/// A unit with a prefix, chosen once so that a median and its spread are
/// written alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    divisor: f64,
    suffix: &'static str,
    decimals: usize,
}

const TIME: &[(f64, &str)] = &[(1.0, " ns"), (1e3, " µs"), (1e6, " ms"), (1e9, " s")];
const BYTES: &[(f64, &str)] =
    &[(1.0, " B"), (1024.0, " KiB"), (1_048_576.0, " MiB"), (1_073_741_824.0, " GiB")];
const BYTE_RATE: &[(f64, &str)] =
    &[(1.0, " B/s"), (1024.0, " KiB/s"), (1_048_576.0, " MiB/s"), (1_073_741_824.0, " GiB/s")];
const RATE: &[(f64, &str)] = &[(1.0, " /s"), (1e3, " k/s"), (1e6, " M/s")];
// Counts are compared exactly, so they are not rounded to thousands.
const COUNT: &[(f64, &str)] = &[(1.0, "")];
const PERCENT: &[(f64, &str)] = &[(1.0, " %")];

impl Scale {
    /// The scale for values about as large as `typical`. `decimals` are what
    /// `typical` needs for three or four figures; whole numbers of counts and
    /// bytes have none.
    pub(crate) fn of(unit: Unit, typical: f64) -> Self {
        let steps = match unit {
            Unit::Nanoseconds => TIME,
            Unit::One => COUNT,
            Unit::Bytes => BYTES,
            Unit::PerSecond => RATE,
            Unit::BytesPerSecond => BYTE_RATE,
            Unit::Percent => PERCENT,
        };
        let size = typical.abs();
        let fitting = steps.iter().rev().find(|(divisor, _)| size >= *divisor);
        let (divisor, suffix) = *fitting.unwrap_or(&steps[0]);
        let whole = divisor == 1.0 && matches!(unit, Unit::One | Unit::Bytes) && typical.fract() == 0.0;
        let decimals = match size / divisor {
            _ if whole => 0,
            scaled if scaled < 10.0 => 2,
            scaled if scaled < 1000.0 => 1,
            _ => 0,
        };
        Self { divisor, suffix, decimals }
    }

    /// The number without its unit.
    pub(crate) fn number(self, value: f64) -> String {
        format!("{:.*}", self.decimals, value / self.divisor)
    }

    /// The value in this unit.
    pub(crate) fn scaled(self, value: f64) -> f64 {
        value / self.divisor
    }

    /// The unit alone; empty for counts.
    pub(crate) fn unit(self) -> &'static str {
        self.suffix.trim_start()
    }

    /// The number with its unit.
    pub(crate) fn quantity(self, value: f64) -> String {
        format!("{}{}", self.number(value), self.suffix)
    }
}

/// A duration for people.
pub(crate) fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..10_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        10_000..120_000 => format!("{} s", milliseconds / 1000),
        _ => format!("{} min {:02} s", milliseconds / 60_000, milliseconds / 1000 % 60),
    }
}

/// An amount of memory for people.
#[expect(clippy::cast_precision_loss, reason = "a size that is shown with three figures")]
pub(crate) fn memory(bytes: u64) -> String {
    let scale = Scale::of(Unit::Bytes, bytes as f64);
    let text = scale.quantity(bytes as f64);
    text.replace(".00 ", " ").replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(unit: Unit, value: f64) -> String {
        Scale::of(unit, value).quantity(value)
    }

    #[test]
    fn times_get_the_unit_that_people_say() {
        let texts =
            [0.0, 12.0, 999.0, 1230.0, 140.7e6, 52.65e6, 2.77e9, 6.2e12].map(|v| show(Unit::Nanoseconds, v));
        assert_eq!(
            texts,
            ["0.00 ns", "12.0 ns", "999.0 ns", "1.23 µs", "140.7 ms", "52.6 ms", "2.77 s", "6200 s"]
        );
    }

    #[test]
    fn counts_are_exact() {
        assert_eq!(["0", "52", "1234567"], [0.0, 52.0, 1_234_567.0].map(|v| show(Unit::One, v)));
        assert_eq!(show(Unit::One, 2.5), "2.50");
    }

    #[test]
    fn bytes_and_rates_scale() {
        assert_eq!(show(Unit::Bytes, 512.0), "512 B");
        assert_eq!(show(Unit::Bytes, 1_572_864.0), "1.50 MiB");
        assert_eq!(show(Unit::BytesPerSecond, 3.0 * 1_073_741_824.0), "3.00 GiB/s");
        assert_eq!(show(Unit::PerSecond, 12_300.0), "12.3 k/s");
        assert_eq!(show(Unit::Percent, 98.52), "98.5 %");
    }

    #[test]
    fn a_spread_is_written_in_the_unit_of_its_median() {
        let scale = Scale::of(Unit::Nanoseconds, 1.02e6);
        assert_eq!(scale.number(980_000.0), "0.98");
        assert_eq!(scale.quantity(1_100_000.0), "1.10 ms");
    }

    #[test]
    fn negative_and_odd_values_do_no_harm() {
        assert_eq!(show(Unit::Bytes, -4096.0), "-4.00 KiB");
        assert_eq!(show(Unit::Nanoseconds, f64::NAN), "NaN ns");
    }

    #[test]
    fn durations_and_memory_read_well() {
        assert_eq!(["0.0 s", "1.5 s", "42 s", "2 min 05 s"], [4, 1500, 42_000, 125_000].map(seconds));
        assert_eq!(["1 GiB", "1.50 GiB", "512 MiB"], [1 << 30, 3 << 29, 512 << 20].map(memory));
    }
}
