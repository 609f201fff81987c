//! Programs as tests on a real kernel, on both backends: what they print, how they
//! end, and that nothing of them is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::rig::{Ran, Rig, text};

pub(crate) const CONFIG: &str = "\
version: 1
default-kernel: distro
kernels:
  distro:
    tarball: /usr/src/linux-source-*.tar.*
    fragments: [base, netns]
  distro-vng:
    tarball: /usr/src/linux-source-*.tar.*
    fragments: [base, netns, virtme-ng, selftests]
";

const SUITE: &str = "\
version: 1
summary: programs that end in every way
tests:
  cases:
    exec: {command: [./cases.sh, two], files: [cat, ./data], result: ktap}
    timeout: 20s
  nested:
    exec: {command: [sh, nested.sh], files: [./nested.sh], result: ktap}
    timeout: 20s
  library:
    exec: {command: [ls, -l, /proc/self/fd]}
    timeout: 20s
  skip:
    exec: {command: [sh, -c, exit 4]}
    timeout: 20s
  failure:
    exec: {command: [sh, -c, echo no; exit 3]}
    timeout: 20s
  signal:
    exec: {command: [sh, -c, 'kill -SEGV $$']}
    timeout: 20s
  late:
    exec: {command: [sh, -c, 'echo 1..2; echo ok 1 a; sleep 1000'], files: [sleep], result: ktap}
    timeout: 1s
  daemon:
    exec: {command: [sh, -c, 'setsid sleep 1000 & echo started'], files: [setsid, sleep]}
    timeout: 20s
  mount:
    exec: {command: [sh, -c, 'mount -t tmpfs mine /tmp && echo here >/tmp/here'], files: [mount]}
    timeout: 20s
  after:
    exec: {command: [sh, -c, 'test ! -e /tmp/here && ! grep mine /proc/mounts'], files: [grep]}
    timeout: 20s
";

const CASES: &str = "\
#!/bin/sh
echo TAP version 13
echo 1..3
echo '# reading'
echo \"ok 1 $(cat data/words) # time=17ms\"
echo 'not ok 2 later # TODO not yet'
echo \"ok 3 # SKIP $1 devices\"
";

/// Its own name for the standard output is what selftests write to.
const NESTED: &str = "\
echo KTAP version 1
echo 1..1
echo '# # words of a test' >>/dev/stdout
echo '# TAP version 13'
echo '# 1..2'
echo '# ok 1 first'
echo '# not ok 2 second'
echo 'not ok 1 selftests: net: nested.sh # exit=1'
exit 1
";

fn run(rig: &Rig, machine: &str, kernel: &str) -> Ran {
    let write = |name: &str, text: &str| {
        let path = rig.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(&path, text).expect("write");
        path
    };
    let config = write("kregress.yaml", CONFIG);
    write("suites/programs.yaml", SUITE);
    write("data/words", "words\n");
    write("nested.sh", NESTED);
    let script = write("cases.sh", CASES);
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("executable");
    let config = config.to_str().expect("path");
    rig.run(&["--config", config, "run", "programs", "--kernel", kernel, "--machine", machine])
}

/// Verdicts, cases and what was left behind, a line for each.
pub(crate) fn told(ran: &Ran) -> String {
    let mut told = String::new();
    let place = |test: &Value| {
        let planned = ran.run["plan"]["tests"].as_array().expect("tests");
        planned.iter().position(|planned| planned["id"] == *test)
    };
    // Boots side by side come to their ends as they do, and learned times decide how many.
    let mut results = ran.run["results"].as_array().expect("results").clone();
    results.sort_by_key(|result| place(&result["test"]));
    for result in &results {
        let word = |key: &str| result[key].as_str().unwrap_or_default();
        let message = result["message"].as_str().or(result["reason"].as_str()).unwrap_or_default();
        let title = message.lines().next().unwrap_or_default();
        // Where programs are, and how long they ran, is this machine's business.
        let title = match title.split_once('`').filter(|(before, _)| before.is_empty()) {
            Some((_, quoted)) => format!("`{}", quoted.rsplit('/').next().unwrap_or_default()),
            None => title.to_owned(),
        };
        let title = title.split(" after ").next().unwrap_or_default();
        let line = format!("{} {} {} {title}", word("test"), word("verdict"), word("kind"));
        told.push_str(&format!("{}\n", line.trim_end()));
        for subtest in result["subtests"].as_array().into_iter().flatten() {
            let path: Vec<&str> =
                subtest["path"].as_array().expect("path").iter().filter_map(|it| it.as_str()).collect();
            let verdict = subtest["verdict"].as_str().expect("verdict");
            let time = subtest["elapsed_ns"].as_u64().map(|ns| format!(", {ns} ns")).unwrap_or_default();
            told.push_str(&format!("  {verdict} {}{time}\n", path.join(" / ")));
        }
        if result["notes"]["leftover-processes"].is_string() {
            told.push_str("  left something running\n");
        }
    }
    told
}

fn assert_told(ran: &Ran) {
    assert_eq!(ran.output.status.code(), Some(1), "{}", text(&ran.output));
    assert_eq!(ran.run["boots"].as_array().map(Vec::len), Some(1), "{}", text(&ran.output));
    insta::allow_duplicates! {
        insta::assert_snapshot!(told(ran), @"
        programs/cases pass
          pass words, 17000000 ns
          todo later
          skip two devices
        programs/nested fail assertion 1 of 2 subtests failed: selftests: net: nested.sh / second
          pass selftests: net: nested.sh / first
          fail selftests: net: nested.sh / second
        programs/library pass
        programs/skip skip  `sh` exited with code 4
        programs/failure fail assertion `sh` exited with code 3
        programs/signal fail assertion `sh` was killed by SIGSEGV
        programs/late fail timeout `sh` was ended
          pass a
          error 2
        programs/daemon pass
          left something running
        programs/mount pass
        programs/after pass
        ");
    }
    let output = fs::read_to_string(ran.run_dir.join("boots/1/output.log"));
    let output = output.unwrap_or_else(|error| panic!("{error}: {}", text(&ran.output)));
    assert!(output.contains("started\n"), "{output}");
}

#[test]
fn programs_are_tests_in_our_own_small_guest() {
    let rig = Rig::new();
    assert_told(&run(&rig, "backend=qemu,accel=tcg", "distro"));
}

#[test]
fn programs_are_tests_in_a_guest_with_the_hosts_files() {
    let rig = Rig::new();
    assert_told(&run(&rig, "backend=virtme-ng,accel=tcg", "distro-vng"));
}

/// A directory with a shell, what virtme-ng asks of it, and their libraries.
fn small_root(at: &std::path::Path) {
    for directory in ["bin", "dev", "proc", "run", "sys", "tmp", "etc"] {
        fs::create_dir_all(at.join(directory)).expect("a directory");
    }
    let mut copied = Vec::new();
    for program in ["/bin/sh", "/bin/mount", "/bin/mkdir", "/bin/cat"] {
        let name = program.rsplit('/').next().expect("a name");
        fs::copy(program, at.join("bin").join(name)).expect(program);
        #[expect(clippy::disallowed_methods, reason = "what the host's programs need is asked of the host")]
        let listed = std::process::Command::new("ldd").arg(program).output().expect("ldd");
        let listed = String::from_utf8(listed.stdout).expect("text");
        copied.extend(listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for library in copied {
        let target = at.join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().expect("a directory")).expect("a directory");
        fs::copy(&library, target).expect("a library");
    }
}

#[test]
fn a_guest_of_virtme_ng_has_the_root_of_another_directory() {
    let rig = Rig::new();
    let root = rig.path().join("root");
    small_root(&root);
    fs::write(root.join("etc/words"), "of another root\n").expect("a file");
    let machine = format!("backend=virtme-ng,accel=tcg,root={}", root.display());
    let command = ["shell", "--kernel", "distro-vng", "--machine", &machine, "--"];
    let script = "cat /etc/words; test -z \"$LD_LIBRARY_PATH\" && test ! -e /usr/bin/ls";
    let seen = rig.command(&[&command[..], &["/bin/sh", "-c", script]].concat()).output().expect("kregress");
    assert!(seen.status.success(), "{}", text(&seen));
    assert_eq!(String::from_utf8_lossy(&seen.stdout).trim_end(), "of another root", "{}", text(&seen));
    let ran = rig.run(&["run", "smoke/netns-drain", "--kernel", "distro-vng", "--machine", &machine]);
    assert_eq!(ran.output.status.code(), Some(0), "{}", text(&ran.output));
    assert_eq!(ran.run["plan"]["machine"]["root"], root.display().to_string());
}
