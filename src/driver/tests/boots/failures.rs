//! Kernels that fail on request (`tests/failures/on-request.patch`): each failure
//! is reported under its right name, and no boot outlives it for long.

use std::fs;

use serde_json::Value;

use crate::rig::{Ran, Rig, text};

/// A test that makes one namespace, which is when the kernel fails.
const SUITE: &str = "\
version: 1
summary: one namespace
tests:
  trigger: {workload: netns/drain, timeout: 20s, params: {namespaces: 1}}
";

/// Runs the test on a kernel with these fragments that fails so.
fn fails(failure: &str, fragments: &str) -> Ran {
    fails_with(failure, fragments, "")
}

/// The same with more on the kernel command line, each word behind a comma.
fn fails_with(failure: &str, fragments: &str, more: &str) -> Ran {
    runs("one", failure, fragments, more)
}

fn runs(suite: &str, failure: &str, fragments: &str, more: &str) -> Ran {
    let kernel = std::env::var("KREGRESS_TEST_FAILURES")
        .expect("KREGRESS_TEST_FAILURES names TREE@REVISION of the kernel that fails on request");
    let (tree, revision) = kernel.split_once('@').expect("TREE@REVISION");
    let rig = Rig::new();
    let config = rig.path().join("kregress.yaml");
    // The kernel's own patience is short, so that ours is not tried.
    let yaml = format!(
        "version: 1\ndefault-kernel: failing\nkernels:\n  failing:\n    git: {tree}\n    revision: {revision}\n    \
         fragments: [base, {fragments}]\n    cmdline: [kregress_failure={failure}, \
         sysctl.kernel.hung_task_timeout_secs=8, sysctl.kernel.hung_task_check_interval_secs=2{more}]\n"
    );
    fs::write(&config, yaml).expect("write");
    fs::create_dir(rig.path().join("suites")).expect("directory");
    fs::write(rig.path().join("suites/one.yaml"), SUITE).expect("write");
    rig.run(&["--config", config.to_str().expect("path"), "run", suite, "--machine", "accel=tcg"])
}

/// The only result of a run that failed with this kind.
fn failed<'a>(ran: &'a Ran, kind: &str) -> &'a Value {
    assert_eq!(ran.output.status.code(), Some(1), "{}", text(&ran.output));
    let result = &ran.run["results"][0];
    assert_eq!(result["verdict"], "fail", "{result:#}");
    assert_eq!(result["kind"], kind, "{result:#}");
    result
}

fn message(result: &Value) -> &str {
    result["message"].as_str().expect("a message")
}

/// Functions of the first finding's stack.
fn stack(result: &Value) -> Vec<&str> {
    let stack = result["findings"][0]["stack"].as_array().expect("a stack");
    stack.iter().map(|function| function.as_str().expect("a name")).collect()
}

/// Locks and leaks are watched.
const WATCHED: &str = "lockdep, kmemleak, kunit";

#[test]
fn a_panic_is_a_panic() {
    let ran = fails("panic", WATCHED);
    let result = failed(&ran, "panic");
    assert!(message(result).starts_with("Kernel panic - not syncing: failure asked for"), "{result:#}");
}

#[test]
fn an_oops_in_a_system_call_is_an_oops() {
    let ran = fails("oops", WATCHED);
    let result = failed(&ran, "oops");
    assert!(message(result).starts_with("BUG: kernel NULL pointer dereference"), "{result:#}");
    assert_eq!(stack(result)[..2], ["failure_dereference", "failure_asked_for"]);
}

#[test]
fn an_oops_in_a_worker_is_an_oops_of_the_test_that_caused_it() {
    let ran = fails("oops-in-work", WATCHED);
    let result = failed(&ran, "oops");
    assert!(stack(result).contains(&"process_one_work"), "{result:#}");
    assert_eq!(stack(result)[0], "failure_dereference");
}

#[test]
fn a_cpu_that_never_gives_way_is_a_soft_lockup() {
    // RCU would complain of the same CPU after 21 s, and the other detector does so
    // after 20 to 24 (lib/Kconfig.debug, kernel/watchdog.c): on some days it is first.
    let ran = fails_with("soft-lockup", WATCHED, ", rcupdate.rcu_cpu_stall_timeout=60");
    let result = failed(&ran, "hang");
    assert!(message(result).contains("soft lockup"), "{result:#}");
    assert!(stack(result).contains(&"failure_asked_for"), "{result:#}");
}

#[test]
fn a_reader_that_never_ends_is_an_rcu_stall() {
    let ran = fails("rcu-stall", WATCHED);
    let result = failed(&ran, "hang");
    assert!(message(result).contains("stall"), "{result:#}");
    assert!(message(result).contains("rcu"), "{result:#}");
}

#[test]
fn a_task_that_waits_for_ever_is_a_hung_task() {
    let ran = fails("hung-task", WATCHED);
    let result = failed(&ran, "hang");
    assert!(message(result).contains("blocked for more than"), "{result:#}");
    let evidence = result["evidence"].as_array().expect("evidence");
    let agent = evidence.iter().find(|it| it["source"] == "agent").expect("what the agent saw");
    assert!(agent["text"].as_str().expect("text").contains("failure_asked_for"), "{agent:#}");
}

#[test]
fn locks_taken_in_two_orders_are_a_lockdep_report() {
    let ran = fails("lock-order", WATCHED);
    let result = failed(&ran, "finding");
    assert!(message(result).starts_with("WARNING: possible circular locking dependency"), "{result:#}");
    assert_eq!(result["findings"][0]["kind"], "lockdep");
}

#[test]
fn a_count_below_nothing_is_a_refcount_underflow() {
    let ran = fails("refcount", WATCHED);
    let result = failed(&ran, "finding");
    assert!(message(result).contains("refcount_t: underflow; use-after-free."), "{result:#}");
}

#[test]
fn memory_that_nobody_points_to_is_found_after_the_last_test() {
    let ran = fails("memory-leak", WATCHED);
    assert_eq!(ran.output.status.code(), Some(1), "{}", text(&ran.output));
    assert_eq!(ran.run["results"][0]["verdict"], "pass", "{:#}", ran.run["results"]);
    let findings = ran.run["boots"][0]["findings"].as_array().expect("findings");
    let leaks = |it: &&Value| it["kind"] == "leak" && it["stack"].to_string().contains("failure_asked_for");
    assert_eq!(findings.iter().filter(leaks).count(), 1, "{findings:#?}");
}

#[test]
fn a_device_that_is_not_given_back_is_named_with_the_cleanup_that_waits_for_it() {
    let ran = fails("device-leak", WATCHED);
    let result = failed(&ran, "hang");
    assert!(message(result).contains("unregister_netdevice: waiting for lo to become free"), "{result:#}");
    assert!(message(result).contains("cleanup_net"), "{result:#}");
}

#[test]
fn a_cleanup_that_never_ends_is_named_with_the_function_that_it_sits_in() {
    let ran = fails("cleanup-stuck", WATCHED);
    let result = failed(&ran, "hang");
    // The kernel leaves its scheduler's own functions out of a task's stack.
    assert!(message(result).contains("cleanup_net has not finished"), "{result:#}");
    assert!(message(result).contains("it sits in cleanup_net"), "{result:#}");
}

#[test]
fn a_use_after_free_is_a_report_of_kasan() {
    let ran = fails("use-after-free", "kasan");
    let result = failed(&ran, "finding");
    assert!(
        message(result).starts_with("BUG: KASAN: slab-use-after-free in failure_asked_for"),
        "{result:#}"
    );
    assert_eq!(result["findings"][0]["kind"], "sanitizer");
}

/// On this kernel, since no other of these is built with KUnit.
#[test]
fn unit_tests_of_a_kernel_are_tests_and_each_of_their_cases_is_kept() {
    let ran = runs("kunit", "none", WATCHED, "");
    assert_eq!(ran.output.status.code(), Some(0), "{}", text(&ran.output));
    let results = ran.run["results"].as_array().expect("results");
    assert_eq!(results.len(), 3, "{}", text(&ran.output));
    let cases = |result: &Value, verdict: &str| {
        let subtests = result["subtests"].as_array().into_iter().flatten();
        subtests.filter(|case| case["verdict"] == verdict).count()
    };
    for result in results {
        assert_eq!((&result["verdict"], cases(result, "fail")), (&"pass".into(), 0), "{result}");
        assert!(cases(result, "pass") > 2, "{result}");
    }
    // The example's own skips.
    assert!(results.iter().any(|result| cases(result, "skip") > 0), "{results:?}");
}
