//! Guests over their limits, as conversations: what becomes of the test, the
//! boot and the evidence.

use kregress_wire::{Event, Outcome};

use super::exchange::{Action, Input};
use super::qmp::{Answer, Query};
use super::session_tests::{PASS, SECOND, Talk};
use crate::model::{BootEnd, BootFault, Evidence, EvidenceSource, FailureKind, TroubleKind, Verdict};

const LOOP: u64 = 0xffff_ffff_8123_4567;

/// A guest whose only test runs.
fn running() -> Talk {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk
}

/// One whose only test has been silent for too long.
fn silent() -> Talk {
    let mut talk = running();
    talk.wait(SECOND * 15);
    assert!(talk.actions.iter().any(|action| matches!(action, Action::Diagnose)));
    talk
}

/// What the monitor was asked last.
fn asked(talk: &Talk) -> Option<Query> {
    let mut queries = talk.actions.iter().filter_map(|action| match action {
        Action::AskMonitor(query) => Some(*query),
        _ => None,
    });
    queries.next_back()
}

fn answer(talk: &mut Talk, query: Query, text: &str) {
    assert_eq!(asked(talk), Some(query));
    talk.input(Input::Monitor(Answer::Said(text.to_owned())));
}

fn registers(rip: u64) -> String {
    format!("\r\nCPU#0\r\nRIP={rip:016x} RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n")
}

/// Answers as a machine does in which the guest runs, up to the NMI.
fn monitor(talk: &mut Talk, first: u64, second: u64) {
    answer(talk, Query::Status, "running");
    answer(talk, Query::Registers, &registers(first));
    talk.wait(SECOND / 2);
    answer(talk, Query::Registers, &registers(second));
    answer(talk, Query::Nmi, "");
}

fn nmi_panic(talk: &mut Talk) {
    talk.console(
        "[   20.000000] Uhhuh. NMI received for unknown reason 30 on CPU 0.\n\
         [   20.000001] Kernel panic - not syncing: NMI: Not continuing\n\
         [   20.000002] CPU: 0 UID: 0 PID: 33 Comm: spinner Not tainted 6.12.117 #1\n\
         [   20.000003] Call Trace:\n\
         [   20.000004]  <NMI>\n\
         [   20.000005]  panic+0x1/0x2\n\
         [   20.000005]  nmi_panic+0x1/0x2\n\
         [   20.000005]  exc_nmi+0x1/0x2\n\
         [   20.000006]  end_repeat_nmi+0x1/0x2\n\
         [   20.000007]  </NMI>\n\
         [   20.000008]  <TASK>\n\
         [   20.000009]  spin_for_ever+0x1/0x2\n\
         [   20.000010]  do_syscall_64+0x1/0x2\n\
         [   20.000011]  </TASK>\n\
         [   20.000012] Rebooting in 1 seconds..\n",
    );
}

fn ends(talk: &mut Talk, status: &str) {
    talk.input(Input::Exited { status: status.to_owned() });
    talk.die();
}

fn sources(evidence: &[Evidence]) -> Vec<EvidenceSource> {
    evidence.iter().map(|evidence| evidence.source).collect()
}

fn boot_evidence(talk: &Talk) -> Vec<EvidenceSource> {
    let of_boot = talk.actions.iter().filter_map(|action| match action {
        Action::BootEvidence(evidence) => Some(evidence.source),
        _ => None,
    });
    of_boot.collect()
}

fn count(talk: &Talk, wanted: fn(&Action) -> bool) -> usize {
    talk.actions.iter().filter(|action| wanted(action)).count()
}

#[test]
fn a_guest_that_answers_and_in_which_nothing_is_stuck_ran_out_of_time() {
    let mut talk = running();
    for _ in 0..30 {
        talk.wait(SECOND);
        talk.input(Input::Output(b"still busy\n"));
    }
    let text = "task guest (process 7, thread 7) state R\n".to_owned();
    talk.say(&Event::Diagnosis { text });
    assert_eq!(talk.failure(), (FailureKind::Timeout, "no end after 30s"));
    assert_eq!(sources(&talk.judged()[0].evidence), [EvidenceSource::Agent]);
    assert_eq!(asked(&talk), None, "nothing better would come");
    assert_eq!(count(&talk, |action| matches!(action, Action::Terminate)), 0);
    assert_eq!(talk.end(), &BootEnd::Killed { reason: "no end after 30s".to_owned() });
}

#[test]
fn a_cleanup_that_does_not_get_on_is_named_with_its_place() {
    let mut talk = silent();
    let text = "task kworker/u8:2+netns (process 33, thread 33) state D in rcu_barrier, runs cleanup_net, still there after 300ms\n    \
                rcu_barrier+0x1b6/0x2f0\n    cleanup_net+0x1d3/0x4b0\n    process_one_work+0x174/0x330\n";
    talk.say(&Event::Diagnosis { text: text.to_owned() });
    let message = "cleanup_net has not finished for 15s: it sits in rcu_barrier < cleanup_net";
    assert_eq!(talk.failure(), (FailureKind::Hang, message));
}

#[test]
fn a_cleanup_that_is_at_work_is_no_hang() {
    let mut talk = silent();
    let text = "task kworker/u8:2+netns (process 33, thread 33) state R, runs cleanup_net\n    cleanup_net+0x1/0x2\n";
    talk.say(&Event::Diagnosis { text: text.to_owned() });
    let message = "no sign of life for 15s; cleanup_net is at work in cleanup_net";
    assert_eq!(talk.failure(), (FailureKind::Timeout, message));
}

#[test]
fn a_workload_that_saw_the_stuck_cleanup_first_makes_the_same_failure() {
    let mut talk = running();
    let message = "cleanup_net has not finished for 27s: it sits in rcu_barrier < cleanup_net\n5 are left";
    talk.finish(0, Outcome::Fail { message: message.to_owned() });
    assert_eq!(talk.failure(), (FailureKind::Hang, message));
}

#[test]
fn a_kernel_that_only_an_nmi_makes_speak_hangs_and_did_not_panic() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    monitor(&mut talk, LOOP, LOOP);
    nmi_panic(&mut talk);
    ends(&mut talk, "exit status: 0");
    let message = "no sign of life for 15s, and the guest does not answer: in spin_for_ever < do_syscall_64";
    assert_eq!(talk.failure(), (FailureKind::Hang, message));
    let judged = talk.judged();
    assert!(judged[0].findings.is_empty(), "{:?}", judged[0].findings);
    let expected = [EvidenceSource::Agent, EvidenceSource::Registers, EvidenceSource::Nmi];
    assert_eq!(sources(&judged[0].evidence), expected);
    assert!(matches!(talk.end(), BootEnd::Killed { .. }), "{:?}", talk.end());
    assert!(boot_evidence(&talk).is_empty());
}

#[test]
fn what_the_kernel_says_of_itself_meanwhile_still_counts() {
    let mut talk = silent();
    talk.console(
        "[   16.000000] INFO: task kworker/u8:0:12 blocked for more than 15 seconds.\n\
         [   16.000001]       Not tainted 6.12.117 #1\n\
         [   16.000002] task:kworker/u8:0    state:D stack:0     pid:12\n\
         [   16.000003] Call Trace:\n\
         [   16.000004]  <TASK>\n\
         [   16.000005]  rtnl_lock+0x1/0x2\n\
         [   16.000006]  </TASK>\n",
    );
    talk.say(&Event::Diagnosis { text: "no stacks\n".to_owned() });
    let (kind, message) = talk.failure();
    assert_eq!(kind, FailureKind::Hang);
    assert!(message.starts_with("no sign of life for 15s: INFO: task"), "{message}");
    assert_eq!(talk.judged()[0].findings.len(), 1);
}

#[test]
fn a_real_panic_meanwhile_is_a_panic() {
    let mut talk = silent();
    talk.console("[   16.000000] Kernel panic - not syncing: stack-protector\n");
    ends(&mut talk, "exit status: 0");
    assert_eq!(talk.failure(), (FailureKind::Panic, "Kernel panic - not syncing: stack-protector"));
}

#[test]
fn a_silent_guest_whose_cpus_move_and_that_ignores_the_nmi_hangs() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    monitor(&mut talk, LOOP, LOOP + 64);
    talk.give_up_waiting();
    assert_eq!(talk.failure(), (FailureKind::Hang, "no sign of life for 15s, and the guest does not answer"));
    assert_eq!(sources(&talk.judged()[0].evidence), EvidenceSource::ALL);
    assert_eq!(count(&talk, |action| matches!(action, Action::Terminate)), 1);
    assert_eq!(count(&talk, |action| matches!(action, Action::Kill)), 1);
}

#[test]
fn a_machine_that_is_itself_silent_is_trouble_of_the_host() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    talk.wait(SECOND * 2);
    assert_eq!(count(&talk, |action| matches!(action, Action::Terminate)), 1, "an NMI could not be sent");
    ends(&mut talk, "exit status: 0");
    assert_eq!(talk.trouble(), TroubleKind::Host);
    let expected = [EvidenceSource::Agent, EvidenceSource::Registers, EvidenceSource::Sigterm];
    assert_eq!(sources(&talk.judged()[0].evidence), expected);
}

#[test]
fn a_guest_that_was_stopped_by_its_machine_is_trouble_of_the_host() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    answer(&mut talk, Query::Status, "io-error");
    talk.give_up_waiting();
    let Verdict::Error(trouble) = talk.verdict() else { panic!("{:?}", talk.verdict()) };
    assert!(trouble.message.contains("its state is `io-error`"), "{}", trouble.message);
}

#[test]
fn a_monitor_that_speaks_something_else_ends_in_good_order() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    talk.input(Input::Monitor(Answer::Gone("it does not speak QMP".to_owned())));
    talk.give_up_waiting();
    assert_eq!(talk.trouble(), TroubleKind::Host);
}

#[test]
fn a_machine_that_dies_while_it_is_looked_at_leaves_a_timeout() {
    let mut talk = silent();
    ends(&mut talk, "signal: 9 (SIGKILL)");
    assert_eq!(talk.failure(), (FailureKind::Timeout, "no sign of life for 15s"));
    assert!(talk.judged()[0].evidence[0].text.contains("SIGKILL"));
}

#[test]
fn a_pass_that_comes_while_stacks_are_fetched_is_a_timeout_and_the_next_test_does_not_begin() {
    let mut talk = silent();
    talk.finish(0, PASS);
    talk.start(1);
    talk.say(&Event::Diagnosis { text: "stacks of the next test".to_owned() });
    assert_eq!(talk.failure(), (FailureKind::Timeout, "no sign of life for 15s"));
    assert_eq!(talk.judged()[0].id, 0);
    assert_eq!(talk.judged()[0].evidence[0].text, "the test reported its end before the agent had answered");
    assert!(matches!(talk.end(), BootEnd::Killed { .. }), "{:?}", talk.end());
}

#[test]
fn a_pass_that_comes_after_the_agent_was_given_up_shows_that_the_guest_lives() {
    let mut talk = silent();
    talk.wait(SECOND * 3);
    monitor(&mut talk, LOOP, LOOP);
    talk.finish(0, PASS);
    assert_eq!(talk.failure().0, FailureKind::Timeout);
}

#[test]
fn ctrl_c_and_a_full_disk_end_the_climb_at_once_and_keep_what_is_known() {
    let trouble = Input::HostTrouble("cannot write: No space left on device".to_owned());
    for input in [Input::Interrupt, trouble] {
        let mut talk = silent();
        talk.input(input);
        assert_eq!(talk.failure(), (FailureKind::Timeout, "no sign of life for 15s"));
        assert_eq!(sources(&talk.judged()[0].evidence), [EvidenceSource::Agent]);
        assert_eq!(count(&talk, |action| matches!(action, Action::Kill)), 1);
    }
}

#[test]
fn garbage_while_it_is_looked_at_does_not_hide_that_the_limit_passed() {
    let mut talk = silent();
    talk.input(Input::Control(b"\x1b[31mbabble"));
    assert_eq!(talk.failure().0, FailureKind::Timeout);
}

#[test]
fn a_kernel_that_stands_still_before_the_hello_did_not_boot_by_its_own_fault() {
    let mut talk = Talk::new(1);
    talk.wait(SECOND * 15);
    assert_eq!(count(&talk, |action| matches!(action, Action::Diagnose)), 0, "there is no agent yet");
    monitor(&mut talk, LOOP, LOOP);
    nmi_panic(&mut talk);
    ends(&mut talk, "exit status: 0");
    let BootEnd::NotBooted { reason, fault: BootFault::Kernel } = talk.end() else {
        panic!("{:?}", talk.end())
    };
    assert!(reason.starts_with("it said no hello within 15s: in spin_for_ever < do_syscall_64"), "{reason}");
    assert_eq!(boot_evidence(&talk), [EvidenceSource::Registers, EvidenceSource::Nmi]);
    assert_eq!(count(&talk, |action| matches!(action, Action::BootFinding(_))), 0);
}

#[test]
fn a_guest_that_moves_and_says_no_hello_may_only_be_slow() {
    let mut talk = Talk::new(1);
    talk.wait(SECOND * 15);
    monitor(&mut talk, LOOP, LOOP + 64);
    nmi_panic(&mut talk);
    ends(&mut talk, "exit status: 0");
    assert!(matches!(talk.end(), BootEnd::NotBooted { fault: BootFault::Unknown, .. }), "{:?}", talk.end());
}

#[test]
fn a_hello_that_comes_too_late_starts_nothing() {
    let mut talk = Talk::new(1);
    talk.wait(SECOND * 15);
    talk.hello();
    assert_eq!(count(&talk, |action| matches!(action, Action::Hello(_))), 0);
    assert!(matches!(talk.end(), BootEnd::NotBooted { fault: BootFault::Unknown, .. }), "{:?}", talk.end());
}

#[test]
fn a_panic_before_the_hello_is_the_kernels_fault_unless_it_lacks_what_we_need() {
    let mut talk = Talk::new(1);
    talk.console(
        "[    0.500000] Kernel panic - not syncing: corrupted stack end detected inside scheduler\n",
    );
    talk.die();
    assert!(matches!(talk.end(), BootEnd::NotBooted { fault: BootFault::Kernel, .. }), "{:?}", talk.end());
}

#[test]
fn a_guest_that_stands_still_between_two_tests_hung() {
    let mut talk = running();
    talk.finish(0, PASS);
    talk.wait(SECOND * 15);
    talk.wait(SECOND * 3);
    monitor(&mut talk, LOOP, LOOP);
    nmi_panic(&mut talk);
    ends(&mut talk, "exit status: 0");
    assert_eq!(talk.verdict(), &Verdict::Pass { checks: 3 });
    let BootEnd::Hung { reason } = talk.end() else { panic!("{:?}", talk.end()) };
    assert!(reason.contains("spin_for_ever"), "{reason}");
    assert_eq!(boot_evidence(&talk).len(), 3);
}

#[test]
fn a_soft_lockup_that_panics_is_a_hang_under_its_own_name() {
    let mut talk = running();
    talk.console(
        "[   30.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [spinner:33]\n\
         [   30.000001] CPU: 1 UID: 0 PID: 33 Comm: spinner Not tainted 6.12.117 #1\n\
         [   30.000002] RIP: 0010:spin_for_ever+0x1/0x2\n\
         [   30.000003] Call Trace:\n\
         [   30.000004]  <TASK>\n\
         [   30.000005]  do_syscall_64+0x1/0x2\n\
         [   30.000006]  </TASK>\n\
         [   30.000007] Kernel panic - not syncing: softlockup: hung tasks\n",
    );
    ends(&mut talk, "exit status: 0");
    let (kind, message) = talk.failure();
    assert_eq!(kind, FailureKind::Hang);
    assert!(message.contains("soft lockup"), "{message}");
}

#[test]
fn an_oops_that_ends_the_kernel_is_an_oops_and_no_panic() {
    for (report, title) in [
        (
            "BUG: kernel NULL pointer dereference, address: 0000000000000008\n",
            "BUG: kernel NULL pointer dereference",
        ),
        ("kernel BUG at net/core/dev.c:11721!\n", "kernel BUG at net/core/dev.c"),
    ] {
        let mut talk = running();
        talk.console(&format!(
            "[    2.000000] {report}[    2.000001] Oops: 0000 [#1] PREEMPT SMP\n\
             [    2.000002] RIP: 0010:free_netdev+0x1/0x2\n\
             [    2.000003] ---[ end trace 0000000000000000 ]---\n\
             [    2.000004] Kernel panic - not syncing: Fatal exception\n"
        ));
        ends(&mut talk, "exit status: 0");
        let (kind, message) = talk.failure();
        assert_eq!(kind, FailureKind::Oops, "{message}");
        assert!(message.starts_with(title), "{message}");
    }
}

#[test]
fn a_hang_report_in_a_test_that_goes_on_makes_it_a_hang() {
    let mut talk = running();
    talk.console(
        "[   16.000000] INFO: task ip:12 blocked for more than 15 seconds.\n\
         [   16.000003] Call Trace:\n[   16.000004]  <TASK>\n[   16.000005]  rtnl_lock+0x1/0x2\n[   16.000006]  </TASK>\n",
    );
    talk.finish(0, PASS);
    assert_eq!(talk.failure().0, FailureKind::Hang);
}

const HUNG: &str = "[   12.000000] INFO: task ip:77 blocked for more than 9 seconds.\n\
     [   12.000001]       Not tainted 6.12.117 #1\n\
     [   12.000002] task:ip state:D stack:0 pid:77\n\
     [   12.000003] Call Trace:\n\
     [   12.000004]  <TASK>\n\
     [   12.000005]  rtnl_lock+0x15/0x20\n\
     [   12.000006]  </TASK>\n\
     [   12.000007] something else\n";

#[test]
fn a_test_whose_kernel_complains_is_not_waited_for_to_the_end_of_its_limit() {
    let mut talk = running();
    talk.console("[   11.000000] kregress: begin 0 t/0\n");
    talk.wait(SECOND * 2);
    talk.console(HUNG);
    talk.wait(SECOND * 3);
    assert!(!talk.actions.iter().any(|action| matches!(action, Action::Diagnose)));
    talk.wait(SECOND * 2);
    assert!(talk.actions.iter().any(|action| matches!(action, Action::Diagnose)));
    talk.say(&Event::Diagnosis { text: "no task has a stack to show".to_owned() });
    talk.wait(SECOND * 2);
    let (kind, message) = talk.failure();
    assert_eq!(kind, FailureKind::Hang);
    let expected = "no end 4s after the kernel complained: INFO: task ip:N blocked for more than";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_test_that_ends_soon_after_a_complaint_keeps_its_own_report() {
    let mut talk = running();
    talk.console("[   11.000000] kregress: begin 0 t/0\n");
    talk.console(HUNG);
    talk.wait(SECOND * 3);
    talk.finish(0, PASS);
    talk.console("[   15.000000] kregress: end 0 pass\n");
    let (kind, message) = talk.failure();
    assert_eq!(kind, FailureKind::Hang);
    assert!(message.starts_with("INFO: task ip:N blocked"), "{message}");
}
