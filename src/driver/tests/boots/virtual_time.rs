//! Virtual time: the same numbers in every run, whatever the host does meanwhile.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::rig::{Ran, Rig, text};

/// Keeps every processor, the disk and the memory of the host busy until dropped.
struct Load(Child);

impl Load {
    #[expect(clippy::disallowed_methods, reason = "a test starts what disturbs it")]
    fn begin() -> Self {
        let workers = ["--cpu", "0", "--io", "1", "--vm", "1", "--vm-bytes", "128M"];
        let mut command = Command::new("stress-ng");
        command.args(workers).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("stress-ng, which make test-deps installs"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // SIGTERM, for SIGKILL would leave its workers behind.
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        self.0.wait().expect("it ends");
    }
}

/// On one virtual CPU, as who says nothing of CPUs gets it: with two, a host under load
/// was seen to differ (docs/benchmarks.md).
fn in_virtual_time(seed: u32) -> (Rig, Ran) {
    let rig = Rig::new();
    let (machine, seed) = ("accel=icount", seed.to_string());
    let tests = ["smoke", "netns-teardown/slope", "netns-teardown/drain[namespaces=50]"];
    let ran = rig.run(&[&["run", "--machine", machine, "--seed", &seed], tests.as_slice()].concat());
    assert_eq!(ran.output.status.code(), Some(0), "{}", text(&ran.output));
    (rig, ran)
}

/// The samples of each boot, as the guest sent them.
fn samples(ran: &Ran) -> Vec<String> {
    let read = |boot: u32| std::fs::read_to_string(samples_of(&ran.run_dir, boot)).expect("samples");
    let all: Vec<String> = (1..=2).map(read).collect();
    assert!(all.iter().all(|samples| samples.lines().count() > 3), "{all:?}");
    all
}

fn samples_of(run: &Path, boot: u32) -> std::path::PathBuf {
    run.join(format!("boots/{boot}/samples.jsonl"))
}

#[test]
fn a_loaded_host_gives_the_same_samples() {
    let (_quiet_rig, quiet) = in_virtual_time(1);
    let load = Load::begin();
    let (_loaded_rig, loaded) = in_virtual_time(1);
    drop(load);
    assert_eq!(samples(&quiet), samples(&loaded));
}

#[test]
fn another_seed_meets_the_tick_at_other_places() {
    let (_one_rig, one) = in_virtual_time(1);
    let (_other_rig, other) = in_virtual_time(2);
    assert_ne!(samples(&one), samples(&other));
}
