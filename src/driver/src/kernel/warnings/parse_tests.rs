use proptest::prelude::*;

use super::*;

fn roots() -> Roots {
    Roots::new(Path::new("/cache/trees/linux/source"), Path::new("/cache/trees/linux/build-1"))
}

/// One line for each warning, below the target that it was said of.
fn read(log: &str) -> String {
    let made = parse(&log.replace("SRC", "/cache/trees/linux/source"), &roots());
    let lines = made.iter().filter(|(_, said)| !said.is_empty());
    lines
        .map(|(target, said)| {
            let said: String = said.iter().map(|warning| format!("  {warning}\n")).collect();
            format!("{target}\n{said}")
        })
        .collect()
}

#[test]
fn warnings_of_gcc_belong_to_the_object_that_was_compiled() {
    let log = "\
$ make -C SRC vmlinux bzImage
  GEN     Makefile
  CC      drivers/net/dummy.o
  CC [M]  net/8021q/vlan_dev.o
SRC/net/8021q/vlan_dev.c: In function 'vlan_dev_open':
SRC/net/8021q/vlan_dev.c:267:13: warning: unused variable 'depth' [-Wunused-variable]
  267 |         int depth;
      |             ^~~~~
SRC/net/8021q/vlan_dev.c: At top level:
SRC/net/8021q/vlan_dev.c:53:13: warning: 'vlan_old' defined but not used [-Wunused-function]
   53 | static void vlan_old(struct net_device *dev,
      |             ^~~~~~~~
  AR      net/8021q/built-in.a
";
    insta::assert_snapshot!(read(log), @"
    net/8021q/vlan_dev.o
      net/8021q/vlan_dev.c:267: in vlan_dev_open(): unused variable 'depth' [-Wunused-variable]
      net/8021q/vlan_dev.c:53: 'vlan_old' defined but not used [-Wunused-function]
    ");
}

#[test]
fn every_target_is_known_to_have_been_made_also_one_without_warnings() {
    let log = "  CC      init/main.o\n  CC      /cache/trees/linux/build-1/tools/objtool/check.o\n  RUSTC L rust/core.o\n";
    let made = parse(log, &roots());
    assert_eq!(
        made.keys().collect::<Vec<_>>(),
        [".config", "init/main.o", "rust/core.o", "tools/objtool/check.o"]
    );
}

#[test]
fn a_warning_of_a_header_has_the_name_of_the_header() {
    let log = "\
$ make -C SRC vmlinux bzImage
  CC      net/core/dev.o
In file included from SRC/include/linux/skbuff.h:28,
                 from SRC/net/core/dev.c:74:
SRC/include/net/sock.h: In function 'sk_helper':
SRC/include/net/sock.h:12:9: warning: 'x' is used uninitialized [-Wuninitialized]
./include/generated/autoconf.h:1:1: warning: \"A\" redefined
";
    insta::assert_snapshot!(read(log), @r#"
    net/core/dev.o
      include/net/sock.h:12: in sk_helper(): 'x' is used uninitialized [-Wuninitialized]
      include/generated/autoconf.h:1: in sk_helper() of include/net/sock.h: "A" redefined
    "#);
}

#[test]
fn gcc_names_a_function_once_also_for_what_comes_of_a_macro_of_a_header() {
    let log = "\
$ make
  CC      net/core/dev.o
SRC/net/core/dev.c: In function 'dev_open':
SRC/net/core/dev.c:9:1: warning: unused variable 'x' [-Wunused-variable]
In file included from SRC/include/linux/kernel.h:26,
                 from SRC/net/core/dev.c:70:
SRC/include/linux/minmax.h:20:35: warning: comparison of distinct pointer types lacks a cast
";
    insta::assert_snapshot!(read(log), @"
    net/core/dev.o
      net/core/dev.c:9: in dev_open(): unused variable 'x' [-Wunused-variable]
      include/linux/minmax.h:20: in dev_open() of net/core/dev.c: comparison of distinct pointer types lacks a cast
    ");
}

#[test]
fn what_was_inlined_is_told_apart_by_what_it_was_inlined_into() {
    let log = "\
$ make -C SRC vmlinux bzImage
  CC      net/core/dev.o
In function 'fortify_memcpy_chk',
    inlined from 'helper' at SRC/net/core/dev.c:410:2,
    inlined from 'dev_name_change' at SRC/net/core/dev.c:430:2:
SRC/include/linux/fortify-string.h:580:25: warning: call to '__write_overflow_field' declared with attribute warning: detected write [-Wattribute-warning]
";
    insta::assert_snapshot!(read(log), @"
    net/core/dev.o
      include/linux/fortify-string.h:580: in dev_name_change() of net/core/dev.c: call to '__write_overflow_field' declared with attribute warning: detected write [-Wattribute-warning]
    ");
}

#[test]
fn a_function_is_not_taken_along_to_the_next_object() {
    let log = "\
$ make -C SRC vmlinux bzImage
  CC      a.o
a.c: In function 'x':
a.c:1:1: warning: one [-Wa]
  CC      b.o
b.c:1:1: warning: two [-Wb]
";
    insta::assert_snapshot!(read(log), @"
    a.o
      a.c:1: in x(): one [-Wa]
    b.o
      b.c:1: two [-Wb]
    ");
}

#[test]
fn clang_assembler_objtool_modpost_and_linker_are_understood() {
    let log = "\
$ make -C SRC vmlinux bzImage
  CC      a.o
SRC/a.c:3:7: warning: variable 'x' set but not used [-Wunused-but-set-variable]
  AS      b.o
SRC/b.S: Assembler messages:
SRC/b.S:12: Warning: no instruction mnemonic suffix given
{standard input}:40: Warning: value 0x100 truncated
  CC      c.o
c.o: warning: objtool: foo.constprop.0+0x1c: unreachable instruction
c.o: warning: objtool: bar() falls through to next function baz()
c.o: warning: objtool: missing symbol for section .init
  LD      vmlinux.o
vmlinux.o: warning: objtool: do_idle+0x9e: call to x() leaves .noinstr.text section
  MODPOST Module.symvers
WARNING: modpost: vmlinux: section mismatch in reference: foo+0x12 (section: .text) -> bar (section: .init.text)
WARNING: modpost: missing MODULE_DESCRIPTION() in drivers/net/dummy.o
WARNING: vmlinux.o(.text+0x12): Section mismatch in reference from x
  LD      vmlinux
ld: warning: a.o: missing .note.GNU-stack section implies executable stack
ld: warning: vmlinux has a LOAD segment with RWX permissions
ld: d.o: in function `main':
d.c:(.text+0x12): warning: the `gets' function is dangerous
";
    insta::assert_snapshot!(read(log), @"
    Module.symvers
      vmlinux: section mismatch in reference: foo+0x12 (section: .text) -> bar (section: .init.text)
      Module.symvers: missing MODULE_DESCRIPTION() in drivers/net/dummy.o
      vmlinux.o: Section mismatch in reference from x
    a.o
      a.c:3: variable 'x' set but not used [-Wunused-but-set-variable]
    b.o
      b.S:12: no instruction mnemonic suffix given
      b.o: value 0x100 truncated
    c.o
      c.o: in foo.constprop.0(): unreachable instruction
      c.o: in bar(): falls through to next function baz()
      c.o: missing symbol for section .init
    vmlinux
      a.o: missing .note.GNU-stack section implies executable stack
      vmlinux: vmlinux has a LOAD segment with RWX permissions
      d.c: in main() of d.o: the `gets' function is dangerous
    vmlinux.o
      vmlinux.o: in do_idle(): call to x() leaves .noinstr.text section
    ");
}

#[test]
fn kconfig_warns_of_the_configuration_whatever_is_being_made() {
    let log = "\
$ make -C SRC vmlinux bzImage
  HOSTLD  scripts/kconfig/conf
drivers/net/Kconfig:10:warning: config symbol defined without type

WARNING: unmet direct dependencies detected for VLAN_8021Q
  Depends on [n]: NET [=n]
";
    insta::assert_snapshot!(read(log), @"
    .config
      drivers/net/Kconfig:10: config symbol defined without type
      .config: unmet direct dependencies detected for VLAN_8021Q
    ");
}

#[test]
fn what_make_says_of_the_host_and_what_only_looks_like_a_warning_is_none() {
    for line in [
        "make[2]: warning: Clock skew detected.  Your build may be incomplete.",
        "make: warning: jobserver unavailable: using -j1.  Add '+' to parent make rule.",
        "SRC/a.c:1:2: error: x [-Werror=format=]",
        "   53 | pr_err(\"a.c:1: warning: x\");",
        "some words: warning: x",
        ": warning: x",
        "  CC      warning.o",
        "SRC/a.c:1:2: note: a warning: x",
    ] {
        assert_eq!(read(line), "", "{line}");
    }
}

#[test]
fn a_tree_behind_a_link_has_the_same_names() {
    let dir = tempfile::tempdir().expect("tempdir");
    let root = fs::canonicalize(dir.path()).expect("canonical");
    fs::create_dir(root.join("real")).expect("mkdir");
    std::os::unix::fs::symlink(root.join("real"), root.join("link")).expect("link");
    let roots = Roots::new(&root.join("link"), &root.join("build"));
    for top in ["real", "link", "build"] {
        let log = format!("  CC      a.o\n{}/{top}/lib/../net/a.c:1:1: warning: x\n", root.display());
        assert_eq!(parse(&log, &roots)["a.o"][0].file, "net/a.c", "{top}");
    }
}

#[test]
fn what_is_said_twice_of_one_object_is_one_warning() {
    let log = "  CC      a.o\na.c:1:1: warning: x\na.c:1:9: warning: x\na.c:2:1: warning: x\n";
    assert_eq!(parse(log, &roots())["a.o"].len(), 2);
}

#[test]
fn endless_and_unprintable_messages_are_cut() {
    let log = format!("  CC      a.o\na.c:1:1: warning: \u{1b}[31mx\u{7}{}\n", "\u{e9}".repeat(5000));
    let message = &parse(&log, &roots())["a.o"][0].message;
    assert!(message.starts_with("[31mx\u{e9}") && message.len() <= LONGEST, "{message}");
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,8}"
}

proptest! {
    #[test]
    fn any_text_is_a_log(log in any::<String>()) {
        for warning in parse(&log, &roots()).values().flatten() {
            prop_assert!(warning.message.len() <= LONGEST && !warning.message.contains(char::is_control));
        }
    }

    #[test]
    fn any_pieces_of_a_log_are_a_log(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "  CC      a.o\n", "a.c", ":1", ": warning: ", "warning", " [-Wx]", "objtool: ", "x()", "+0x1c: ", "\n", " ", "WARNING: ",
        "In function '", "',", ": In function '", "    inlined from 'y' at ", "{standard input}", ":(", "\u{fffd}", "ld: ",
    ]), 0..24)) {
        parse(&pieces.concat(), &roots());
    }

    #[test]
    fn what_gcc_writes_is_read_back(
        file in name(), line in 1u64..100_000, column in 1u32..200, function in proptest::option::of(name()),
        message in "[a-zA-Z'][a-zA-Z' (),;-]{0,40}[a-z']", flag in proptest::option::of("-W[a-z][a-z=0-9-]{0,12}"),
    ) {
        let place = format!("/cache/trees/linux/source/net/{file}.c");
        let scope = function.as_ref().map_or_else(String::new, |name| format!("{place}: In function '{name}':\n"));
        let tail = flag.as_ref().map_or_else(String::new, |flag| format!(" [{flag}]"));
        let log = format!("  CC      net/{file}.o\n{scope}{place}:{line}:{column}: warning: {message}{tail}\n");
        let expected = Warning { file: format!("net/{file}.c"), line: Some(line), function, source: None, message, flag };
        prop_assert_eq!(&parse(&log, &roots())[&format!("net/{file}.o")], &vec![expected]);
    }

    #[test]
    fn where_the_tree_lies_does_not_matter(top in "/[a-z]{1,8}/[a-z]{1,8}") {
        let roots = Roots::new(&Path::new(&top).join("source"), &Path::new(&top).join("build"));
        let log = format!("  CC      a.o\n{top}/source/a.c:1:1: warning: see {top}/source/b.h:2\n");
        let warning = &parse(&log, &roots)["a.o"][0];
        prop_assert_eq!((warning.file.as_str(), warning.message.as_str()), ("a.c", "see b.h:2"));
    }
}
