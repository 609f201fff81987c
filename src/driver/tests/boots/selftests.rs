//! The kernel's own selftests: built out of the tree's copy, once, and run in a guest
//! with the host's files.

use std::fs;

use crate::programs::{CONFIG, told};
use crate::rig::{Rig, text};

/// Three that only exit, one that prints `[ OK ]`, and what is in no tree.
const SUITE: &str = "\
version: 1
summary: selftests of every kind
tests:
  nsfs:
    selftests: {collection: nsfs, programs: [owner, pidns]}
    timeout: 30s
  net:
    selftests: {collection: net, programs: [netns-name.sh, netns-sysctl.sh, of-no-tree.sh]}
    timeout: 60s
  none:
    selftests: {collection: of-no-tree, programs: [a], command: [./a]}
    timeout: 10s
";

#[test]
fn selftests_of_the_tree_are_tests() {
    let rig = Rig::new();
    let write = |name: &str, text: &str| {
        let path = rig.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(&path, text).expect("write");
        path
    };
    let config = write("kregress.yaml", CONFIG);
    write("suites/tree.yaml", SUITE);
    let config = config.to_str().expect("path");
    let machine = "backend=virtme-ng,accel=tcg";
    let args = ["--config", config, "run", "tree", "--kernel", "distro-vng", "--machine", machine];
    let ran = rig.run(&args);
    assert_eq!(ran.output.status.code(), Some(0), "{}", text(&ran.output));
    insta::assert_snapshot!(told(&ran), @"
    tree/nsfs[program=owner] pass
    tree/nsfs[program=pidns] pass
    tree/net[program=netns-name.sh] pass
      pass netns-name.sh
    tree/net[program=netns-sysctl.sh] pass
    tree/net[program=of-no-tree.sh] skip  the kernel's tree has no tools/testing/selftests/net/of-no-tree.sh
    tree/none skip  the kernel's tree has no tools/testing/selftests/of-no-tree
    ");
    // What was built is found again.
    let again = rig.run(&args);
    assert!(!text(&again.output).contains("building selftests"), "{}", text(&again.output));
}
