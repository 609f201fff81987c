//! Nothing survives us, and a death is seen as such.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, descendants_with, read_json};

/// Longest wait for something that happens within milliseconds; only a broken
/// program reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).expect("pid")).expect("pid")
}

/// Starts a run on one backend and waits until a guest runs a test. Gives the
/// process ids of its machine.
fn running(rig: &Rig, kernel: &str, machine: &str) -> (Child, Vec<u32>) {
    let args = ["run", "smoke", "--kernel", kernel, "--machine", machine, "--message-format", "json"];
    let mut child = rig.spawn(&args);
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let mut line = String::new();
    while stdout.read_line(&mut line).expect("line") > 0 {
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        line.clear();
        if event["event"] == "test-started" {
            // A reader that goes away would end the run.
            std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
            let machines = descendants_with(child.id(), "org.kregress.control");
            assert!(!machines.is_empty(), "a guest runs without a process");
            return (child, machines);
        }
    }
    let status = child.wait().expect("wait");
    panic!("the run ended before a test started: {status}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the death of a process that is not our child cannot be waited for"
)]
fn wait_until_gone(pids: &[u32]) {
    let started = std::time::Instant::now();
    while pids.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()) {
        assert!(started.elapsed() < PATIENCE, "still there: {pids:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn kill_9_of_the_driver_leaves_no_qemu() {
    let rig = Rig::new();
    let (mut child, machines) = running(&rig, "distro", "accel=tcg");
    child.kill().expect("kill");
    child.wait().expect("reap");
    wait_until_gone(&machines);
    let run = rig.newest_run().expect("a run");
    let output = rig.command(&["report", run.to_str().expect("path")]).output().expect("report");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("unfinished"), "{text}");
}

#[test]
fn kill_9_of_the_driver_leaves_no_qemu_of_virtme_ng() {
    let rig = Rig::new();
    let (mut child, machines) = running(&rig, "distro-vng", "accel=tcg,backend=virtme-ng");
    child.kill().expect("kill");
    child.wait().expect("reap");
    wait_until_gone(&machines);
}

#[test]
fn ctrl_c_ends_the_run_in_good_order() {
    let rig = Rig::new();
    let (mut child, machines) = running(&rig, "distro", "accel=tcg");
    kill_process(pid(child.id()), Signal::INT).expect("signal");
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    wait_until_gone(&machines);
    let run = read_json(&rig.newest_run().expect("a run").join("run.json"));
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), run["plan"]["tests"].as_array().expect("tests").len());
    assert!(results.iter().any(|result| result["verdict"] == "error"), "{results:#?}");
}

#[test]
fn a_qemu_killed_from_outside_is_an_error_of_one_test_and_the_rest_still_runs() {
    let rig = Rig::new();
    let (mut child, machines) = running(&rig, "distro", "accel=tcg");
    for machine in machines {
        kill_process(pid(machine), Signal::KILL).expect("kill");
    }
    assert_eq!(child.wait().expect("wait").code(), Some(3));
    let run = read_json(&rig.newest_run().expect("a run").join("run.json"));
    let results = run["results"].as_array().expect("results");
    let errors: Vec<_> = results.iter().filter(|result| result["verdict"] == "error").collect();
    assert_eq!(errors.len(), 1, "{results:#?}");
    assert!(results.len() > 1);
    assert_eq!(run["boots"].as_array().expect("boots").len(), 2);
}
