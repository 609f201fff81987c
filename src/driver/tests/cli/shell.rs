//! An interactive guest that does not come up, or is not asked for well. What one
//! that does is like, the real boots show.

use rustix::process::Signal;

use crate::fake_kernel::{Boot, FakeKernel};
use crate::rig::Rig;

const COMMAND: &[&str] = &["shell", "--", "true"];

#[test]
fn a_shell_without_a_terminal_is_refused_with_what_works() {
    let rig = Rig::with(&FakeKernel::new());
    insta::assert_snapshot!(rig.kregress(&["shell"]).exits(2).stderr(), @r"
    error: a shell needs a terminal on stdin and stdout
    hint: `kregress shell -- COMMAND` runs a command without one
    ");
}

#[test]
fn a_shell_in_virtual_time_is_refused() {
    let rig = Rig::with(&FakeKernel::new());
    insta::assert_snapshot!(rig.kregress(&["shell", "--machine", "accel=icount", "--", "true"]).exits(2).stderr(), @r"
    error: `accel=icount` and a shell contradict each other: nobody types in virtual time
    hint: `--machine accel=auto`
    ");
}

#[test]
fn a_kernel_that_panics_before_there_is_a_shell_is_told_with_the_end_of_its_log() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::PanicEarly)).host_programs();
    let said = rig.kregress(COMMAND).exits(3).stderr();
    assert!(said.contains("Kernel panic - not syncing"), "{said}");
    assert!(said.ends_with("error: the machine ended: exit status: 0\n"), "{said}");
}

#[test]
fn a_qemu_that_refuses_is_told_in_its_own_words() {
    let stderr = "qemu-system-x86_64: \u{1b}[31mno such machine".to_owned();
    let rig = Rig::with(&FakeKernel::new().boot(Boot::Exit { code: 1, stderr })).host_programs();
    let said = rig.kregress(COMMAND).exits(3).stderr();
    assert!(said.contains("error: the machine ended: exit status: 1, its last words: qemu-system"), "{said}");
}

#[test]
fn a_guest_that_says_something_else_than_a_shell_would_is_an_error() {
    let rig = Rig::with(&FakeKernel::new().boot(Boot::Garbage)).host_programs();
    let said = rig.kregress(COMMAND).exits(3).stderr();
    assert!(said.contains("frame 0 does not begin with the magic"), "{said}");
}

#[test]
fn a_guest_that_never_comes_up_is_left_by_a_signal() {
    for machine in ["backend=qemu", "backend=virtme-ng"] {
        let rig = Rig::with(&FakeKernel::new().boot(Boot::Silent)).vng("1.42").host_programs();
        let run = rig.start(&["shell", "--machine", machine, "--", "true"]);
        // The fake writes nothing, but its monitor is there as soon as it runs.
        rig.wait_for_process("-qmp");
        run.signal(Signal::TERM);
        let seen = run.end().exits(130);
        assert!(!seen.stderr.contains("error"), "{}", seen.stderr);
    }
}
