//! What people read at the end of a run.

use super::*;
use crate::model::{BootEnd, RunEvent, TroubleKind};
use crate::report::look::{Colour, Screen};
use crate::results::testing::{self, fold};

fn run_of(events: &[RunEvent]) -> Run {
    fold(events).close(State::Unfinished)
}

fn text(run: &Run) -> String {
    let mut bytes = Vec::new();
    write(run, Look::PLAIN, &mut bytes).expect("write");
    String::from_utf8(bytes).expect("utf-8")
}

#[test]
fn a_run_in_which_everything_passed_looks_like_this() {
    let tests = ["smoke/netns-churn[mode=unshare]", "smoke/netns-drain[namespaces=50]"];
    let run = run_of(&testing::whole_run(&["debian-6.12", "mainline"], &tests, 3));
    insta::assert_snapshot!(text(&run), @r"
    debian-6.12
      6.12.117, tcg, qemu, 2 CPUs, 1 GiB, 3 boots
              metric        median  lowest .. highest  of
      pass    smoke/netns-churn[mode=unshare]
              drain_time  142.0 ms  141.0 .. 143.0 ms  3 boots
              rounds             4  always the same    3 boots
      pass    smoke/netns-drain[namespaces=50]
              drain_time  142.0 ms  141.0 .. 143.0 ms  3 boots
              rounds             4  always the same    3 boots

    mainline
      6.12.117, tcg, qemu, 2 CPUs, 1 GiB, 3 boots
              metric        median  lowest .. highest  of
      pass    smoke/netns-churn[mode=unshare]
              drain_time  145.0 ms  144.0 .. 146.0 ms  3 boots
              rounds             4  always the same    3 boots
      pass    smoke/netns-drain[namespaces=50]
              drain_time  145.0 ms  144.0 .. 146.0 ms  3 boots
              rounds             4  always the same    3 boots

    4 passed
    4 tests on 2 kernels, 3 boots each, in 45 s
    results: /project/results/20261120-231502-k3f9
    junit:   /project/results/20261120-231502-k3f9/junit.xml
    ");
}

#[test]
fn a_failure_shows_its_evidence_and_the_command_that_repeats_it() {
    let test = "smoke/netns-drain[namespaces=50]";
    let mut events = testing::started(&["stable"], &[test, "smoke/xfrm", "smoke/tcp-zerocopy"], 2);
    events.extend([testing::boot(1, "stable"), testing::boot(2, "stable"), testing::ready(1)]);
    let mut failed =
        testing::fail(test, "stable", 2, "57 namespaces are left after the drain, 7 were expected");
    failed
        .findings
        .push(testing::finding("WARNING: CPU: 0 PID: 9 at net/core/dev.c:10870 free_netdev+0x1f0/0x210"));
    failed.log += "\x1b[31m::error::from the guest\x1b[0m\0\n";
    events.extend([
        RunEvent::TestFinished(testing::pass(test, "stable", 1)),
        RunEvent::TestFinished(failed),
        RunEvent::TestFinished(testing::skip("smoke/xfrm", "stable", 1, "the kernel has no CONFIG_XFRM")),
        RunEvent::TestFinished(testing::skip("smoke/xfrm", "stable", 2, "the kernel has no CONFIG_XFRM")),
        RunEvent::TestFinished(testing::pass("smoke/tcp-zerocopy", "stable", 1)),
        RunEvent::TestFinished(testing::error("smoke/tcp-zerocopy", "stable", Some(2), TroubleKind::Lost)),
        testing::boot_finding(1, "BUG: sleeping function called from invalid context at mm/slab.h:320"),
        testing::ended(1, BootEnd::Clean),
        testing::ended(2, BootEnd::Lost { reason: "QEMU exited with status 1".into() }),
        testing::finished(),
    ]);
    insta::assert_snapshot!(text(&run_of(&events)), @r"
    stable
      6.12.117, tcg, qemu, 2 CPUs, 1 GiB, 2 boots
              metric        median  lowest .. highest  of
      FAIL    smoke/netns-drain[namespaces=50]  in 1 of 2 boots (2)
              drain_time  141.0 ms  139.0 .. 150.0 ms  3 samples
              rounds             4  always the same    3 samples
      skip    smoke/xfrm  in 2 of 2 boots (1, 2)
              the kernel has no CONFIG_XFRM
      ERROR   smoke/tcp-zerocopy  in 1 of 2 boots (2)
              drain_time  141.0 ms  139.0 .. 150.0 ms  3 samples
              rounds             4  always the same    3 samples

    FAIL smoke/netns-drain[namespaces=50]
      assertion on stable, 1 of 2 boots (2)
      57 namespaces are left after the drain, 7 were expected
      WARNING: CPU: 0 PID: 9 at net/core/dev.c:10870 free_netdev+0x1f0/0x210
          free_netdev
          cleanup_net
      | [    4.1] kregress: start
      | [    4.2] unregister_netdevice: waiting for lo
      | : :error::from the guest\x00
      log:    /project/results/20261120-231502-k3f9/boots/2/console.log
      repeat: kregress run 'smoke/netns-drain[namespaces=50]' --kernel stable \
                --boots 2 --seed 17 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=1G

    ERROR smoke/tcp-zerocopy
      lost on stable, 1 of 2 boots (2)
      the guest went away
      log:    /project/results/20261120-231502-k3f9/boots/2/console.log
      repeat: kregress run smoke/tcp-zerocopy --kernel stable --boots 2 --seed 17 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=1G

    FAIL stable, outside of tests: warning
      BUG: sleeping function called from invalid context at mm/slab.h:320
          free_netdev
          cleanup_net
      log:    /project/results/20261120-231502-k3f9/boots/1/console.log

    0 passed, 1 failed, 1 with errors, 1 skipped
    3 tests, 2 boots each, in 13 s
    1 kernel had trouble outside of tests
    results: /project/results/20261120-231502-k3f9
    junit:   /project/results/20261120-231502-k3f9/junit.xml
    ");
}

#[test]
fn a_killed_run_says_so_and_tells_the_same_trouble_once() {
    let tests: Vec<String> = (0..40).map(|n| format!("smoke/netns-drain[namespaces={n}]")).collect();
    let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
    let mut events = testing::started(&["stable"], &tests, 1);
    events.extend([testing::boot(1, "stable"), testing::begun(1, tests[0])]);
    let text = text(&run_of(&events));
    let troubles = &text[text.find("\n\n").expect("end of the table")..];
    insta::assert_snapshot!(troubles, @r"
    ERROR smoke/netns-drain[namespaces=0]
      unfinished on stable
      the run ended in mid-work (killed, or out of disk); boot 1 was at this test
      log:    /project/results/20261120-231502-k3f9/boots/1/console.log
      repeat: kregress run 'smoke/netns-drain[namespaces=0]' --kernel stable \
                --boots 1 --seed 17 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=1G

    ERROR smoke/netns-drain[namespaces=1]
      unfinished on stable
      the run ended in mid-work (killed, or out of disk); no boot has come to this
      test
      also smoke/netns-drain[namespaces=2], smoke/netns-drain[namespaces=3],
      smoke/netns-drain[namespaces=4] and 35 more
      repeat: kregress run 'smoke/netns-drain[namespaces=1]' --kernel stable \
                --boots 1 --seed 17 --machine backend=qemu,cpus=2,memory=1G

    warning: this run did not come to its end; what has no verdict is shown as an
             error
    0 passed, 40 with errors
    40 tests, in 2.0 s
    results: /project/results/20261120-231502-k3f9
    ");
}

#[test]
fn a_run_that_only_skipped_is_warned_about() {
    let mut events = testing::started(&["stable"], &["smoke/xfrm"], 1);
    events.extend([
        testing::boot(1, "stable"),
        RunEvent::TestFinished(testing::skip("smoke/xfrm", "stable", 1, "no CONFIG_XFRM")),
        testing::ended(1, BootEnd::Clean),
        testing::finished(),
    ]);
    insta::assert_snapshot!(text(&run_of(&events)), @r"
    stable
      tcg, qemu, 2 CPUs, 1 GiB, 1 boot
      skip    smoke/xfrm
              no CONFIG_XFRM

    warning: every test was skipped: nothing was learned of the kernel
    0 passed, 1 skipped
    1 test, in 4.0 s
    results: /project/results/20261120-231502-k3f9
    junit:   /project/results/20261120-231502-k3f9/junit.xml
    ");
}

#[test]
fn a_kernel_that_cannot_be_had_is_told_with_its_reason() {
    let mut events = testing::started(&["next"], &["smoke/a"], 1);
    let reason = "net/core/dev.c:12:1: error: expected ';'\nhint: the full log is in build.log";
    events.extend([
        RunEvent::KernelFailed { kernel: testing::kernel("next"), reason: reason.into() },
        RunEvent::TestFinished(testing::error("smoke/a", "next", None, TroubleKind::Host)),
        testing::finished(),
    ]);
    insta::assert_snapshot!(text(&run_of(&events)), @r"
    next
      qemu, 2 CPUs, 1 GiB, never booted
      ERROR   smoke/a

    ERROR smoke/a
      host on next
      the guest went away
      repeat: kregress run smoke/a --kernel next --boots 1 --seed 17 \
                --machine backend=qemu,cpus=2,memory=1G

    ERROR next, outside of tests: kernel
      the kernel cannot be had: net/core/dev.c:12:1: error: expected ';'
      hint: the full log is in build.log

    0 passed, 1 with errors
    1 test, in 3.0 s
    1 kernel had trouble outside of tests
    results: /project/results/20261120-231502-k3f9
    junit:   /project/results/20261120-231502-k3f9/junit.xml
    ");
}

#[test]
fn nothing_is_wider_than_the_screen_but_what_is_copied() {
    let test = format!("smoke/{}[parameter=内核内核内核]", "very-long-name-".repeat(6));
    let mut events = testing::whole_run(&["a-kernel-with-a-very-long-name-indeed-it-is"], &[&test], 2);
    let mut failed =
        testing::fail(&test, "a-kernel-with-a-very-long-name-indeed-it-is", 1, &"word ".repeat(100));
    failed.log = "内".repeat(500);
    let at = events.iter().position(|event| matches!(event, RunEvent::TestFinished(_))).expect("a verdict");
    events[at] = RunEvent::TestFinished(failed);
    let run = run_of(&events);
    for width in [60, 80, 120] {
        let mut bytes = Vec::new();
        let look = Look { width, ..Look::PLAIN };
        write(&run, look, &mut bytes).expect("write");
        let text = String::from_utf8(bytes).expect("utf-8");
        let copied =
            |line: &&str| line.contains('/') || line.contains("--") || line.contains("long-name-very");
        for line in text.lines().filter(|line| !copied(line)) {
            assert!(columns::width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colours_are_the_only_difference_between_a_terminal_and_a_file() {
    let run = run_of(&testing::whole_run(&["stable"], &["smoke/a"], 1));
    let mut bytes = Vec::new();
    let look = Look { colour: Colour::Always, screen: Screen::Live, width: 80 };
    write(&run, look, &mut bytes).expect("write");
    let coloured = String::from_utf8(bytes).expect("utf-8");
    assert_ne!(coloured, text(&run));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text(&run));
}

#[test]
fn a_guest_cannot_write_to_the_terminal_through_the_table() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    events.push(testing::boot(1, "stable"));
    let mut failed = testing::fail("smoke/a", "stable", 1, "\x1b]0;owned\x07\x1b[2J::error::x\u{202e}");
    failed.log = "\x1b[31mred\u{9b}2J\n##[error]x\n".into();
    failed.findings.push(testing::finding("\x1bcBUG\x07"));
    events.extend([
        RunEvent::TestFinished(failed),
        RunEvent::Notice("\x1b[H".into()),
        testing::boot_finding(1, "\x1b[5mblink"),
    ]);
    let text = text(&run_of(&events));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(!text.contains("##[") && !text.contains('\u{202e}'), "{text}");
    assert!(!text.split_whitespace().any(|word| word.starts_with("::")), "{text}");
}

#[test]
fn what_was_allowed_is_told_in_one_line_and_turns_nothing_red() {
    let mut events = testing::whole_run(&["stable"], &["smoke/a"], 1);
    let found = |finding| RunEvent::BootFinding { boot: crate::model::BootId(1), finding };
    let at = events.len() - 2;
    events.insert(at, found(testing::allowed("WARNING: net/core/dev.c:123 at dev_close")));
    events.insert(at, found(testing::allowed("WARNING: net/core/dev.c:123 at dev_close")));
    let text = text(&run_of(&events));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("allowed: ")).collect();
    assert_eq!(lines, ["allowed: WARNING: net/core/dev.c:123 at dev_close on stable, 2 times: fixed by …"]);
    assert!(text.contains("1 passed") && !text.contains("FAIL"), "{text}");
}

#[test]
fn a_stack_has_its_lines_and_what_was_inlined() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    let mut result = testing::fail("smoke/a", "stable", 1, "WARNING: x");
    result.findings = vec![testing::traced("WARNING: x")];
    events.extend([testing::boot(1, "stable"), RunEvent::TestFinished(result)]);
    let text = text(&run_of(&events));
    let stack = "\n      netdev_freemem net/core/dev.c:11 (inlined)\n      \
                 free_netdev net/core/dev.c:11044\n      cleanup_net\n";
    assert!(text.contains(stack), "{text}");
}
