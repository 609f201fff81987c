//! A host made of shell scripts, and the smallest files that pass for kernel
//! images. For tests of this module.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::env::{BuildEnv, Tools};
use crate::exec::Cmd;
use crate::model::{FragmentName, KernelName, KernelSpec, Source};

/// Release of the kernel that the fake make builds.
pub(super) const RELEASE: &str = "6.12.117";

/// A directory with a cache, fake tools, and an environment that uses both.
#[derive(Debug)]
pub(super) struct Fixture {
    dir: tempfile::TempDir,
    pub(super) env: BuildEnv,
}

/// What the fake make does. `compile` and `olddefconfig` are scripts of their
/// own, so that a test can replace just one of them.
const MAKE: &str = r##"
here=$(dirname "$0")
echo "$@" >>"$here/../calls"
for arg; do case "$arg" in
    O=*) export out="${arg#O=}";;
    INSTALL_MOD_PATH=*) export root="${arg#INSTALL_MOD_PATH=}";;
esac; done
mkdir -p "$out/include/config" "$out/arch/x86/boot"
case "$*" in
    *allnoconfig*) { echo "# Linux/x86 6.12.117 Kernel Configuration"; cat "$KCONFIG_ALLCONFIG"; } >"$out/.config";;
    *olddefconfig*) . "$here/olddefconfig";;
    *modules_install*)
        mkdir -p "$root/lib/modules/6.12.117/kernel/net"
        ln -s "$out" "$root/lib/modules/6.12.117/build"
        cat "$here/../module" >"$root/lib/modules/6.12.117/kernel/net/dummy.ko";;
    *) . "$here/compile";;
esac
"##;

pub(super) const COMPILE: &str = r#"
echo "  GEN     Makefile"
echo "  CC      init/main.o"
echo "  CC      net/core/net_namespace.o"
echo "  LD      vmlinux.o"
cp "$here/../images/vmlinux" "$out/vmlinux"
cp "$here/../images/bzImage" "$out/arch/x86/boot/bzImage"
echo 6.12.117 >"$out/include/config/kernel.release"
"#;

impl Fixture {
    /// With every tool that a build needs, in front of the host's own.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        for sub in ["bin", "images", "cache"] {
            fs::create_dir(dir.path().join(sub)).expect("mkdir");
        }
        fs::write(dir.path().join("images/vmlinux"), vmlinux(RELEASE, 18)).expect("write");
        fs::write(dir.path().join("images/bzImage"), bzimage(RELEASE)).expect("write");
        fs::write(dir.path().join("cc1"), "code").expect("write");
        fs::write(dir.path().join("module"), "ko\n").expect("write");
        let host = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
        let path = format!("{}:{host}", dir.path().join("bin").display());
        let fragments = BTreeMap::from([(
            FragmentName("base".into()),
            "# Of tests.\n\n# Needed.\nCONFIG_NET_NS=y\n".into(),
        )]);
        let mut env = BuildEnv::new(dir.path().join("cache"), fragments);
        env.jobs = NonZeroUsize::MIN;
        env.tools = Tools::in_path(path);
        env.interrupted = || false;
        let fixture = Self { dir, env };
        let gcc = format!(
            "case \"$*\" in *--version*) echo 'gcc (Fake 12.2.0-1) 12.2.0'; echo more;; *cc1*) echo '{}';; esac",
            fixture.path().join("cc1").display()
        );
        let mut tools = vec![
            ("make", MAKE),
            ("compile", COMPILE),
            ("olddefconfig", ""),
            ("gcc", gcc.as_str()),
            ("ld", "echo 'GNU ld 2.40'"),
        ];
        tools.extend(["as", "objcopy", "strip", "flex", "bison", "bc", "awk"].map(|name| (name, "")));
        fixture.write_tools(&tools);
        fixture
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Adds or replaces a program.
    pub(super) fn tool(&self, name: &str, script: &str) {
        self.write_tools(&[(name, script)]);
    }

    /// Written by a child: a file that any thread of ours had open for writing
    /// may still be open in a child of another test, and then cannot be run.
    fn write_tools(&self, tools: &[(&str, &str)]) {
        let write =
            r#"while [ $# -gt 0 ]; do printf '#!/bin/sh\n%s\n' "$2" >"$1"; chmod 755 "$1"; shift 2; done"#;
        let mut cmd = Cmd::new("sh").args(["-c", write, "sh"]);
        for (name, script) in tools {
            cmd = cmd.arg(self.path().join("bin").join(name)).arg(*script);
        }
        cmd.read().expect("write tools");
    }

    pub(super) fn remove_tool(&self, name: &str) {
        let _ = fs::remove_file(self.path().join("bin").join(name));
    }

    /// Tools without those of the host behind them.
    pub(super) fn only_own_tools(&self) -> Tools {
        Tools::in_path(self.path().join("bin"))
    }

    /// Replaces the compiler behind `gcc`.
    pub(super) fn set_cc1(&self, code: &str) {
        let new = self.path().join("cc1.new");
        fs::write(&new, code).expect("write");
        fs::rename(new, self.path().join("cc1")).expect("rename");
    }

    /// Replaces what the fake make takes for a module.
    pub(super) fn set_module(&self, code: &str) {
        fs::write(self.path().join("module"), code).expect("write");
    }

    /// What the fake make was asked for since the last time, without the
    /// arguments that are always the same.
    pub(super) fn calls(&self) -> Vec<String> {
        let path = self.path().join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines()
            .map(|line| line.split(' ').skip_while(|word| *word != "--output-sync=target").skip(1))
            .map(|words| words.collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// A source directory that passes for a kernel.
    pub(super) fn kernel_tree(&self, name: &str) -> PathBuf {
        let tree = self.path().join(name);
        write_kernel(&tree);
        tree
    }

    /// A kernel entry with the fragment `base`.
    pub(super) fn spec(&self, source: Source) -> KernelSpec {
        KernelSpec {
            name: KernelName("default".into()),
            source,
            fragments: vec![FragmentName("base".into())],
            base_config: None,
            cmdline: Vec::new(),
        }
    }
}

/// Writes what makes a directory a kernel tree.
pub(super) fn write_kernel(tree: &Path) {
    fs::create_dir_all(tree.join("arch/x86")).expect("mkdir");
    fs::create_dir_all(tree.join("net/core")).expect("mkdir");
    for (file, text) in [
        ("Makefile", "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\n"),
        ("Kconfig", ""),
        ("arch/x86/Makefile", ""),
        ("net/core/dev.c", "int x;\n"),
        (".gitignore", "*.o\n.config\n"),
    ] {
        fs::write(tree.join(file), text).expect("write");
    }
}

/// A git repository for tests, deaf to the configuration of whoever runs them.
pub(crate) fn git(repository: &Path, args: &[&str]) -> String {
    let identity = ["AUTHOR", "COMMITTER"].into_iter().flat_map(|who| {
        [(format!("GIT_{who}_NAME"), "a"), (format!("GIT_{who}_EMAIL"), "a@b")]
            .map(|(key, value)| (key, value.to_owned()))
    });
    let mut cmd = Cmd::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_WORK_TREE")
        .arg("-C")
        .arg(repository)
        .args(["-c", "gc.auto=0", "-c", "init.defaultBranch=master", "-c", "commit.gpgsign=false"])
        .args(args.iter().copied());
    for (key, value) in identity {
        cmd = cmd.env(key, value);
    }
    cmd.read().expect("git").trim().to_owned()
}

/// Commits everything and gives the commit.
pub(super) fn commit(repository: &Path, message: &str) -> String {
    git(repository, &["add", "-A"]);
    git(repository, &["commit", "-q", "-m", message]);
    git(repository, &["rev-parse", "HEAD"])
}

/// The boot header of a 64-bit `bzImage` and nothing behind it.
pub(super) fn bzimage(release: &str) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x020fu16.to_le_bytes());
    put(0x20e, &0x0100u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x236, &1u16.to_le_bytes());
    put(0x300, format!("{release} (a@b) #1 SMP").as_bytes());
    bytes
}

/// An x86-64 ELF executable with a banner and one Xen note of the given type.
pub(super) fn vmlinux(release: &str, note: u32) -> Vec<u8> {
    let banner = format!("LLinux version {release} (a@b) (gcc) #1 SMP\n\0");
    let names = b"\0.rodata\0.shstrtab\0";
    let mut notes = Vec::new();
    for word in [4u32, 8, note] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(b"Xen\0");
    notes.extend_from_slice(&0x0100_0000u64.to_le_bytes());

    let (header, program, section) = (64, 56, 64);
    let notes_at = header + program;
    let rodata_at = notes_at + notes.len();
    let names_at = rodata_at + banner.len();
    let sections_at = names_at + names.len();

    let mut elf = Vec::new();
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let u16s = |elf: &mut Vec<u8>, words: &[u16]| {
        words.iter().for_each(|word| elf.extend_from_slice(&word.to_le_bytes()))
    };
    let u32s = |elf: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| elf.extend_from_slice(&word.to_le_bytes()))
    };
    let u64s = |elf: &mut Vec<u8>, words: &[usize]| {
        words.iter().for_each(|word| elf.extend_from_slice(&(*word as u64).to_le_bytes()));
    };
    u16s(&mut elf, &[2, 62]);
    u32s(&mut elf, &[1]);
    u64s(&mut elf, &[0x0100_0000, header, sections_at]);
    u32s(&mut elf, &[0]);
    u16s(&mut elf, &[64, 56, 1, 64, 3, 2]);
    // PT_NOTE.
    u32s(&mut elf, &[4, 4]);
    u64s(&mut elf, &[notes_at, 0, 0, notes.len(), notes.len(), 4]);
    elf.extend_from_slice(&notes);
    elf.extend_from_slice(banner.as_bytes());
    elf.extend_from_slice(names);
    let mut add_section = |name: u32, kind: u32, at: usize, size: usize| {
        u32s(&mut elf, &[name, kind]);
        u64s(&mut elf, &[0, 0, at, size]);
        u32s(&mut elf, &[0, 0]);
        u64s(&mut elf, &[1, 0]);
    };
    add_section(0, 0, 0, 0);
    add_section(1, 1, rodata_at, banner.len());
    add_section(9, 3, names_at, names.len());
    debug_assert_eq!(elf.len(), sections_at + 3 * section);
    elf
}
