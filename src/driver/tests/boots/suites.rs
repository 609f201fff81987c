//! The suites on real kernels: everything that a kernel has is green.

use serde_json::Value;

use crate::rig::{Ran, Rig, text};

/// Nothing failed, nothing was an error; what was skipped names its option. How
/// many passed.
fn assert_green(ran: &Ran) -> usize {
    let results = ran.run["results"].as_array().expect("results");
    assert_eq!(results.len(), ran.run["plan"]["tests"].as_array().expect("tests").len());
    let mut passed = 0;
    for result in results {
        match result["verdict"].as_str().expect("verdict") {
            "pass" => passed += 1,
            "skip" => {
                let reason = result["reason"].as_str().expect("reason");
                assert!(reason.contains("CONFIG_"), "{}: {reason}", result["test"]);
            }
            _ => panic!("{result:#}\n{}", text(&ran.output)),
        }
    }
    assert!(ran.output.status.success(), "{}", text(&ran.output));
    passed
}

fn skipped(ran: &Ran) -> Vec<&Value> {
    let results = ran.run["results"].as_array().expect("results");
    results.iter().filter(|result| result["verdict"] == "skip").map(|result| &result["test"]).collect()
}

#[test]
fn the_default_kernel_passes_all_namespace_suites() {
    let rig = Rig::new();
    let ran = rig.run(&["run", "netns-churn", "netns-teardown", "nsid", "setns", "rtnl"]);
    let passed = assert_green(&ran);
    // netns.config brings what the suites need; only fault injection is a kernel of its own.
    assert!(passed > 50, "{passed} passed, skipped: {:?}", skipped(&ran));
}

#[test]
fn a_prebuilt_6_1_passes_the_namespace_suites_with_its_modules() {
    let deb =
        std::env::var("KREGRESS_TEST_DEB").expect("KREGRESS_TEST_DEB names the package of a kernel image");
    let rig = Rig::new();
    // Without netns-teardown: 6.1.192 has the regression that it is there to find.
    let ran = rig.run(&["run", "--kernel", &deb, "netns-churn", "nsid", "setns", "rtnl"]);
    let passed = assert_green(&ran);
    assert!(passed > 40, "{passed} passed, skipped: {:?}", skipped(&ran));
}

const ZEROCOPY: [&str; 3] = ["tcp-zerocopy", "msg-zerocopy", "uring-zerocopy"];

#[test]
fn the_default_kernel_passes_every_zerocopy_test() {
    let rig = Rig::new();
    let ran = rig.run(&[&["run"], ZEROCOPY.as_slice()].concat());
    assert_green(&ran);
    assert_eq!(skipped(&ran), [""; 0]);
}

#[test]
fn a_prebuilt_6_1_passes_every_zerocopy_test() {
    let deb =
        std::env::var("KREGRESS_TEST_DEB").expect("KREGRESS_TEST_DEB names the package of a kernel image");
    let rig = Rig::new();
    let ran = rig.run(&[&["run", "--kernel", &deb], ZEROCOPY.as_slice()].concat());
    assert_green(&ran);
    assert_eq!(skipped(&ran), [""; 0]);
}
