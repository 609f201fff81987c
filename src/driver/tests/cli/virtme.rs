//! The backend virtme-ng against a fake vng: whatever it does, verdicts are those of
//! the guest, and nothing of it is left.

use rustix::process::Signal;

use crate::fake_kernel::{Behaviour, Boot, FakeKernel};
use crate::record::{Record, list, word};
use crate::rig::Rig;

const NEWEST: &str = "1.42";
const MACHINE: &str = "backend=virtme-ng";

fn rig(kernel: &FakeKernel) -> Rig {
    Rig::with(kernel).vng(NEWEST)
}

fn run(rig: &Rig, code: i32) -> Record {
    rig.kregress(&["run", "t", "--machine", MACHINE]).exits(code).record()
}

fn machine_log(record: &Record) -> String {
    std::fs::read_to_string(record.dir.join("boots/1/machine.log")).expect("a log")
}

#[test]
fn the_oldest_version_and_the_newest_boot_and_pass() {
    for version in ["1.25", "1.42", "1.43-2-g0123456"] {
        let rig = Rig::with(&FakeKernel::new()).vng(version);
        let record = run(&rig, 0);
        insta::allow_duplicates! {
            insta::assert_snapshot!(record.verdicts(), @r"
            1 t/first pass
            1 t/middle pass
            1 t/last pass
            ");
        }
        assert_eq!(record.json["boots"][0]["machine"]["backend"], "virtme-ng");
        assert_eq!(record.json["plan"]["host"]["vng"], format!("virtme-ng {version}"));
    }
}

#[test]
fn what_vng_says_before_qemu_is_kept_though_qemu_opens_the_same_file_again() {
    let rig = rig(&FakeKernel::new());
    let record = run(&rig, 0);
    assert!(
        machine_log(&record).starts_with("virtme-run: words from before QEMU\n"),
        "{}",
        machine_log(&record)
    );
}

#[test]
fn no_exit_code_of_vng_is_a_verdict() {
    for code in ["0", "1", "7", "255"] {
        let well = rig(&FakeKernel::new()).env("FAKE_VNG", format!("exit-{code}"));
        assert_eq!(run(&well, 0).verdicts().matches(" pass").count(), 3, "{code}");
        let kernel = FakeKernel::new().test("t/middle", Behaviour::Fail("it broke".to_owned()));
        let verdicts = run(&rig(&kernel).env("FAKE_VNG", format!("exit-{code}")), 1).verdicts();
        assert!(verdicts.contains("1 t/middle fail: assertion: it broke"), "{code}: {verdicts}");
        let kernel = FakeKernel::new().test("t/middle", Behaviour::PowerOff);
        let verdicts = run(&rig(&kernel).env("FAKE_VNG", format!("exit-{code}")), 3).verdicts();
        assert!(verdicts.contains("1 t/middle error: lost: "), "{code}: {verdicts}");
    }
}

#[test]
fn a_vng_that_does_not_run_is_told_before_anything_boots() {
    let rig = rig(&FakeKernel::new()).env("FAKE_VNG", "dies");
    let seen = rig.kregress(&["run", "t", "--machine", MACHINE]).exits(3);
    assert!(seen.stderr.contains("error: cannot run virtme-ng: `"), "{}", seen.stderr);
    assert!(seen.stderr.contains("ModuleNotFoundError: No module named 'virtme_ng'"), "{}", seen.stderr);
    assert!(seen.stderr.contains("hint: `make virtme-ng`"), "{}", seen.stderr);
}

#[test]
fn a_vng_that_is_missing_too_old_or_something_else_is_told_with_what_helps() {
    let said = |rig: Rig| {
        let text = rig.kregress(&["run", "t", "--machine", MACHINE]).exits(3).stderr();
        let own = rig.environment().find(|(key, _)| key == "KREGRESS_VNG").map(|(_, vng)| vng);
        own.map_or(text.clone(), |vng| text.replace(vng.to_str().expect("UTF-8"), "[VNG]"))
    };
    insta::assert_snapshot!(said(Rig::with(&FakeKernel::new())), @r"
    error: cannot find `vng`, which the virtme-ng backend needs
    hint: `make virtme-ng` installs it for kregress, `pip install virtme-ng` for you; `KREGRESS_VNG` names another one
    ");
    insta::assert_snapshot!(said(Rig::with(&FakeKernel::new()).vng("1.24")), @r"
    error: virtme-ng 1.24 is too old, 1.25 or later is needed
    hint: `make virtme-ng` installs one for kregress; `KREGRESS_VNG` names another one
    ");
    insta::assert_snapshot!(said(Rig::with(&FakeKernel::new()).vng("vagrant-ng, the other one")), @r"
    error: cannot read the version of `[VNG]` from `vagrant-ng, the other one`
    hint: `KREGRESS_VNG` must name the `vng` of virtme-ng
    ");
}

#[test]
fn a_vng_that_dies_before_qemu_is_no_boot_and_its_last_words_say_why() {
    let rig = rig(&FakeKernel::new()).env("FAKE_VNG", "dies-late");
    let record = run(&rig, 3);
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first error: not-reached: the kernel did not boot: the machine ended before the hello of its guest: exit status: 1, its last words: ModuleNotFoundError: No module named 'virtme_ng'
    1 t/middle error: not-reached: the kernel did not boot: the machine ended before the hello of its guest: exit status: 1, its last words: ModuleNotFoundError: No module named 'virtme_ng'
    1 t/last error: not-reached: the kernel did not boot: the machine ended before the hello of its guest: exit status: 1, its last words: ModuleNotFoundError: No module named 'virtme_ng'
    ");
}

#[test]
fn a_vng_that_starts_nothing_and_says_nothing_is_ended_with_the_run() {
    let rig = rig(&FakeKernel::new()).env("FAKE_VNG", "hangs");
    let mut run = rig.start(&["run", "t", "--machine", MACHINE, "--message-format", "json"]);
    run.follow(r#""event":"boot-started""#);
    run.signal(Signal::INT);
    // That nothing is left running is looked at for every command.
    let record = run.end().exits(130).record();
    assert_eq!(record.json["state"], "interrupted");
}

#[test]
fn what_vng_leaves_behind_is_ended_with_it() {
    let rig = rig(&FakeKernel::new().boot(Boot::Silent)).env("FAKE_VNG", "abandons");
    let record = run(&rig, 3);
    assert!(
        record.verdicts().contains("the machine ended before the hello of its guest"),
        "{}",
        record.verdicts()
    );
}

#[test]
fn a_driver_that_is_killed_leaves_neither_vng_nor_qemu() {
    let rig = rig(&FakeKernel::new().test("t/middle", Behaviour::HangStubborn));
    let mut run = rig.start(&["run", "t", "--machine", MACHINE, "--message-format", "json"]);
    run.follow(r#""event":"test-started","boot":1,"test":"t/middle""#);
    run.signal(Signal::KILL);
    run.end().dies_of(Signal::KILL);
    rig.wait_for_no_process();
}

#[test]
fn a_kvm_that_only_seems_to_work_is_found_out_before_vng_would_wait_for_it_for_ever() {
    let rig = rig(&FakeKernel::new().boot(Boot::HangUnderKvm));
    let machine = "backend=virtme-ng,accel=auto";
    let record = rig.kregress(&["run", "t", "--machine", machine]).exits(0).record();
    assert_eq!(record.json["boots"][0]["accel"], "tcg");
    assert_eq!(record.verdicts().matches(" pass").count(), 3);
    let command = list(&record.json["boots"][0]["command"]);
    assert!(command.iter().any(|argument| word(argument) == "--disable-kvm"), "{command:?}");
}

#[test]
fn the_users_configuration_of_virtme_ng_does_not_change_the_machine() {
    for version in ["1.25", NEWEST] {
        let rig = Rig::with(&FakeKernel::new()).vng(version);
        let options = r#"{"default_opts": {"memory": "64M", "cpus": "7"}}"#;
        rig.write("home/.config/virtme-ng/virtme-ng.conf", options);
        let record = run(&rig, 0);
        assert_eq!(record.json["boots"][0]["guest"]["cpus"], 2, "{version}");
    }
}

#[test]
fn words_of_the_kernel_command_line_reach_the_kernel_as_they_are() {
    let rig = rig(&FakeKernel::new());
    let config = "version: 1\nmachine: {accel: tcg, backend: virtme-ng}\ndefault-kernel: fake\nkernels:\n  fake:\n    \
                  image: kernels/fake\n    cmdline: [\"a=$(echo);c&d|e\", \"x='y'\", \"dyndbg=\\\"file net/* +p\\\"\"]\n";
    rig.write("project/kregress.yaml", config);
    let record = rig.kregress(&["run", "t"]).exits(0).record();
    let log = std::fs::read_to_string(record.dir.join("boots/1/console.log")).expect("a log");
    let line = log.lines().find(|line| line.contains("Command line:")).expect("a command line");
    assert!(line.contains(r#" a=$(echo);c&d|e x='y' "dyndbg=file net/* +p" init="#), "{line}");
}

#[test]
fn paths_that_mean_something_to_a_shell_mean_nothing() {
    for version in ["1.25", NEWEST] {
        let rig = Rig::with(&FakeKernel::new()).vng(version);
        FakeKernel::new().write(&rig.path("project/kernels/my $(own) kernel")).expect("a kernel");
        let kernel = rig.path("project/kernels/my $(own) kernel");
        let kernel = kernel.to_str().expect("UTF-8");
        let results = rig.path("project/$(touch oops) results");
        let words = [
            "run",
            "t",
            "--kernel",
            kernel,
            "--machine",
            MACHINE,
            "--results",
            results.to_str().expect("UTF-8"),
        ];
        let seen = rig.kregress(&words).exits(0);
        assert!(seen.stdout.contains("3 passed"), "{version}: {}", seen.stdout);
        assert!(!rig.path("project/oops").exists());
    }
}

#[test]
fn a_kernel_command_line_that_would_be_cut_off_is_refused() {
    let rig = rig(&FakeKernel::new());
    let words = (0..100).map(|at| format!("word{at:010}")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "version: 1\nmachine: {{accel: tcg, backend: virtme-ng}}\ndefault-kernel: fake\nkernels:\n  fake:\n    \
         image: kernels/fake\n    cmdline: [{words}]\n"
    );
    rig.write("project/kregress.yaml", &config);
    let seen = rig.kregress(&["run", "t"]).exits(3);
    assert!(seen.stdout.contains("and a kernel cuts it off"), "{}", seen.stdout);
    // The same kernel boots where nothing is added.
    rig.kregress(&["run", "t", "--machine", "backend=qemu"]).exits(0);
}

/// A directory that could be the root of a guest.
fn other_root(rig: &Rig) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    for directory in ["dev", "proc", "run", "sys", "tmp"] {
        std::fs::create_dir_all(rig.path("root").join(directory)).expect("a directory");
    }
    for program in ["bin/sh", "bin/mount", "usr/bin/mkdir"] {
        rig.write(&format!("root/{program}"), "");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(rig.path(format!("root/{program}")), mode).expect("executable");
    }
    rig.path("root").display().to_string()
}

#[test]
fn a_guest_has_the_root_of_another_directory_and_our_binary_brings_its_own_libraries() {
    for version in ["1.25", "1.42"] {
        let rig = Rig::with(&FakeKernel::new()).vng(version);
        let root = other_root(&rig);
        let machine = format!("{MACHINE},root={root}");
        let seen = rig.kregress(&["run", "t", "--machine", &machine]).exits(0);
        assert_eq!(seen.record().verdicts().matches(" pass").count(), 3);
        assert_eq!(seen.record().json["boots"][0]["machine"]["root"], root.as_str());
        // Relative on the command line: from where the user is.
        rig.kregress(&["run", "t", "--machine", &format!("{MACHINE},root=../root")]).exits(0);
    }
}

#[test]
fn a_root_that_cannot_be_one_is_refused_before_vng_would_make_another() {
    let rig = rig(&FakeKernel::new());
    let root = other_root(&rig);
    let refused = |machine: String| rig.kregress(&["run", "t", "--machine", &machine]).exits(2).stderr;
    let missing = refused(format!("{MACHINE},root={root}/elsewhere"));
    assert!(missing.contains("elsewhere` cannot be the root of a guest: No such file"), "{missing}");
    assert!(!rig.path("root/elsewhere").exists(), "vng must not be asked");
    std::fs::create_dir(rig.path("project/a b")).expect("a directory");
    let relative = rig.kregress(&["run", "t", "--machine", &format!("{MACHINE},root=a b/../root")]);
    assert!(relative.exits(2).stderr.contains("cannot be a root file system"));
    let blank = refused(format!("{MACHINE},root={root} "));
    assert!(blank.contains("cannot be a root file system"), "{blank}");
    let qemu = refused(format!("backend=qemu,root={root}"));
    assert!(qemu.contains("contradict each other"), "{qemu}");
    std::fs::remove_file(rig.path("root/bin/mount")).expect("removed");
    let lacking = refused(format!("{MACHINE},root={root}"));
    assert!(lacking.contains("it has no program `mount`"), "{lacking}");
}

#[test]
fn a_plan_from_elsewhere_brings_no_root_that_is_not_here_and_no_order_for_a_shell() {
    let rig = rig(&FakeKernel::new());
    let root = other_root(&rig);
    let machine = format!("{MACHINE},root={root}");
    rig.kregress(&["plan", "t", "--shards", "1", "--machine", &machine]).exits(0);
    let shard = || rig.kregress(&["run", "--plan", "plan.json", "--shard", "1"]);
    shard().exits(0);
    std::fs::rename(rig.path("root"), rig.path("gone")).expect("renamed");
    let seen = shard().exits(3);
    assert!(seen.stdout.contains("cannot be the root of a guest: No such file"), "{}", seen.stdout);
    assert!(!rig.path("root").exists(), "vng must not be asked");
    let plan = std::fs::read_to_string(rig.path("project/plan.json")).expect("a plan");
    rig.write("project/plan.json", &plan.replace(&root, &format!("{root};touch x")));
    let seen = shard().exits(2);
    assert!(seen.stderr.contains(";touch x` cannot be the root of a guest"), "{}", seen.stderr);
}

#[test]
fn doctor_says_which_vng_it_found() {
    let rig = rig(&FakeKernel::new());
    let said = rig.kregress(&["doctor"]).ends().1.stdout;
    let line = said.lines().find(|line| line.contains("virtme-ng")).expect("a line");
    assert!(line.starts_with("ok       virtme-ng    virtme-ng 1.42 at /"), "{line}");
    let rig = Rig::with(&FakeKernel::new()).vng("1.3");
    let said = rig.kregress(&["doctor"]).ends().1.stdout;
    let line = said.lines().find(|line| line.contains("virtme-ng")).expect("a line");
    assert!(
        line.starts_with("note     virtme-ng    virtme-ng 1.3 is too old, 1.25 or later is needed"),
        "{line}"
    );
}

/// Puts a program `virtiofsd` before the host's own.
fn serve(rig: &Rig, help: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    rig.write("bin/virtiofsd", &format!("#!/bin/sh\necho '{help}'\n"));
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(rig.path("bin/virtiofsd"), mode).expect("executable");
}

const RUST: &str = "--shared-dir <DIR> --socket-path <PATH> --sandbox <SANDBOX>";
const OF_QEMU: &str = "--socket-path=PATH -o source=PATH -o sandbox=namespace";

/// The root of the guest of the first boot.
fn root(record: &Record) -> String {
    word(&record.json["boots"][0]["guest"]["facts"]["root"]).to_owned()
}

#[test]
fn the_root_is_virtiofs_where_the_host_serves_it_and_the_choice_is_recorded() {
    let rig = rig(&FakeKernel::new());
    serve(&rig, RUST);
    assert_eq!(root(&run(&rig, 0)), "virtiofs");
    let chosen = |rootfs: &str| {
        let machine = format!("{MACHINE},rootfs={rootfs}");
        let record = rig.kregress(&["run", "t", "--machine", &machine]).exits(0).record();
        assert_eq!(record.json["boots"][0]["machine"]["rootfs"], rootfs);
        root(&record)
    };
    assert_eq!((chosen("9p"), chosen("virtiofs")), ("9p".to_owned(), "virtiofs".to_owned()));
    serve(&rig, OF_QEMU);
    assert_eq!(root(&run(&rig, 0)), "9p");
}

#[test]
fn virtiofs_that_was_demanded_is_never_replaced() {
    let machine = "backend=virtme-ng,rootfs=virtiofs";
    let rig = rig(&FakeKernel::new());
    serve(&rig, OF_QEMU);
    let seen = rig.kregress(&["run", "t", "--machine", machine]).exits(3);
    assert!(seen.stdout.contains("virtiofsd of an old QEMU"), "{}", seen.stdout);
    assert_eq!(list(&seen.record().json["boots"]).len(), 0);
    // What vng does when its virtiofsd is late.
    serve(&rig, RUST);
    let rig = rig.env("FAKE_VNG", "late-virtiofsd");
    let seen = rig.kregress(&["run", "t", "--machine", machine]).exits(3);
    let words = "the last: `rootfs=virtiofs` was asked for, and the root of the guest is `9p`: virtiofsd did";
    assert_eq!(seen.record().verdicts().matches(words).count(), 3, "{}", seen.record().verdicts());
    assert_eq!(root(&run(&rig, 0)), "9p", "where nothing was demanded it is recorded, and no error");
}

#[test]
fn a_qemu_that_comes_before_its_virtiofsd_is_no_boot_and_told_with_what_helps() {
    let rig = rig(&FakeKernel::new()).env("FAKE_VNG", "early-qemu");
    serve(&rig, RUST);
    let record = run(&rig, 3);
    let boots = record.boots();
    assert!(boots.contains("Failed to connect to '/tmp/virtmeabc'"), "{boots}");
    assert!(boots.contains("hint: virtiofsd did not listen yet when QEMU wanted it"), "{boots}");
    let machine = "backend=virtme-ng,rootfs=9p";
    rig.kregress(&["run", "t", "--machine", machine]).exits(0);
}
