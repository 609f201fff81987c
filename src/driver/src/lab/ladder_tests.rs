//! The steps of the ladder, and the texts that they leave.

use super::*;

const MONITOR: Duration = Duration::from_millis(1500);

fn begin(subject: Subject) -> (Ladder, Next) {
    Ladder::begin(subject, Limits::scaled(1.0))
}

fn said(text: &str) -> Answer {
    Answer::Said(text.to_owned())
}

fn look(rip: u64) -> Answer {
    said(&format!("\r\nCPU#0\r\nRIP={rip:016x} RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n"))
}

const LOOP: u64 = 0xffff_ffff_8123_4567;

fn evidence(ladder: Ladder) -> String {
    let line = |it: Evidence| format!("{}: {}", it.source.name(), it.text.lines().next().unwrap_or_default());
    ladder.into_evidence().into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn panic(title: &str, stack: &[&str]) -> Finding {
    Finding {
        kind: FindingKind::Panic,
        title: title.to_owned(),
        stack: stack.iter().map(|function| (*function).to_owned()).collect(),
        frames: Vec::new(),
        allowed: None,
        start: 0,
        end: 1,
    }
}

#[test]
fn every_step_has_a_limit_and_all_of_them_are_short() {
    let limits = Limits::scaled(1.0);
    let (mut ladder, next) = begin(Subject::Guest);
    assert_eq!(next, Next { order: Order::AskAgent, limit: limits.diagnosis.expect("a limit") });
    let mut total = next.limit;
    let mut orders = Vec::new();
    let mut next = ladder.limit_passed();
    while next.order != Order::Kill {
        orders.push(next.order);
        total += next.limit;
        // Every answer comes at the last moment.
        next = match next.order {
            Order::AskMonitor(Query::Status) => ladder.monitor_said(said("running")).expect("a step"),
            Order::AskMonitor(Query::Registers) => ladder.monitor_said(look(LOOP)).expect("a step"),
            Order::AskMonitor(Query::Nmi) => ladder.monitor_said(said("")).expect("a step"),
            _ => ladder.limit_passed(),
        };
    }
    use Order::{AskMonitor, Terminate, Wait};
    use Query::{Nmi, Registers, Status};
    assert_eq!(
        orders,
        [
            AskMonitor(Status),
            AskMonitor(Registers),
            Wait,
            AskMonitor(Registers),
            AskMonitor(Nmi),
            Wait,
            Terminate
        ]
    );
    assert!(total + limits.last_words <= Duration::from_secs(15), "{total:?}");
    insta::assert_snapshot!(evidence(ladder), @r"
    agent: the agent did not answer within 3s
    registers: CPU 0 stands still at ffffffff81234567
    nmi: the machine was still there 2s after the NMI
    sigterm: the machine did not end within 2s of SIGTERM
    sigkill: only SIGKILL ended the machine
    ");
}

#[test]
fn an_agent_that_answers_ends_the_climb() {
    let (mut ladder, _) = begin(Subject::Guest);
    assert_eq!(ladder.agent_said("task x (process 1, thread 1) state R\n".to_owned()).order, Order::Kill);
    assert_eq!(ladder.conclusion(), Conclusion::Alive { cleanup: None });
    assert_eq!(evidence(ladder), "agent: the agent answered: no task has a stack to show");
}

#[test]
fn an_agent_that_answers_late_still_ends_the_climb() {
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.limit_passed();
    assert_eq!(ladder.agent_said("x\n".to_owned()).order, Order::Kill);
    assert_eq!(ladder.conclusion(), Conclusion::Alive { cleanup: None });
}

#[test]
fn a_worker_that_does_not_get_on_is_told_from_one_that_does() {
    let report = |still| {
        let stack = "rcu_barrier+0x1/0x2\ncleanup_net+0x1/0x2\nprocess_one_work+0x1/0x2\n";
        let task = stacks::Task {
            comm: "kworker/u8:0+netns",
            process: 9,
            thread: 9,
            state: 'D',
            wchan: "",
            stack,
            still,
        };
        task.describe()
    };
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.agent_said(report(Some(PAUSE)));
    let stack = ["rcu_barrier", "cleanup_net"].map(str::to_owned).to_vec();
    assert_eq!(ladder.conclusion(), Conclusion::CleanupStuck(stack));
    insta::assert_snapshot!(
        evidence(ladder),
        @"agent: the agent answered: cleanup_net does not get on, it sits in rcu_barrier < cleanup_net"
    );
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.agent_said(report(None));
    let cleanup = Some("rcu_barrier < cleanup_net".to_owned());
    assert_eq!(ladder.conclusion(), Conclusion::Alive { cleanup });
}

#[test]
fn a_guest_that_never_said_hello_has_no_agent_to_ask() {
    let (_, next) = begin(Subject::Booting);
    assert_eq!(next, Next { order: Order::AskMonitor(Query::Status), limit: MONITOR });
}

#[test]
fn without_a_monitor_the_machine_is_told_to_end() {
    let limits = Limits { monitor: None, ..Limits::scaled(1.0) };
    let (mut ladder, _) = Ladder::begin(Subject::Guest, limits);
    assert_eq!(ladder.limit_passed().order, Order::Terminate);
    assert_eq!(ladder.conclusion(), Conclusion::Unknown);
    let limits = Limits { terminate: Duration::ZERO, ..limits };
    assert_eq!(Ladder::begin(Subject::Booting, limits).1.order, Order::Kill);
}

#[test]
fn a_machine_that_does_not_answer_is_no_fault_of_the_kernel() {
    for answer in [None, Some(Answer::Gone("it does not speak QMP".to_owned())), Some(said("paused"))] {
        let (mut ladder, _) = begin(Subject::Booting);
        let next = match answer.clone() {
            None => ladder.limit_passed(),
            Some(answer) => ladder.monitor_said(answer).expect("a step"),
        };
        assert_eq!(next.order, Order::Terminate, "{answer:?}");
        assert!(matches!(ladder.conclusion(), Conclusion::Machine(_)), "{answer:?}");
    }
}

#[test]
fn a_monitor_that_refuses_one_thing_is_asked_for_the_next() {
    let refused = || Answer::Refused("no such command".to_owned());
    let (mut ladder, _) = begin(Subject::Booting);
    assert_eq!(ladder.monitor_said(refused()).expect("a step").order, Order::AskMonitor(Query::Nmi));
    assert_eq!(ladder.monitor_said(refused()).expect("a step").order, Order::Terminate);
    insta::assert_snapshot!(evidence(ladder), @r"
    registers: QEMU's monitor refused: no such command
    nmi: QEMU's monitor refused: no such command
    ");
}

#[test]
fn registers_that_do_not_come_do_not_hold_up_the_nmi() {
    let (mut ladder, _) = begin(Subject::Booting);
    ladder.monitor_said(said("running"));
    assert_eq!(ladder.limit_passed().order, Order::AskMonitor(Query::Nmi));
    assert_eq!(ladder.limit_passed().order, Order::Terminate);
    let (mut ladder, _) = begin(Subject::Booting);
    ladder.monitor_said(said("running"));
    let gone = Answer::Gone("it closed the connection".to_owned());
    assert_eq!(ladder.monitor_said(gone).expect("a step").order, Order::Terminate);
}

/// Up to the moment at which the NMI was sent.
fn nmi_sent() -> Ladder {
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.limit_passed();
    ladder.monitor_said(said("running"));
    ladder.monitor_said(look(LOOP));
    ladder.limit_passed();
    ladder.monitor_said(look(LOOP));
    ladder.monitor_said(said(""));
    ladder
}

#[test]
fn the_panic_that_an_nmi_brings_is_ours_and_tells_the_place() {
    let mut ladder = nmi_sent();
    let stack = ["nmi_panic", "exc_nmi", "end_repeat_nmi", "spin", "do_syscall_64"];
    assert!(!ladder.is_ours(&panic("Kernel panic - not syncing: Fatal exception", &stack)));
    assert!(ladder.is_ours(&panic("Kernel panic - not syncing: NMI: Not continuing", &stack)));
    ladder.machine_ended(Some("exit status: 0"));
    let place = Some("in spin < do_syscall_64".to_owned());
    assert_eq!(ladder.conclusion(), Conclusion::Frozen { place, in_kernel: true });
    let text = ladder.into_evidence().pop().expect("nmi").text;
    insta::assert_snapshot!(text, @r"
    the kernel answered the NMI: spin < do_syscall_64
        spin
        do_syscall_64
    the machine ended after the NMI: exit status: 0
    ");
}

#[test]
fn an_nmi_that_we_did_not_send_is_a_panic_like_any_other() {
    let (mut ladder, _) = begin(Subject::Guest);
    assert!(!ladder.is_ours(&panic("Kernel panic - not syncing: NMI: Not continuing", &[])));
}

#[test]
fn a_backtrace_through_cleanup_net_says_that_it_is_stuck() {
    let mut ladder = nmi_sent();
    let stack = ["exc_nmi", "native_safe_halt", "rcu_barrier", "cleanup_net", "process_one_work"];
    assert!(ladder.is_ours(&panic("Kernel panic - not syncing: NMI: Not continuing", &stack)));
    assert!(matches!(ladder.conclusion(), Conclusion::CleanupStuck(stack) if stack[0] == "native_safe_halt"));
}

#[test]
fn a_machine_that_dies_by_itself_is_recorded_at_the_step_where_it_did() {
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.machine_ended(Some("signal: 9 (SIGKILL)"));
    assert_eq!(ladder.conclusion(), Conclusion::Unknown);
    assert_eq!(
        evidence(ladder),
        "agent: the machine ended before the agent had answered: signal: 9 (SIGKILL)"
    );
    let (mut ladder, _) = begin(Subject::Booting);
    ladder.machine_ended(None);
    assert_eq!(evidence(ladder), "registers: the machine ended before they were read");
}

#[test]
fn a_machine_that_obeys_sigterm_is_not_killed() {
    let (mut ladder, _) = begin(Subject::Booting);
    assert_eq!(ladder.limit_passed().order, Order::Terminate);
    ladder.machine_ended(Some("exit status: 0"));
    insta::assert_snapshot!(evidence(ladder), @r"
    registers: QEMU's monitor did not answer within 1.5s
    sigterm: the machine ended on SIGTERM: exit status: 0
    ");
}

// As 6.12.117 prints it.
const BLOCKED: &str = "\
[   12.345678] sysrq: Show Blocked State
[   12.345700] task:ip              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00004002
[   12.345710] Call Trace:
[   12.345711]  <TASK>
[   12.345712]  __schedule+0x3c7/0xbf0
[   12.345713]  rtnl_lock+0x12/0x20
[   12.345720]  </TASK>
[   12.345721] task:kworker/u8:0    state:D stack:0     pid:12    tgid:12    ppid:2      flags:0x00004000
[   12.345722] Workqueue: netns cleanup_net
[   12.345723] Call Trace:
[   12.345724]  <TASK>
[   12.345725]  __schedule+0x3c7/0xbf0
[   12.345726]  schedule+0x27/0xf0
[   12.345727]  schedule_timeout+0x15d/0x170
[   12.345728]  __wait_for_common+0x90/0x1c0
[   12.345729]  ? __pfx_schedule_timeout+0x10/0x10
[   12.345730]  rcu_barrier+0x1b6/0x2f0
[   12.345731]  cleanup_net+0x1b6/0x2d0
[   12.345732]  process_one_work+0x156/0x300
";

#[test]
fn the_blocked_cleanup_is_found_in_what_the_kernel_prints() {
    let stack = ["rcu_barrier", "cleanup_net"].map(str::to_owned).to_vec();
    assert_eq!(blocked_cleanup(BLOCKED), Some(stack.clone()));
    assert_eq!(blocked_cleanup("sysrq: Show Blocked State\n"), None);
    assert_eq!(blocked_cleanup(&BLOCKED[..BLOCKED.len() - 200]), None);
    // An agent that fell silent after it had asked the kernel.
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.console(BLOCKED.as_bytes());
    ladder.limit_passed();
    ladder.monitor_said(said("running"));
    assert_eq!(ladder.conclusion(), Conclusion::CleanupStuck(stack));
}

#[test]
fn a_flood_of_kernel_log_is_not_kept() {
    let (mut ladder, _) = begin(Subject::Guest);
    for _ in 0..100 {
        ladder.console(&[b'x'; 1 << 16]);
    }
    assert_eq!(ladder.printed.len(), SEARCHED);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_changes_nothing() {
    let (mut ladder, _) = begin(Subject::Guest);
    assert_eq!(ladder.monitor_said(said("running")), None);
    let mut ladder = nmi_sent();
    assert_eq!(ladder.monitor_said(Answer::Gone("it closed the connection".to_owned())), None);
    assert_eq!(ladder.limit_passed().order, Order::Terminate);
}

#[test]
fn a_climb_that_is_cut_says_why() {
    let (mut ladder, _) = begin(Subject::Guest);
    ladder.cut("the user interrupted the run");
    assert_eq!(ladder.conclusion(), Conclusion::Unknown);
    assert_eq!(evidence(ladder), "agent: the user interrupted the run before the agent had answered");
    let mut ladder = nmi_sent();
    ladder.heard("the test reported its end");
    assert_eq!(ladder.conclusion(), Conclusion::Alive { cleanup: None });
}
