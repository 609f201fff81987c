//! Contradictions in `kregress.yaml`.

use insta::assert_snapshot;

use super::{config, kernel};

#[test]
fn a_kernel_without_a_source_is_refused() {
    assert_snapshot!(kernel("fragments: [base]"), @r"
    kregress.yaml:3:3: kernel `mine` has no source
    hint: give it one of `git`, `directory`, `tarball`, `image`, `deb`
    ");
}

#[test]
fn a_kernel_with_two_sources_is_refused() {
    assert_snapshot!(kernel("git: ~/src/linux\ntarball: /usr/src/linux.tar.xz"), @r"
    kregress.yaml:5:5: kernel `mine` has more than one source: `git`, `tarball`
    hint: keep one; a second source is a second entry
    ");
}

#[test]
fn a_key_of_another_kind_of_source_is_refused() {
    assert_snapshot!(
        kernel("tarball: x\nrevision: v6.12"),
        @"kregress.yaml:5:5: `revision` goes with `git` only, kernel `mine` is of kind `tarball`"
    );
    assert_snapshot!(
        kernel("git: x\nmodules: y"),
        @"kregress.yaml:5:5: `modules` goes with `image` only, kernel `mine` is of kind `git`"
    );
    assert_snapshot!(
        kernel("deb: x\nconfig: y"),
        @"kregress.yaml:5:5: `config` goes with `image` only, kernel `mine` is of kind `deb`"
    );
    assert_snapshot!(
        kernel("image: x\nfragments: [base]"),
        @"kregress.yaml:5:5: `fragments` goes with `git`, `directory` and `tarball` only, kernel `mine` is of kind `image`"
    );
    assert_snapshot!(
        kernel("deb: x\nbase-config: y"),
        @"kregress.yaml:5:5: `base-config` goes with `git`, `directory` and `tarball` only, kernel `mine` is of kind `deb`"
    );
}

#[test]
fn an_unknown_fragment_names_its_neighbour() {
    assert_snapshot!(kernel("git: x\nfragments:\n  - base\n  - virtme"), @r"
    kregress.yaml:7:9: unknown fragment `virtme`
    hint: did you mean `virtme-ng`? known fragments: `base`, `virtme-ng`
    ");
}

#[test]
fn a_fragment_listed_twice_names_both_lines() {
    assert_snapshot!(
        kernel("git: x\nfragments:\n  - base\n  - virtme-ng\n  - base"),
        @"kregress.yaml:8:9: fragment `base` is listed twice, first on line 6"
    );
}

#[test]
fn a_kernel_of_allnoconfig_alone_is_refused() {
    assert_snapshot!(kernel("git: x\nfragments: []"), @r"
    kregress.yaml:5:5: kernel `mine` has neither fragments nor a `base-config`: `allnoconfig` alone does not boot
    hint: write `fragments: [base]`
    ");
}

#[test]
fn a_default_kernel_that_does_not_exist_names_its_neighbour() {
    assert_snapshot!(
        config("version: 1\ndefault-kernel: distr\nkernels: {distro: {git: x}, other: {git: y}}\n"),
        @r"
        kregress.yaml:2:17: unknown kernel `distr`
        hint: did you mean `distro`? known kernels: `distro`, `other`
        "
    );
}

#[test]
fn several_kernels_need_a_default() {
    assert_snapshot!(config("version: 1\nkernels:\n  a: {git: x}\n  b: {git: y}\n"), @r"
    kregress.yaml:2:1: missing key `default-kernel`: there are 2 kernels
    hint: name one of `a`, `b`
    ");
}

#[test]
fn no_kernels_are_refused() {
    assert_snapshot!(config("version: 1\nkernels: {}\n"), @r"
    kregress.yaml:2:1: `kernels` is empty
    hint: name at least one kernel
    ");
}

#[test]
fn a_kernel_must_be_nameable_on_the_command_line() {
    assert_snapshot!(config("version: 1\nkernels:\n  net@next: {git: x}\n"), @r"
    kregress.yaml:3:3: `net@next` cannot name a kernel
    hint: a name is made of letters, digits, `-`, `_` and `.`, begins with a letter or digit and has 64 characters at most
    ");
}

#[test]
fn paths_that_name_nothing_are_refused() {
    assert_snapshot!(
        kernel("git: \"\""),
        @"kregress.yaml:4:10: `kernels.mine.git`: an empty path names nothing"
    );
    assert_snapshot!(kernel("directory: ~torvalds/linux"), @r"
    kregress.yaml:4:16: `kernels.mine.directory`: cannot resolve `~torvalds/linux`: only your own home, `~/`, is known
    hint: write the path in full
    ");
    assert_snapshot!(
        kernel("image: \"a\\0b\""),
        @r"kregress.yaml:4:12: `kernels.mine.image`: `a\0b` is no path: it holds control characters"
    );
    assert_snapshot!(
        kernel("tarball: linux-***.tar"),
        @"kregress.yaml:4:14: `kernels.mine.tarball`: `linux-***.tar` is no glob pattern: wildcards are either regular `*` or recursive `**`"
    );
}

#[test]
fn a_revision_is_no_option() {
    assert_snapshot!(
        kernel("git: x\nrevision: --upload-pack=evil"),
        @"kregress.yaml:5:15: `kernels.mine.revision`: `--upload-pack=evil` is no revision: git would take it for an option"
    );
}

#[test]
fn a_command_line_is_a_list_of_words() {
    assert_snapshot!(kernel("git: x\ncmdline: [quiet nokaslr]"), @r"
    kregress.yaml:5:15: `kernels.mine.cmdline[0]`: `quiet nokaslr` is more than one word of a kernel command line
    hint: one item of the list per word: `[quiet, nokaslr]`
    ");
    assert_snapshot!(
        kernel("git: x\ncmdline: [\"a\\nb\"]"),
        @r"kregress.yaml:5:15: `kernels.mine.cmdline[0]`: `a\nb` cannot stand in a kernel command line: it holds control characters"
    );
}

fn machine(property: &str) -> String {
    config(&format!("version: 1\nmachine:\n  {property}\nkernels: {{a: {{git: x}}}}\n"))
}

#[test]
fn values_of_the_machine_are_checked() {
    assert_snapshot!(machine("cpus: 0"), @r"
    kregress.yaml:3:9: `machine.cpus`: `0` is no number of CPUs
    hint: a whole number from 1 to 256
    ");
    assert_snapshot!(machine("cpus: 257"), @r"
    kregress.yaml:3:9: `machine.cpus`: `257` is no number of CPUs
    hint: a whole number from 1 to 256
    ");
    assert_snapshot!(machine("memory: 1024"), @r"
    kregress.yaml:3:11: `machine.memory`: `1024` is no amount of memory
    hint: a whole number with `M` or `G`, from `64M` to `4096G`: `512M`, `1G`
    ");
    assert_snapshot!(machine("memory: 1T"), @r"
    kregress.yaml:3:11: `machine.memory`: `1T` is no amount of memory
    hint: a whole number with `M` or `G`, from `64M` to `4096G`: `512M`, `1G`
    ");
    assert_snapshot!(machine("accel: tgc"), @r"
    kregress.yaml:3:10: `machine.accel`: unknown accelerator `tgc`
    hint: did you mean `tcg`? known accelerators: `auto`, `kvm`, `tcg`, `icount`
    ");
    assert_snapshot!(machine("backend: virtmeng"), @r"
    kregress.yaml:3:12: `machine.backend`: unknown backend `virtmeng`
    hint: did you mean `virtme-ng`? known backends: `qemu`, `virtme-ng`
    ");
}
