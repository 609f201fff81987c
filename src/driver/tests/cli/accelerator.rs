//! The choice of the accelerator, right on hosts with and without `/dev/kvm`.

use std::fs::OpenOptions;

use crate::fake_kernel::{Boot, FakeKernel};
use crate::record::{Record, list, word};
use crate::rig::Rig;

fn opens() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Accelerator of the first boot, and the notice that explains it.
fn decision(record: &Record) -> (String, String) {
    let accel = word(&record.json["boots"][0]["accel"]).to_owned();
    let notices = list(&record.json["notices"]);
    assert_eq!(notices.len(), 1, "{notices:?}");
    (accel, word(&notices[0]).to_owned())
}

#[test]
fn a_kernel_that_boots_under_kvm_runs_under_kvm_where_there_is_one() {
    let rig = Rig::with(&FakeKernel::new());
    let record = rig.kregress(&["run", "t", "--machine", "accel=auto"]).exits(0).record();
    let (accel, why) = decision(&record);
    if opens() {
        assert_eq!(accel, "kvm");
        assert!(why.starts_with("fake: KVM: the kernel came up in "), "{why}");
    } else {
        assert_eq!(accel, "tcg");
        assert!(why.starts_with("fake: TCG: ") && why.contains("/dev/kvm"), "{why}");
    }
}

#[test]
fn a_kvm_that_only_seems_to_work_means_tcg_and_is_tried_once() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::HangUnderKvm));
    let record = rig.kregress(&["run", "t", "--machine", "accel=auto"]).exits(0).record();
    let (accel, why) = decision(&record);
    assert_eq!(accel, "tcg");
    if opens() {
        let expected =
            "fake: TCG: /dev/kvm is there but the kernel does not boot under it: it said no hello within 10s";
        assert_eq!(why, expected);
        assert_eq!(rig.names("cache/probe").len(), 1);
        // The verdict is kept, and given again in the same words.
        let again = rig.kregress(&["run", "t", "--machine", "accel=auto"]).exits(0).record();
        assert_eq!(decision(&again), (accel, why));
        let spent = again.json["elapsed_ms"].as_u64().expect("a number");
        assert!(spent < 10_000, "it was tried again: {spent} ms");
    } else {
        assert_eq!(rig.names("cache/probe").len(), 0);
    }
}

#[test]
fn a_qemu_that_refuses_kvm_means_tcg_in_its_own_words() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::KvmRefused));
    let record = rig.kregress(&["run", "t", "--machine", "accel=auto"]).exits(0).record();
    let (accel, why) = decision(&record);
    assert_eq!(accel, "tcg");
    let words = if opens() { "failed to initialize kvm" } else { "/dev/kvm" };
    assert!(why.contains(words), "{why}");
}

#[test]
fn kvm_that_was_demanded_is_never_replaced() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::KvmRefused));
    let seen = rig.kregress(&["run", "t", "--machine", "accel=kvm"]).exits(3);
    let record = seen.record();
    assert_eq!(list(&record.json["boots"]).len(), 0);
    assert!(seen.stdout.contains("`accel=kvm` was asked for, but"), "{}", seen.stdout);
    assert!(seen.stdout.contains("accel=tcg` works everywhere"), "{}", seen.stdout);
}
