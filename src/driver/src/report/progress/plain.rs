//! Progress as lines that stay, for pipes, files and the logs of CI. Pure: the
//! caller writes them and tells the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::status::{Status, objects, remark, verdict_lines};
use crate::model::{BootId, BuildEvent, KernelName, RunEvent};
use crate::report::look::Look;
use crate::report::{columns, quantity, text_safety};
use crate::results::milliseconds;

/// A compilation is reported this often, or with every tenth of it.
const BUILD_INTERVAL: Duration = Duration::from_secs(10);
/// A test that takes long is reported this often, so that a reader of a log
/// sees that it is alive.
const TEST_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Plain {
    look: Look,
    status: Status,
    started: Instant,
    builds: BTreeMap<KernelName, Said>,
    tests: BTreeMap<BootId, Instant>,
}

/// What was last said of a compilation.
#[derive(Debug)]
struct Said {
    at: Duration,
    tenth: u64,
}

impl Plain {
    pub(super) fn new(look: Look, now: Instant) -> Self {
        Self {
            look,
            status: Status::default(),
            started: now,
            builds: BTreeMap::new(),
            tests: BTreeMap::new(),
        }
    }

    /// What to write, without ends of lines.
    pub(super) fn lines(&mut self, event: &RunEvent, now: Instant) -> Vec<String> {
        self.status.take(event);
        match event {
            RunEvent::Build(BuildEvent::Step { kernel, what }) => {
                vec![self.line(&format!("kernel {kernel}: {what}"))]
            }
            RunEvent::Build(BuildEvent::Objects { kernel, done, estimated, elapsed, line }) => {
                let tenth = done.saturating_mul(10).checked_div(*estimated).unwrap_or(0);
                let said = self.builds.get(kernel);
                let due = said.is_none_or(|said| {
                    tenth > said.tenth || elapsed.saturating_sub(said.at) >= BUILD_INTERVAL
                });
                if !due {
                    return Vec::new();
                }
                self.builds.insert(kernel.clone(), Said { at: *elapsed, tenth });
                let (count, time) = (objects(*done, *estimated), quantity::seconds(milliseconds(*elapsed)));
                let line = if line.trim().is_empty() { String::new() } else { format!(": {line}") };
                vec![self.line(&format!("kernel {kernel}: {count}, {time}{line}"))]
            }
            RunEvent::BootStarted(info) => {
                vec![self.line(&format!("boot {}: {}, {}", info.id, info.kernel, info.accel))]
            }
            RunEvent::BootReady { boot, hello, exec_to_hello } => {
                let time = quantity::seconds(milliseconds(*exec_to_hello));
                vec![self.line(&format!("boot {boot}: {} is up after {time}", hello.kernel_release))]
            }
            RunEvent::TestStarted { boot, .. } => {
                self.tests.insert(*boot, now);
                Vec::new()
            }
            RunEvent::TestProgress { boot, test, done, total } => {
                let said = self.tests.entry(*boot).or_insert(self.started);
                if now.saturating_duration_since(*said) < TEST_INTERVAL {
                    return Vec::new();
                }
                *said = now;
                vec![self.line(&format!("boot {boot}: {test} goes on, {done} of {total}"))]
            }
            RunEvent::TestFinished(result) => {
                let mut lines = verdict_lines(result, self.look);
                lines[0] = format!("{}{}", lines[0], self.status.position());
                lines
            }
            other => remark(other, self.look).into_iter().collect(),
        }
    }

    /// One line, no wider than the screen.
    fn line(&self, text: &str) -> String {
        columns::fit(&text_safety::title(text), self.look.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootEnd, TroubleKind};
    use crate::results::testing;

    /// All lines of these events, so many seconds apart.
    fn lines(events: &[RunEvent], apart: u64) -> String {
        let start = crate::clock::now();
        let mut plain = Plain::new(Look::PLAIN, start);
        let at = |index: usize| start + Duration::from_secs(apart) * u32::try_from(index).expect("few");
        let lines: Vec<String> =
            events.iter().enumerate().flat_map(|(index, event)| plain.lines(event, at(index))).collect();
        lines.join("\n")
    }

    fn objects(done: u64, seconds: u64) -> RunEvent {
        RunEvent::Build(BuildEvent::Objects {
            kernel: testing::kernel("stable"),
            done,
            estimated: 3000,
            elapsed: Duration::from_secs(seconds),
            line: "  CC      net/core/net_namespace.o".into(),
        })
    }

    fn progress(done: u64) -> RunEvent {
        let test = testing::test_id("smoke/a");
        RunEvent::TestProgress { boot: BootId(1), test, done, total: 100 }
    }

    #[test]
    fn a_run_reads_like_this() {
        let mut events = testing::started(&["stable"], &["smoke/a", "smoke/b"], 2);
        let what = "unpacking linux-source-6.12.tar.xz".into();
        events.extend([
            RunEvent::Build(BuildEvent::Step { kernel: testing::kernel("stable"), what }),
            objects(310, 15),
            testing::kernel_ready("stable"),
            RunEvent::Notice("KVM opens but boots nothing: TCG is used".into()),
            testing::boot(1, "stable"),
            testing::ready(1),
            testing::begun(1, "smoke/a"),
            RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)),
            testing::begun(1, "smoke/b"),
            RunEvent::TestFinished(testing::fail("smoke/b", "stable", 1, "expected 7, seen 57\nmore")),
            testing::boot_finding(1, "WARNING: possible circular locking dependency detected"),
            testing::ended(1, BootEnd::Clean),
            testing::boot(2, "stable"),
            RunEvent::TestFinished(testing::skip("smoke/a", "stable", 2, "no CONFIG_XFRM")),
            testing::ended(2, BootEnd::Lost { reason: "QEMU exited with status 1".into() }),
            RunEvent::TestFinished(testing::error("smoke/b", "stable", None, TroubleKind::NotReached)),
            testing::finished(),
        ]);
        insta::assert_snapshot!(lines(&events, 1), @r"
        run 20261120-231502-k3f9: 1 kernel, 2 boots, 2 tests, seed 17
        kernel stable: unpacking linux-source-6.12.tar.xz
        kernel stable: 310 of about 3000 objects, 15 s: CC net/core/net_namespace.o
        kernel stable is ready: 6.12.117
        note: KVM opens but boots nothing: TCG is used
        boot 1: stable, tcg
        boot 1: 6.12.117 is up after 0.9 s
        pass  smoke/a  boot 1, stable, 1.5 s [1/4]
        FAIL  smoke/b  boot 1, stable, 1.5 s [2/4]
              expected 7, seen 57
        FAIL  boot 1, outside of tests: WARNING: possible circular locking dependency detected
        boot 2: stable, tcg
        skip  smoke/a  boot 2, stable, 1.5 s [3/4]
              no CONFIG_XFRM
        boot 2 was lost: QEMU exited with status 1
        ERROR smoke/b  no boot, stable, 1.5 s [4/4]
              the guest went away
        ");
    }

    #[test]
    fn a_kernel_that_cannot_be_had_is_one_line() {
        let reason = "net/core/dev.c:12: error: x\nhint: see the log".into();
        let events = [RunEvent::KernelFailed { kernel: testing::kernel("next"), reason }];
        insta::assert_snapshot!(lines(&events, 1), @"ERROR kernel next cannot be had: net/core/dev.c:12: error: x");
    }

    #[test]
    fn a_build_speaks_with_every_tenth_or_every_ten_seconds() {
        let quick: Vec<RunEvent> = (0..3000).map(|done| objects(done, done / 1000)).collect();
        assert_eq!(lines(&quick, 0).lines().count(), 10);
        let slow: Vec<RunEvent> = (0..120).map(|second| objects(second, second)).collect();
        assert_eq!(lines(&slow, 1).lines().count(), 12);
    }

    #[test]
    fn a_build_of_unknown_size_speaks_too() {
        let build = |done, seconds| {
            RunEvent::Build(BuildEvent::Objects {
                kernel: testing::kernel("stable"),
                done,
                estimated: 0,
                elapsed: Duration::from_secs(seconds),
                line: String::new(),
            })
        };
        insta::assert_snapshot!(lines(&[build(1, 0), build(2, 1), build(90, 10)], 1), @r"
        kernel stable: 1 object, 0.0 s
        kernel stable: 90 objects, 10 s
        ");
    }

    #[test]
    fn a_quick_test_has_one_line_and_a_long_one_shows_that_it_lives() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([testing::boot(1, "stable"), testing::begun(1, "smoke/a")]);
        events.extend((0..100).map(progress));
        assert_eq!(lines(&events, 0).lines().count(), 2);
        insta::assert_snapshot!(lines(&events, 1), @r"
        run 20261120-231502-k3f9: 1 kernel, 1 boot, 1 test, seed 17
        boot 1: stable, tcg
        boot 1: smoke/a goes on, 29 of 100
        boot 1: smoke/a goes on, 59 of 100
        boot 1: smoke/a goes on, 89 of 100
        ");
    }

    #[test]
    fn what_a_guest_or_a_compiler_says_cannot_act_on_the_log() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            RunEvent::TestFinished(testing::fail("smoke/a", "stable", 1, "\x1b[2J::error::x\u{9b}31m")),
            testing::boot_finding(1, "\x1b]0;x\x07##[error]y"),
            RunEvent::KernelFailed { kernel: testing::kernel("stable"), reason: "\x1b[31mred".into() },
            testing::ended(1, BootEnd::Lost { reason: "\x07\x1b[5m".into() }),
        ]);
        let text = lines(&events, 1);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains("##["), "{text}");
        assert!(!text.split_whitespace().any(|word| word.starts_with("::")), "{text}");
    }
}
