//! Small values that the user writes as text: amounts of memory, numbers of
//! CPUs, durations, accelerators, backends. Pure; used by the YAML files and by
//! the command line alike, so that both say the same.

use std::time::Duration;

use kregress_wire::{Better, Kind};

use super::error::quoted;
use super::nearest::hint;
use crate::model::{Accel, AccelChoice, Backend, GuestRoot, RootFs};

/// Virtual CPUs that a machine may have. `CONFIG_NR_CPUS` of distributions is
/// far above; more than this is a slip of the finger on every host of ours.
pub const CPUS: std::ops::RangeInclusive<u32> = 1..=256;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Memory that a machine may have, in bytes. From experience: a small kernel
/// with our initramfs needs about 60 MiB to reach its hello.
pub const MEMORY: std::ops::RangeInclusive<u64> = 64 * MIB..=4096 * GIB;

/// Longest timeout of a test.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Why a text is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a size, or not one for a machine.
    #[error(
        "{} is no amount of memory\n\
         hint: a whole number with `M` or `G`, from `64M` to `4096G`: `512M`, `1G`",
        quoted(.0)
    )]
    Memory(String),
    /// Not a number of CPUs.
    #[error("{} is no number of CPUs\nhint: a whole number from 1 to 256", quoted(.0))]
    Cpus(String),
    /// Not a duration, or not one for a timeout.
    #[error(
        "{} is no timeout\n\
         hint: whole numbers with `ms`, `s`, `m` or `h`, up to `24h`: `30s`, `500ms`, `1m30s`",
        quoted(.0)
    )]
    Timeout(String),
    /// Not a day of the calendar.
    #[error("{} is no day\nhint: year, month and day like this: `2027-01-31`", quoted(.0))]
    Date(String),
    /// A path that virtme-ng cannot be told.
    #[error(
        "{} cannot be a root file system\n\
         hint: the path of a directory, all of it of letters, digits and `/._+@-`, for virtme-ng quotes nothing",
        quoted(.0)
    )]
    Root(String),
    /// A word that is none of a fixed choice.
    #[error("unknown {what} {}{}", quoted(word), hint(word, &format!("{what}s"), known))]
    Word {
        /// What it would be.
        what: &'static str,
        /// As written.
        word: String,
        /// The choice.
        known: Vec<String>,
    },
}

/// Reads an amount of memory, in bytes: `512M`, `1G`.
///
/// # Errors
///
/// [`ValueError::Memory`] for anything else, and outside of [`MEMORY`].
pub(super) fn memory(text: &str) -> Result<u64, ValueError> {
    let parse = || {
        let (digits, unit) = match text.strip_suffix('G') {
            Some(digits) => (digits, GIB),
            None => (text.strip_suffix('M')?, MIB),
        };
        number(digits)?.checked_mul(unit).filter(|bytes| MEMORY.contains(bytes))
    };
    parse().ok_or_else(|| ValueError::Memory(text.to_owned()))
}

/// An amount of memory as the user writes it. Bytes beyond a whole MiB are cut;
/// none of ours has any.
#[must_use]
pub fn memory_text(bytes: u64) -> String {
    if bytes.is_multiple_of(GIB) { format!("{}G", bytes / GIB) } else { format!("{}M", bytes / MIB) }
}

/// Reads a number of CPUs.
///
/// # Errors
///
/// [`ValueError::Cpus`] for anything else, and outside of [`CPUS`].
pub(super) fn cpus(text: &str) -> Result<u32, ValueError> {
    let cpus = number(text).and_then(|n| u32::try_from(n).ok()).filter(|n| CPUS.contains(n));
    cpus.ok_or_else(|| ValueError::Cpus(text.to_owned()))
}

/// Reads a day: `2027-01-31`.
///
/// # Errors
///
/// [`ValueError::Date`] for anything else, and for days that do not exist.
pub(super) fn date(text: &str) -> Result<jiff::civil::Date, ValueError> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = is_plain.then(|| text.parse().ok()).flatten();
    day.ok_or_else(|| ValueError::Date(text.to_owned()))
}

/// Reads the name of an accelerator.
///
/// # Errors
///
/// [`ValueError::Word`].
pub(super) fn accel(text: &str) -> Result<AccelChoice, ValueError> {
    match text {
        "auto" => Ok(AccelChoice::Auto),
        "kvm" => Ok(AccelChoice::Only(Accel::Kvm)),
        "tcg" => Ok(AccelChoice::Only(Accel::Tcg)),
        "icount" => Ok(AccelChoice::Only(Accel::Icount)),
        _ => Err(unknown("accelerator", text, &["auto", "kvm", "tcg", "icount"])),
    }
}

/// An accelerator as the user writes it.
#[must_use]
pub fn accel_text(accel: AccelChoice) -> &'static str {
    match accel {
        AccelChoice::Auto => "auto",
        AccelChoice::Only(accel) => accel.name(),
    }
}

/// Reads the name of a backend.
///
/// # Errors
///
/// [`ValueError::Word`].
pub(super) fn backend(text: &str) -> Result<Backend, ValueError> {
    let all = [Backend::Qemu, Backend::VirtmeNg];
    let found = all.into_iter().find(|backend| backend.name() == text);
    found.ok_or_else(|| unknown("backend", text, &all.map(Backend::name)))
}

pub(super) fn rootfs(text: &str) -> Result<RootFs, ValueError> {
    let found = RootFs::ALL.into_iter().find(|rootfs| rootfs.name() == text);
    found.ok_or_else(|| unknown("root file system", text, &RootFs::ALL.map(RootFs::name)))
}

/// Reads the path of the root of a guest; a relative one starts where the user is.
///
/// # Errors
///
/// [`ValueError::Root`] for a path that virtme-ng would take for another one.
pub(super) fn root(text: &str) -> Result<GuestRoot, ValueError> {
    let absolute = std::path::absolute(text).ok();
    let root = absolute.as_deref().and_then(std::path::Path::to_str).and_then(GuestRoot::new);
    root.ok_or_else(|| ValueError::Root(text.to_owned()))
}

/// Reads a timeout: `30s`, `500ms`, `2m`, `1h`, `1m30s`.
///
/// # Errors
///
/// [`ValueError::Timeout`] for anything else, for nothing at all and for more
/// than [`LONGEST_TIMEOUT`].
pub(super) fn timeout(text: &str) -> Result<Duration, ValueError> {
    let parse = || {
        let mut rest = text;
        let mut milliseconds = 0_u64;
        // A unit may only be followed by a smaller one: `30s1m` is a slip.
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (count, tail) = rest.split_at(digits);
            let (unit, tail) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(name, unit)| Some((unit, tail.strip_prefix(name)?)))?;
            if unit >= smallest {
                return None;
            }
            smallest = unit;
            milliseconds = milliseconds.checked_add(number(count)?.checked_mul(unit)?)?;
            rest = tail;
        }
        let time = Duration::from_millis(milliseconds);
        (!time.is_zero() && time <= LONGEST_TIMEOUT).then_some(time)
    };
    parse().ok_or_else(|| ValueError::Timeout(text.to_owned()))
}

/// A timeout as the user writes it; below a millisecond nothing is shown.
#[must_use]
pub fn timeout_text(time: Duration) -> String {
    let mut left = time.as_millis();
    let mut text = String::new();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
        if left >= unit {
            text.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    text
}

/// As suites write it.
#[must_use]
pub fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Time => "time",
        Kind::Count => "count",
        Kind::Rate => "rate",
        Kind::Bytes => "bytes",
        Kind::Ratio => "ratio",
    }
}

/// As suites write it.
#[must_use]
pub fn better_text(better: Better) -> &'static str {
    match better {
        Better::Lower => "lower",
        Better::Higher => "higher",
    }
}

/// Digits and nothing else: no sign, no blank, no underscore.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn unknown(what: &'static str, word: &str, known: &[&str]) -> ValueError {
    ValueError::Word {
        what,
        word: word.to_owned(),
        known: known.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_a_whole_number_of_mib_or_gib() {
        assert_eq!(memory("512M"), Ok(512 << 20));
        assert_eq!(memory("1G"), Ok(1 << 30));
        assert_eq!(memory("4096G"), Ok(4 << 40));
        for bad in [
            "",
            "M",
            "G",
            "1",
            "1024",
            "0G",
            "63M",
            "4097G",
            "1.5G",
            "-1G",
            "+1G",
            "1 G",
            "1g",
            "1GiB",
            "1K",
            "99999999999999999999G",
        ] {
            assert_eq!(memory(bad), Err(ValueError::Memory(bad.to_owned())));
        }
    }

    #[test]
    fn a_machine_has_1_to_256_cpus() {
        assert_eq!(cpus("1"), Ok(1));
        assert_eq!(cpus("256"), Ok(256));
        for bad in ["", "0", "257", "-1", "two", "2.0", "99999999999"] {
            assert_eq!(cpus(bad), Err(ValueError::Cpus(bad.to_owned())));
        }
    }

    #[test]
    fn timeouts_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(timeout(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(timeout_text(Duration::from_millis(milliseconds)), text);
        }
        for bad in [
            "",
            "30",
            "0s",
            "s",
            "30 s",
            "1.5s",
            "-1s",
            "30sec",
            "30s1m",
            "1s1s",
            "25h",
            "1d",
            "99999999999999999999s",
        ] {
            assert_eq!(timeout(bad), Err(ValueError::Timeout(bad.to_owned())));
        }
    }

    #[test]
    fn a_mistyped_backend_finds_its_neighbour() {
        assert_snapshot!(backend("virtme").expect_err("unknown"), @r"
        unknown backend `virtme`
        hint: did you mean `virtme-ng`? known backends: `qemu`, `virtme-ng`
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text: String) {
            let _ = (memory(&text), cpus(&text), accel(&text), backend(&text), timeout(&text));
        }

        #[test]
        fn what_is_written_is_read_back(ms in 1_u64..=86_400_000, mib in 64_u64..=4_194_304) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(timeout(&timeout_text(time)), Ok(time));
            prop_assert_eq!(memory(&memory_text(mib << 20)), Ok(mib << 20));
        }
    }
}
