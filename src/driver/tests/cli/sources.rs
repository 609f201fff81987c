//! Kernels from source: trees that are missing or none, revisions of a real git
//! repository, hosts without a compiler.

use kregress::exec::Cmd;

use crate::fake_kernel::FakeKernel;
use crate::rig::Rig;

/// A project whose default kernel comes from this source.
fn rig(source: &str) -> Rig {
    let rig = Rig::with(&FakeKernel::new()).host_programs();
    let config = format!(
        "version: 1\nmachine: {{accel: tcg}}\ndefault-kernel: mine\nkernels:\n  mine:\n    {source}\n    fragments: [base]\n"
    );
    rig.write("project/kregress.yaml", &config);
    rig
}

fn git(rig: &Rig, args: &[&str]) {
    let config =
        ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "init.defaultBranch=main"];
    let home = rig.path("home");
    Cmd::new("git")
        .args(config)
        .args(args.iter().copied())
        .current_dir(rig.path("linux"))
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .read()
        .expect("git");
}

/// A repository with two commits that hold no kernel, the first tagged `v1`.
fn repository(rig: &Rig) {
    rig.write("linux/README", "not a kernel\n");
    git(rig, &["init", "--quiet"]);
    git(rig, &["add", "."]);
    git(rig, &["commit", "--quiet", "-m", "one"]);
    git(rig, &["tag", "v1"]);
    rig.write("linux/README", "still no kernel\n");
    git(rig, &["commit", "--quiet", "-a", "-m", "two"]);
}

/// What is said of a kernel that was asked for wrongly, by both commands.
fn told(rig: &Rig) -> String {
    told_with(rig, 2)
}

/// What is said of a kernel that cannot be built, by both commands; `build` ends
/// with this code, and a run has tests without a verdict.
fn told_with(rig: &Rig, code: i32) -> String {
    let build = rig.kregress(&["build"]).exits(code);
    let run = rig.kregress(&["run", "t"]).exits(3);
    let verdicts = run.record().verdicts();
    assert_eq!(
        verdicts.matches(" error: not-reached: there is no kernel to boot: ").count(),
        3,
        "{verdicts}"
    );
    build.stderr()
}

#[test]
fn a_tree_that_is_not_there_is_named() {
    insta::assert_snapshot!(told(&rig("directory: ../absent")), @"error: kernel `mine`: cannot find the source directory `[DIR]/project/../absent`: No such file or directory (os error 2)");
    insta::assert_snapshot!(told(&rig("git: ../absent")), @"error: kernel `mine`: cannot find the git repository `[DIR]/project/../absent`: No such file or directory (os error 2)");
    insta::assert_snapshot!(told(&rig("tarball: ../absent-*.tar.xz")), @"error: kernel `mine`: no source tarball matches `[DIR]/project/../absent-*.tar.xz`");
}

#[test]
fn a_tree_that_is_no_kernel_is_told_what_it_lacks() {
    let rig = rig("directory: ../linux");
    rig.write("linux/README", "not a kernel\n");
    insta::assert_snapshot!(told(&rig), @"error: kernel `mine`: `[DIR]/linux` is no kernel source that we can build: it has no `Makefile`");
}

#[test]
fn a_repository_without_a_kernel_is_told_what_it_lacks() {
    let rig = rig("git: ../linux");
    repository(&rig);
    let told = told(&rig);
    assert!(told.contains("is no kernel source that we can build"), "{told}");
}

#[test]
fn a_revision_that_does_not_exist_is_named_with_those_spelt_alike() {
    let rig = rig("git: ../linux\n    revision: v11");
    repository(&rig);
    insta::assert_snapshot!(told(&rig), @r"
    error: kernel `mine`: `v11` is no revision of `[DIR]/linux`
    hint: there is `v1`
    ");
    // Named on the command line it is the same.
    let seen = rig.kregress(&["build", "mine@v12"]).exits(2);
    assert!(seen.stderr.contains("`v12` is no revision of "), "{}", seen.stderr);
}

#[test]
fn a_directory_that_is_no_repository_is_named() {
    let rig = rig("git: ../linux");
    rig.write("linux/Makefile", "VERSION = 6\n");
    let told = told(&rig);
    assert!(told.contains("linux`"), "{told}");
}

#[test]
fn a_host_without_a_compiler_is_told_what_to_install() {
    let rig = rig("directory: ../linux");
    let makefile = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\nEXTRAVERSION =\nNAME = None\n";
    rig.write("linux/Makefile", makefile);
    rig.write("linux/Kconfig", "mainmenu \"Linux\"\n");
    rig.write("linux/Kbuild", "");
    for dir in ["arch/x86", "init", "kernel", "net", "scripts", "include/linux"] {
        rig.write(&format!("linux/{dir}/Kconfig"), "");
        rig.write(&format!("linux/{dir}/Makefile"), "");
    }
    let path = rig.path("bin");
    let rig = rig.env("PATH", path);
    insta::assert_snapshot!(told_with(&rig, 3), @r"
    error: kernel `mine`: this host cannot build kernels: `make`, `gcc`, `ld`, `as`, `objcopy`, `strip`, `flex`, `bison`, `bc`, `awk` are missing
    hint: apt-get install bc binutils bison flex gcc make mawk
    ");
}

#[test]
fn the_key_of_kernels_is_that_of_their_sources_and_is_had_without_building() {
    let rig = Rig::with(&FakeKernel::new()).host_programs();
    std::fs::create_dir(rig.path("linux")).expect("a directory");
    repository(&rig);
    let key = |words: &[&str]| {
        let seen = rig.kregress(&[&["build", "--key"], words].concat()).exits(0);
        assert_eq!(seen.stderr, "");
        let key = seen.stdout.trim_end().to_owned();
        assert!(key.len() == 64 && key.bytes().all(|it| it.is_ascii_hexdigit()), "{key}");
        key
    };
    let (old, new) = (key(&["../linux@v1"]), key(&["../linux@HEAD"]));
    assert_ne!(old, new);
    assert_eq!(new, key(&["../linux@main"]), "the name of a revision is no part of it");
    assert_ne!(new, key(&["../linux@HEAD+lockdep"]));
    assert_ne!(new, key(&["../linux@v1", "../linux@HEAD"]));
    assert_eq!(new, key(&["fake", "../linux@HEAD"]), "images are not built");
    assert_eq!(rig.names("cache/store"), Vec::<String>::new());
    rig.kregress(&["build", "--key", "../linux@v7"]).exits(3);
}
