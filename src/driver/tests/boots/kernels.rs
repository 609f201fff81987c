//! Which kernels boot, on which backend, and what becomes of the smoke suite.

use serde_json::Value;

use crate::rig::{Ran, Rig, read_json, text};

/// Every test of the run passed, every one of them made assertions and left samples.
fn assert_all_passed(ran: &Ran) {
    assert!(ran.output.status.success(), "{}", text(&ran.output));
    let results = ran.run["results"].as_array().expect("results");
    let planned = ran.run["plan"]["tests"].as_array().expect("tests");
    assert!(planned.len() >= 4, "smoke has a test of every area: {planned:?}");
    assert_eq!(results.len(), planned.len());
    for result in results {
        assert_eq!(result["verdict"], "pass", "{result:#}");
        assert!(result["checks"].as_u64().expect("checks") > 0, "{result:#}");
    }
}

fn samples<'a>(ran: &'a Ran, test: &str, metric: &str) -> &'a Vec<Value> {
    let results = ran.run["results"].as_array().expect("results");
    let result = results.iter().find(|result| result["test"] == test);
    let result = result.unwrap_or_else(|| panic!("no {test} in {:#}", ran.run["results"]));
    result["samples"][metric].as_array().unwrap_or_else(|| panic!("no {metric} in {result:#}"))
}

fn release(ran: &Ran) -> &str {
    ran.run["boots"][0]["guest"]["kernel_release"].as_str().expect("release")
}

#[test]
fn a_freshly_built_kernel_passes_smoke_on_the_qemu_backend() {
    let rig = Rig::new();
    let ran = rig.run(&["run", "--kernel", "distro", "--boots", "2"]);
    assert!(ran.output.status.success(), "{}", text(&ran.output));
    let drains = samples(&ran, "smoke/netns-drain[namespaces=50]", "drain_time");
    assert!(drains.iter().all(|ns| ns.as_f64().expect("number") > 0.0), "{drains:?}");
    assert_eq!(ran.run["boots"].as_array().expect("boots").len(), 2);
    assert_eq!(ran.run["boots"][0]["accel"], ran.run["boots"][1]["accel"]);
    assert!(ran.run_dir.join("junit.xml").is_file());
    let console = std::fs::read_to_string(ran.run_dir.join("boots/1/console.log")).expect("console");
    assert!(console.contains("kregress: begin"), "{console}");
}

#[test]
fn the_same_kernel_passes_smoke_on_the_virtme_ng_backend() {
    let rig = Rig::new();
    let ran = rig.run(&["run", "--kernel", "distro-vng", "--machine", "backend=virtme-ng"]);
    assert_all_passed(&ran);
    assert_eq!(ran.run["boots"][0]["machine"]["backend"], "virtme-ng");
}

#[test]
fn a_prebuilt_6_1_with_modules_passes_smoke() {
    let deb =
        std::env::var("KREGRESS_TEST_DEB").expect("KREGRESS_TEST_DEB names the package of a kernel image");
    let rig = Rig::new();
    let ran = rig.run(&["run", "--kernel", &deb]);
    assert_all_passed(&ran);
    assert!(release(&ran).starts_with("6.1."), "{}", release(&ran));
}

#[test]
fn asking_again_for_a_kernel_finds_it_in_the_store() {
    let output =
        Rig::new().command(&["build", "distro", "--message-format", "json"]).output().expect("start");
    assert!(output.status.success(), "{}", text(&output));
    let line: Value = serde_json::from_slice(output.stdout.trim_ascii()).expect("one line of JSON");
    assert_eq!(line["facts"]["store"], "hit", "{line:#}");
}

/// A project whose only kernel lacks one option that the guest needs.
fn kernel_without(option: &str) -> (Rig, Ran) {
    let rig = Rig::new();
    let config = rig.path().join("kregress.yaml");
    let yaml = "version: 1\ndefault-kernel: crippled\nkernels:\n  crippled:\n    \
                tarball: /usr/src/linux-source-*.tar.*\n    fragments: [base, netns, crippled]\n";
    std::fs::write(&config, yaml).expect("write");
    std::fs::create_dir(rig.path().join("kconfigs")).expect("directory");
    let fragment = format!("# The kernel under test lacks it.\n# {option} is not set\n");
    std::fs::write(rig.path().join("kconfigs/crippled.config"), fragment).expect("write");
    let ran = rig.run(&["--config", config.to_str().expect("path"), "run", "smoke/netns-drain"]);
    (rig, ran)
}

/// Everything that the run says, for people and for machines.
fn said(ran: &Ran) -> String {
    format!("{}\n{:#}", text(&ran.output), ran.run)
}

#[test]
fn a_kernel_without_virtio_console_is_told_by_the_name_of_the_option() {
    let (_rig, ran) = kernel_without("CONFIG_VIRTIO_CONSOLE");
    assert_ne!(ran.output.status.code(), Some(0));
    assert!(said(&ran).contains("CONFIG_VIRTIO_CONSOLE=y"), "{}", said(&ran));
}

#[test]
fn a_kernel_without_initrd_support_is_told_by_the_name_of_the_option() {
    let (_rig, ran) = kernel_without("CONFIG_BLK_DEV_INITRD");
    assert_ne!(ran.output.status.code(), Some(0));
    assert!(said(&ran).contains("CONFIG_BLK_DEV_INITRD=y"), "{}", said(&ran));
}

#[test]
fn the_hosts_own_kernel_is_tried_in_an_enclosure_or_says_why_not() {
    let limit = || std::fs::read_to_string("/proc/sys/user/max_net_namespaces").expect("a limit");
    let before = limit();
    let rig = Rig::new();
    let words = ["run", "--local", "setns/errno", "netns-churn/limit", "setns/ping-pong"];
    let output = rig.command(&words).output().expect("start kregress");
    let said = text(&output);
    match output.status.code() {
        Some(0) => {
            let run = read_json(&rig.newest_run().expect("a run").join("run.json"));
            let verdicts: Vec<_> = run["results"].as_array().expect("results").iter().collect();
            assert_eq!(verdicts[0]["verdict"], "pass", "{said}");
            assert_eq!(verdicts[1]["verdict"], "pass", "{said}");
            assert_eq!(verdicts[2]["verdict"], "skip", "{said}");
            assert_eq!(run["boots"][0]["accel"], "native");
        }
        // Where nobody is root, or user namespaces are forbidden.
        Some(2 | 3) => assert!(
            said.contains("--local needs root") || said.contains("cannot make a user namespace"),
            "{said}"
        ),
        _ => panic!("{said}"),
    }
    assert_eq!(limit(), before, "the limit of the host is not ours to change");
}
