//! How long tasks wait for one lock: the contention tracepoints in a trace
//! instance of our own.
//!
//! `lock:contention_begin` and `contention_end` are there since 5.19 without
//! lockdep (include/trace/events/lock.h). A mutex that gives up spinning begins
//! a second time; the wait lasts from the first beginning.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::buffer::Buffer;
use super::calls::{CounterError, task};
use super::line::stamp;
use super::root;
use crate::alone::Alone;

/// Per processor, in KiB. A wait takes two or three events of 50 bytes.
const BUFFER_KB: &str = "1024";

const EVENTS: [&str; 2] = ["contention_begin", "contention_end"];

/// Records waits as long as it lives.
#[derive(Debug)]
pub(crate) struct Waits {
    buffer: Buffer,
    ledger: Ledger,
}

impl Waits {
    /// Begins to record the waits for the lock of this name, which is a variable
    /// of the kernel.
    ///
    /// # Errors
    ///
    /// Says what the kernel lacks.
    pub(crate) fn start(lock: &str) -> Result<Self, CounterError> {
        use CounterError::{Failed, Lacks};
        let root = root().map_err(Lacks)?;
        for event in EVENTS {
            if !root.join(format!("events/lock/{event}")).exists() {
                return Err(Lacks(format!(
                    "no tracepoint `lock:{event}`: it came with 5.19; needs CONFIG_FTRACE and a tracer"
                )));
            }
        }
        let symbols = fs::read_to_string("/proc/kallsyms")
            .map_err(|error| Lacks(format!("/proc/kallsyms: {error}; needs CONFIG_KALLSYMS")))?;
        let Some(address) = address(&symbols, lock) else {
            return Err(Lacks(format!(
                "/proc/kallsyms has no address of `{lock}`; needs CONFIG_KALLSYMS_ALL"
            )));
        };
        let buffer = Buffer::create(root, "waits", BUFFER_KB).map_err(Failed)?;
        let mut waits = Self { buffer, ledger: Ledger::default() };
        for event in EVENTS {
            waits
                .buffer
                .set(&format!("events/lock/{event}/filter"), &format!("lock_addr == {address:#x}"))
                .map_err(Failed)?;
        }
        // The tracepoints are in the slow paths of every lock.
        let alone = Alone::now();
        for event in EVENTS {
            waits.buffer.set(&format!("events/lock/{event}/enable"), "1").map_err(Failed)?;
        }
        drop(alone);
        waits.buffer.open().map_err(Failed)?;
        Ok(waits)
    }

    /// What was recorded so far.
    ///
    /// # Errors
    ///
    /// Fails when the trace cannot be read, and when the kernel had to drop some
    /// of it.
    pub(crate) fn read(&mut self) -> io::Result<&Ledger> {
        for line in self.buffer.lines()?.lines() {
            self.ledger.push(line);
        }
        match self.ledger.lost {
            true => Err(io::Error::other("the kernel dropped events: the buffer is too small")),
            false => Ok(&self.ledger),
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let _alone = Alone::now();
        for event in EVENTS {
            let _ = self.buffer.set(&format!("events/lock/{event}/enable"), "0");
        }
    }
}

/// Address of a variable by the text of `/proc/kallsyms`; `None` where it is not
/// listed, or hidden from us as 0.
fn address(symbols: &str, name: &str) -> Option<u64> {
    let found = symbols.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (address, kind, symbol) = (words.next()?, words.next()?, words.next()?);
        // Data, initialised or not; a module's symbols have a fourth word.
        (symbol == name && matches!(kind, "d" | "D" | "b" | "B") && words.next().is_none()).then_some(address)
    })?;
    u64::from_str_radix(found, 16).ok().filter(|address| *address != 0)
}

/// Waits, paired from beginnings and ends. Pure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    waiting: BTreeMap<i32, u64>,
    waited_ns: Vec<u64>,
    lost: bool,
}

impl Ledger {
    /// Lengths of the waits that are over, in nanoseconds, in the order of their
    /// ends.
    pub(crate) fn waited_ns(&self) -> &[u64] {
        &self.waited_ns
    }

    fn push(&mut self, line: &str) {
        if line.starts_with("CPU:") && line.contains("LOST") {
            self.lost = true;
            return;
        }
        let (Some(task), Some((at, event))) = (task(line), stamp(line, "contention_")) else { return };
        if event.starts_with("begin") {
            self.waiting.entry(task).or_insert(at);
        } else if event.starts_with("end")
            && let Some(begun) = self.waiting.remove(&task)
        {
            // One whose beginning came before the record has no length.
            self.waited_ns.push(at.saturating_sub(begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger(text: &str) -> Ledger {
        let mut ledger = Ledger::default();
        for line in text.lines() {
            ledger.push(line);
        }
        ledger
    }

    // In the form of 6.12, with `trace_clock` mono.
    const TRACE: &str = "\
            init-90      [001] .....     1.000000: contention_begin: 00000000c1b2 (flags=SPIN|MUTEX)
            init-91      [000] .....     1.000100: contention_begin: 00000000c1b2 (flags=SPIN|MUTEX)
            init-90      [001] .....     1.000200: contention_begin: 00000000c1b2 (flags=MUTEX)
            init-91      [000] .....     1.000400: contention_end: 00000000c1b2 (ret=0)
            init-90      [001] .....     1.002000: contention_end: 00000000c1b2 (ret=0)
            init-92      [001] .....     1.003000: contention_begin: 00000000c1b2 (flags=MUTEX)
";

    #[test]
    fn a_wait_lasts_from_the_first_beginning_to_the_end() {
        let ledger = ledger(TRACE);
        assert_eq!(ledger.waited_ns(), [300_000, 2_000_000]);
        assert_eq!(ledger.waiting.len(), 1);
    }

    #[test]
    fn an_end_without_a_beginning_is_no_wait() {
        let line = "init-7 [000] ..... 1.000400: contention_end: 00000000c1b2 (ret=0)";
        assert_eq!(ledger(line), Ledger::default());
    }

    #[test]
    fn lost_events_are_not_overlooked() {
        assert!(ledger("CPU:0 [LOST 3 EVENTS]\n").lost);
    }

    #[test]
    fn a_lock_is_found_among_the_kernels_own_data() {
        let symbols = "ffffffff81000000 T rtnl_lock\nffffffffc0000000 d rtnl_mutex\t[mod]\nffffffff82a3b4c0 d rtnl_mutex\n";
        assert_eq!(address(symbols, "rtnl_mutex"), Some(0xffff_ffff_82a3_b4c0));
        assert_eq!(address(symbols, "rtnl_lock"), None);
        assert_eq!(address("0000000000000000 d rtnl_mutex\n", "rtnl_mutex"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\\[\\]:.\n-]{0,200}") {
            ledger(&text);
            let _ = address(&text, "x");
        }

        #[test]
        fn every_wait_that_ends_is_counted_once(order in proptest::collection::vec(0_i32..4, 0..60)) {
            let mut inside = std::collections::BTreeSet::new();
            let (mut text, mut ends) = (String::new(), 0);
            for (at, task) in order.into_iter().enumerate() {
                let word = if inside.remove(&task) { ends += 1; "end" } else { inside.insert(task); "begin" };
                text += &format!("x-{task} [000] ..... 1.{at:06}: contention_{word}: 0 (x)\n");
            }
            let ledger = ledger(&text);
            prop_assert_eq!(ledger.waited_ns().len(), ends);
            prop_assert_eq!(ledger.waiting.len(), inside.len());
        }
    }
}
