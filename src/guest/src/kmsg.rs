//! Writes into the kernel log, so that the host finds our words among the
//! kernel's own and in their order.
//!
//! Owns the format of these lines. Never fails: where there is no kernel log,
//! the console or standard error takes the words.

use std::fs::OpenOptions;
use std::io::Write;

use kregress_wire::MARKER;

/// Severity of a line, as in `include/linux/kern_levels.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The guest cannot go on.
    Critical = 2,
    /// Something is wrong, the guest goes on.
    Warning = 4,
    /// Markers, and what anyone may want to know.
    Notice = 5,
}

/// Longest line in bytes. `/dev/kmsg` refuses more than 992 (`LOG_LINE_MAX` of
/// 6.1; 1024 since 6.4), the prefix included.
const LIMIT: usize = 900;

/// Logs a text, one line of the log for each of its lines.
pub(crate) fn log(level: Level, text: &str) {
    for line in lines(level, text) {
        write(&line);
    }
}

/// Logs what the kernel says elsewhere, as if it had said it here: without a
/// mark of ours in front.
pub(crate) fn quote(level: Level, text: &str) {
    for line in text.lines() {
        write(&format!("<{}>{}\n", level as u8, printable(line)));
    }
}

/// Marks the place in the log from which lines belong to a test.
pub(crate) fn begin(id: u32, name: &str) {
    log(Level::Notice, &format!("begin {id} {}", one_line(name)));
}

/// Marks the place in the log up to which lines belong to a test.
pub(crate) fn end(id: u32, word: &str) {
    log(Level::Notice, &format!("end {id} {word}"));
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}

fn lines(level: Level, text: &str) -> Vec<String> {
    text.lines().map(|line| format!("<{}>{MARKER}{}\n", level as u8, printable(line))).collect()
}

/// Replaces what could move a terminal's cursor and cuts at [`LIMIT`].
fn printable(line: &str) -> String {
    let mut kept = String::with_capacity(line.len().min(LIMIT));
    for c in line.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if kept.len() + c.len_utf8() > LIMIT {
            kept.push_str("...");
            break;
        }
        kept.push(c);
    }
    kept
}

fn write(line: &str) {
    // The limit on messages from user space counts per open file: a new one for
    // every line keeps markers from being suppressed where
    // `kernel.printk_devkmsg` could not be set.
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    if kmsg.and_then(|mut file| file.write_all(line.as_bytes())).is_ok() {
        return;
    }
    let plain = line.split_once('>').map_or(line, |(_, rest)| rest);
    let console = OpenOptions::new().write(true).open("/dev/console");
    if console.and_then(|mut file| file.write_all(plain.as_bytes())).is_err() {
        // Nobody is left to be told of a failure here.
        let _ = std::io::stderr().write_all(plain.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_line_of_a_text_carries_the_marker_and_its_level() {
        let lines = lines(Level::Critical, "cannot go on\nhint: set CONFIG_X\n");
        assert_eq!(lines, ["<2>kregress: cannot go on\n", "<2>kregress: hint: set CONFIG_X\n"]);
    }

    #[test]
    fn a_test_name_stays_on_one_line_of_the_log() {
        assert_eq!(one_line("a/b[c=d]\nkregress: end 1 pass"), "a/b[c=d] kregress: end 1 pass");
    }

    #[test]
    fn control_characters_never_reach_the_log() {
        assert_eq!(lines(Level::Notice, "a\x1b[2Jb\tc"), ["<5>kregress: a?[2Jb?c\n"]);
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_kernel_takes(text in "\\PC{0,2000}") {
            for line in lines(Level::Notice, &text) {
                prop_assert!(line.len() <= 992);
                prop_assert_eq!(line.matches('\n').count(), 1);
            }
        }
    }
}
