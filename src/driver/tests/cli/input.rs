//! Bad input: a clear sentence, the right exit code, and nothing lost.

use std::fs;

use crate::fake_kernel::FakeKernel;
use crate::rig::Rig;

fn rig() -> Rig {
    Rig::with(&FakeKernel::new())
}

/// What stderr says of a command that must not do anything.
fn refused(rig: &Rig, args: &[&str]) -> String {
    let seen = rig.kregress(args).exits(2);
    assert_eq!(seen.stdout, "");
    assert!(rig.runs().is_empty());
    seen.stderr()
}

#[test]
fn an_unknown_kernel_is_refused_with_the_nearest() {
    insta::assert_snapshot!(refused(&rig(), &["run", "-k", "fale"]), @r"
    error: unknown kernel `fale`
    hint: did you mean `fake`? known kernels: `fake`, `other`
    ");
}

#[test]
fn a_word_of_the_machine_that_means_nothing_is_refused() {
    let rig = rig();
    let say = |machine| refused(&rig, &["run", "--machine", machine]);
    insta::assert_snapshot!(say("accel=tgc"), @r"
    error: `accel`: unknown accelerator `tgc`
    hint: did you mean `tcg`? known accelerators: `auto`, `kvm`, `tcg`, `icount`
    ");
    insta::assert_snapshot!(say("acel=tcg"), @r"
    error: unknown property `acel` of a machine
    hint: did you mean `accel`? known properties: `accel`, `backend`, `cpus`, `memory`, `root`, `rootfs`
    ");
    insta::assert_snapshot!(say("cpus=0"), @r"
    error: `cpus`: `0` is no number of CPUs
    hint: a whole number from 1 to 256
    ");
    insta::assert_snapshot!(say("memory=1"), @r"
    error: `memory`: `1` is no amount of memory
    hint: a whole number with `M` or `G`, from `64M` to `4096G`: `512M`, `1G`
    ");
    insta::assert_snapshot!(say("tcg"), @r"
    error: `tcg` has no value
    hint: like this: `accel=tcg,cpus=4,memory=2G`
    ");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let rig = rig();
    insta::assert_snapshot!(refused(&rig, &["run", "--boots", "0"]), @r"
    error: invalid value '0' for '--boots <N>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&rig, &["run", "--jobs", "0"]), @r"
    error: invalid value '0' for '--jobs <N>': number would be zero for non-zero type

    For more information, try '--help'.
    ");
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_its_place() {
    let rig = rig();
    rig.write("project/kregress.yaml", "version: 1\nkernels:\n  fake:\n    imag: kernels/fake\n");
    insta::assert_snapshot!(refused(&rig, &["run"]), @r"
    error: kregress.yaml:4:5: unknown key `imag` in `kernels.fake`
    hint: did you mean `image`? known keys: `git`, `revision`, `directory`, `tarball`, `image`, `modules`, `config`, `deb`, `fragments`, `base-config`, `cmdline`
    ");
    rig.write("project/kregress.yaml", "version: 1\nkernels: [\n");
    insta::assert_snapshot!(refused(&rig, &["run"]), @"error: kregress.yaml:3:1: not YAML: did not find expected node content");
    rig.write("project/kregress.yaml", "");
    insta::assert_snapshot!(refused(&rig, &["run"]), @r"
    error: kregress.yaml:1:1: the file is empty
    hint: the least that it needs is `version: 1`
    ");
    insta::assert_snapshot!(refused(&rig, &["run", "--config", "absent.yaml"]), @r"
    error: cannot read `[DIR]/project/absent.yaml`: No such file or directory (os error 2)
    hint: without `--config`, kregress looks for `kregress.yaml` here and above, then takes its built-in one
    ");
}

#[test]
fn a_suite_with_a_mistake_is_refused_with_its_place() {
    let rig = rig();
    let twice = "version: 1\nsummary: s\ntests:\n  a: {workload: netns/drain, timeout: 1s}\n  a: {workload: netns/drain, timeout: 1s}\n";
    rig.write("project/suites/t.yaml", twice);
    insta::assert_snapshot!(refused(&rig, &["run", "t"]), @"error: suites/t.yaml:5:3: key `a` in `tests` is given twice, first on line 4");
    rig.write("project/suites/t.yaml", "version: 1\nsummary: s\ntests: {}\n");
    insta::assert_snapshot!(refused(&rig, &["run", "t"]), @r"
    error: suites/t.yaml:3:1: `tests` is empty
    hint: name at least one test
    ");
    let unknown = "version: 1\nsummary: s\ntests:\n  a: {workload: netns/drian, timeout: 1s}\n";
    rig.write("project/suites/t.yaml", unknown);
    let said = refused(&rig, &["run", "t"]);
    // The list that follows grows with every workload.
    let (head, list) = said.split_once(" known workloads: ").expect("a list");
    insta::assert_snapshot!(head, @r"
    error: suites/t.yaml:4:17: unknown workload `netns/drian`
    hint: did you mean `netns/drain`?
    ");
    assert!(list.starts_with("`netns/churn`, ") && list.trim_end().ends_with(" more"), "{list}");
}

#[test]
fn a_qemu_that_is_missing_or_too_old_or_something_else_is_named() {
    let say = |rig: Rig| {
        let seen = rig.kregress(&["run", "t"]).exits(3);
        assert!(rig.runs().is_empty());
        seen.stderr()
    };
    insta::assert_snapshot!(say(rig().env("KREGRESS_QEMU", "")), @r"
    error: cannot run QEMU: cannot start `qemu-system-x86_64`: No such file or directory (os error 2)
    hint: install `qemu-system-x86_64`; `kregress doctor` lists what is missing
    hint: `apt-get install qemu-system-x86` on Debian and Ubuntu; `KREGRESS_QEMU` names another binary
    ");
    insta::assert_snapshot!(say(rig().env("KREGRESS_QEMU", "/nonexistent/qemu")), @r"
    error: cannot run QEMU: cannot start `/nonexistent/qemu`: No such file or directory (os error 2)
    hint: install `/nonexistent/qemu`; `kregress doctor` lists what is missing
    hint: `apt-get install qemu-system-x86` on Debian and Ubuntu; `KREGRESS_QEMU` names another binary
    ");
    insta::assert_snapshot!(say(rig().env("FAKE_QEMU_VERSION", "4.2.1")), @r"
    error: QEMU 4.2 is too old, 6.2 or later is needed
    hint: install a newer qemu-system-x86 and name it with `KREGRESS_QEMU`
    ");
    insta::assert_snapshot!(say(rig().env("KREGRESS_QEMU", env!("CARGO_BIN_EXE_kregress"))), @r"
    error: cannot read the version of `[KREGRESS]` from `kregress 0.1.0`
    hint: `KREGRESS_QEMU` must name a QEMU system emulator for x86-64
    ");
}

#[test]
fn an_image_that_is_text_or_missing_is_an_error_of_every_test() {
    let rig = rig();
    rig.write("project/kernels/fake", "this is no kernel\n");
    let seen = rig.kregress(&["run", "t"]).exits(3);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      qemu, 2 CPUs, 512 MiB, never booted
      ERROR   t/first
      ERROR   t/middle
      ERROR   t/last

    ERROR t/first
      not-reached on fake
      there is no kernel to boot: kernel `fake`:
      `[DIR]/project/kernels/fake` is no kernel image but a text file,
      which begins with `this is no kernel`
      hint: a `bzImage` (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF
      `vmlinux` is needed
      also t/middle, t/last
      repeat: kregress run t/first --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    ERROR fake, outside of tests: kernel
      the kernel cannot be had: kernel `fake`:
      `[DIR]/project/kernels/fake` is no kernel image but a text file,
      which begins with `this is no kernel`
      hint: a `bzImage` (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF
      `vmlinux` is needed

    0 passed, 3 with errors
    3 tests, in [TIME]
    1 kernel had trouble outside of tests
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    fs::remove_file(rig.path("project/kernels/fake")).expect("removed");
    let seen = rig.kregress(&["run", "t"]).exits(3);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      qemu, 2 CPUs, 512 MiB, never booted
      ERROR   t/first
      ERROR   t/middle
      ERROR   t/last

    ERROR t/first
      not-reached on fake
      there is no kernel to boot: kernel `fake`: cannot read
      `[DIR]/project/kernels/fake`: No such file or directory (os error 2)
      also t/middle, t/last
      repeat: kregress run t/first --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    ERROR fake, outside of tests: kernel
      the kernel cannot be had: kernel `fake`: cannot read
      `[DIR]/project/kernels/fake`: No such file or directory (os error 2)

    0 passed, 3 with errors
    3 tests, in [TIME]
    1 kernel had trouble outside of tests
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
}

#[test]
fn a_results_directory_that_is_a_file_is_named() {
    let rig = rig();
    rig.write("project/taken", "a file");
    let seen = rig.kregress(&["run", "t", "--results", "taken"]).exits(3);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: cannot write to the results directory `taken`: Not a directory (os error 20)
    hint: choose another one with `--results DIR`
    ");
    assert_eq!(fs::read_to_string(rig.path("project/taken")).expect("still there"), "a file");
}

#[test]
fn a_cache_that_is_a_file_is_named() {
    let rig = rig();
    rig.write("taken", "a file");
    let cache = rig.path("taken");
    let rig = rig.env("KREGRESS_CACHE", cache);
    let seen = rig.kregress(&["run", "t"]).exits(3);
    assert!(seen.stdout.contains("taken"), "{}", seen.stdout);
    let record = seen.record();
    assert_eq!(record.verdicts().matches(" error: host: ").count(), 3, "{}", record.verdicts());
}

#[test]
fn two_runs_at_once_share_a_results_directory() {
    let rig = rig();
    let runs = [rig.start(&["run", "t"]), rig.start(&["run", "t", "-k", "other"])];
    let ended = runs.map(crate::rig::Started::end);
    for ended in ended {
        let _ = ended.exits(0);
    }
    let runs = rig.runs();
    assert_eq!(runs.len(), 2);
    let kernels: std::collections::BTreeSet<_> = runs
        .iter()
        .map(|run| {
            crate::record::Record::read(run).json["plan"]["kernels"][0].as_str().expect("a name").to_owned()
        })
        .collect();
    assert_eq!(kernels.into_iter().collect::<Vec<_>>(), ["fake", "other"]);
}
