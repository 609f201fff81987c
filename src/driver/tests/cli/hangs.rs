//! Guests that stop getting on: what is found out about them before they are
//! killed, what becomes of their tests, and of those that were still to come.

use serde_json::Value;

use crate::fake_kernel::{Behaviour, Boot, FakeKernel};
use crate::record::list;
use crate::rig::Rig;

/// Runs three tests of which the middle one behaves so, and has a limit of 1 s.
fn hasty(behaviour: Behaviour) -> Rig {
    Rig::with(&FakeKernel::new().test("hasty/middle", behaviour))
}

/// Source and title of each step.
fn steps(of: &Value) -> String {
    let Some(evidence) = of["evidence"].as_array() else { return String::new() };
    let step = |it: &Value| {
        let text = it["text"].as_str().expect("text");
        format!("{}: {}", it["source"].as_str().expect("source"), text.lines().next().unwrap_or_default())
    };
    evidence.iter().map(step).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_frozen_kernel_is_made_to_speak_by_an_nmi() {
    let rig = hasty(Behaviour::Hang);
    let record = rig.kregress(&["run", "hasty"]).exits(1).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 hasty/first pass
    1 hasty/middle fail: hang: cleanup_net has not finished for 1s: it sits in net_ns_barrier < cleanup_net
    2 hasty/last pass
    ");
    insta::assert_snapshot!(record.boots(), @r"
    1 fake killed no end after 1s
    2 fake clean
    ");
    let result = record.result("hasty/middle");
    insta::assert_snapshot!(steps(result), @r"
    agent: the agent did not answer within 12s
    registers: CPU 0 stands still at ffffffff81000000, CPU 1 stands still at ffffffff81000000
    nmi: the kernel answered the NMI: net_ns_barrier < cleanup_net < process_one_work < worker_thread < kthread
    ");
    assert_eq!(list(&result["findings"]).len(), 0, "the panic is our doing: {result}");
    let junit = record.text("junit.xml");
    assert!(junit.contains("type=\"hang\""), "{junit}");
    assert!(junit.contains("--- boot 1 (tcg), registers\nCPU 0 stands still at ffffffff81000"), "{junit}");
}

#[test]
fn a_test_that_is_stuck_is_told_with_the_stacks_of_its_guest() {
    let rig = hasty(Behaviour::Stuck);
    let seen = rig.kregress(&["run", "hasty"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(steps(record.result("hasty/middle")), @"agent: the agent answered: cleanup_net does not get on, it sits in rcu_barrier < netdev_run_todo < default_device_exit_batch < cleanup_net");
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 2 boots
      pass    hasty/first
      FAIL    hasty/middle
      pass    hasty/last

    FAIL hasty/middle
      hang on fake
      cleanup_net has not finished for 1s: it sits in rcu_barrier < netdev_run_todo
      < default_device_exit_batch < cleanup_net
      agent:     the agent answered: cleanup_net does not get on, it sits in
                 rcu_barrier < netdev_run_todo < default_device_exit_batch <
                 cleanup_net
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run hasty/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    2 passed, 1 failed
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    let evidence = record.result("hasty/middle")["evidence"][0]["text"].to_string();
    assert!(evidence.contains("copy_net_ns+0x11f/0x2a0"), "all stacks are kept: {evidence}");
}

#[test]
fn progress_without_end_does_not_put_off_the_limit_and_is_no_hang() {
    let rig = hasty(Behaviour::EndlessProgress);
    let record = rig.kregress(&["run", "hasty"]).exits(1).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 hasty/first pass
    1 hasty/middle fail: timeout: no end after 1s
    2 hasty/last pass
    ");
    let steps = steps(record.result("hasty/middle"));
    assert_eq!(steps, "agent: the agent answered: no task has a stack to show");
}

#[test]
fn a_guest_that_nothing_but_sigkill_ends_is_ended() {
    let rig = hasty(Behaviour::HangStubborn);
    let record = rig.kregress(&["run", "hasty"]).exits(1).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 hasty/first pass
    1 hasty/middle fail: hang: no end after 1s, and the guest does not answer: CPU 0 stands still at ffffffff81000000
    2 hasty/last pass
    ");
    insta::assert_snapshot!(steps(record.result("hasty/middle")), @r"
    agent: the agent did not answer within 12s
    registers: CPU 0 stands still at ffffffff81000000, CPU 1 stands still at ffffffff81000000
    nmi: the machine was still there 8s after the NMI
    sigterm: the machine did not end within 2s of SIGTERM
    sigkill: only SIGKILL ended the machine
    ");
}

#[test]
fn a_kernel_that_panics_before_its_hello_is_a_failure_of_the_kernels_health() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::PanicEarly));
    let record = rig.kregress(&["run", "t/first"]).exits(1).record();
    let result = record.result("t/first");
    assert_eq!((&result["verdict"], &result["kind"]), (&"error".into(), &"not-reached".into()));
    assert_eq!(record.json["boots"][0]["end"]["fault"], "kernel");
    let junit = record.text("junit.xml");
    assert!(junit.contains("<failure type=\"boot\""), "{junit}");
}
