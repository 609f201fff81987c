use super::*;
use proptest::prelude::*;

fn first(log: &str) -> Diagnosis {
    diagnose(log, Path::new("/src/linux"), Path::new("/cache/build")).expect("an error in the log")
}

/// Everything a person sees, and the cause.
fn shown(log: &str) -> String {
    let found = first(log);
    let hint = found.hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("[{:?}] {found}{hint}", found.cause)
}

#[test]
fn a_syntax_error_has_file_line_and_excerpt() {
    insta::assert_snapshot!(shown(
        "  CC      net/core/dev.o\n\
         /src/linux/net/core/dev.c: In function 'dev_get':\n\
         /src/linux/net/core/dev.c:412:14: error: expected ';' before 'return'\n\
         \x20 412 |         int x\n\
         \x20     |              ^\n\
         \x20     |              ;\n\
         \x20 413 |         return 0;\n\
         \x20     |         ~~~~~~\n\
         make[5]: *** [/src/linux/scripts/Makefile.build:229: net/core/dev.o] Error 1\n\
         make: *** [Makefile:224: __sub-make] Error 2\n"
    ), @r"
    [Code] net/core/dev.c:412: expected ';' before 'return'
        412 |         int x
            |              ^
            |              ;
    ");
}

#[test]
fn the_excerpt_may_stand_with_an_earlier_warning_of_the_same_place() {
    insta::assert_snapshot!(shown(
        "/src/linux/init/main.c:870:1: warning: something else [-Wx]\n\
         \x20 870 | void other(void)\n\
         /src/linux/init/main.c:875:1: warning: 'noreturn' attribute ignored [-Wattributes]\n\
         \x20 875 | void start_kernel(void)\n\
         \x20     | ^~~~\n\
         /src/linux/init/main.c:875:1: error: expected ',' or ';' before 'void'\n"
    ), @r"
    [Code] init/main.c:875: expected ',' or ';' before 'void'
        875 | void start_kernel(void)
            | ^~~~
    ");
}

#[test]
fn the_first_of_several_errors_is_shown() {
    let found = first("a.c:1:1: error: first\nb.c:2:2: error: second\n");
    assert_eq!((found.file.as_deref(), found.line, found.message.as_str()), (Some("a.c"), Some(1), "first"));
}

#[test]
fn warnings_and_notes_are_not_errors() {
    let log = "net/core/dev.c:1:1: warning: unused variable 'x' [-Wunused-variable]\n\
               cc1: note: unrecognized command-line option '-Wno-x' may have been intended to silence earlier diagnostics\n\
               /c/allconfig:12:warning: symbol value 'm' invalid for NET\n\
               net/Kconfig:12:warning: defaults for choice values not supported\n";
    assert_eq!(diagnose(log, Path::new("/src"), Path::new("/b")), None);
}

#[test]
fn a_quiet_line_of_a_file_named_error_is_not_an_error() {
    let log = "  CC      arch/x86/boot/compressed/error.o\n  AR      fs/error: error: x.a\n";
    assert_eq!(diagnose(log, Path::new("/src"), Path::new("/b")), None);
}

#[test]
fn an_error_in_a_header_names_the_source_that_includes_it() {
    insta::assert_snapshot!(shown(
        "In file included from /src/linux/include/linux/skbuff.h:15,\n\
         \x20                from /src/linux/include/net/sock.h:46,\n\
         \x20                from /src/linux/net/core/sock.c:91:\n\
         /src/linux/include/linux/list.h: In function 'list_add':\n\
         /src/linux/include/linux/list.h:30:9: error: 'foo' undeclared (first use in this function)\n"
    ), @r"
    [Code] include/linux/list.h:30: 'foo' undeclared (first use in this function)
      included from net/core/sock.c:91
    ");
}

#[test]
fn a_header_included_directly_names_its_source() {
    let found = first(
        "In file included from /src/linux/net/core/sock.c:91:\n/src/linux/include/net/x.h:3:1: error: oops\n",
    );
    assert_eq!(found.included_from.as_deref(), Some("net/core/sock.c:91"));
}

#[test]
fn the_chain_of_an_earlier_warning_does_not_belong_to_an_error() {
    let found =
        first("In file included from b.c:1:\nx.h:3:1: warning: hm\n    3 | int y;\nc.c:9:1: error: oops\n");
    assert_eq!(found.included_from, None);
}

#[test]
fn a_warning_turned_error_says_which_option_does_that() {
    insta::assert_snapshot!(
        shown("/src/linux/net/ipv4/tcp.c:10:6: error: unused variable 'x' [-Werror=unused-variable]\n"),
        @r"
    [Code] net/ipv4/tcp.c:10: unused variable 'x' [-Werror=unused-variable]
    hint: the configuration turns warnings into errors: a fragment with `# CONFIG_WERROR is not set` stops that
    "
    );
}

#[test]
fn an_error_without_column_has_its_line() {
    let found = first("net/core/dev.c:10: error: oops\n");
    assert_eq!((found.file.as_deref(), found.line), (Some("net/core/dev.c"), Some(10)));
}

#[test]
fn generated_files_are_relative_to_the_build() {
    let found = first("/cache/build/include/generated/x.h:1:2: error: oops\n");
    assert_eq!(found.file.as_deref(), Some("include/generated/x.h"));
    let found = first("./include/generated/x.h:1:2: error: oops\n");
    assert_eq!(found.file.as_deref(), Some("include/generated/x.h"));
}

#[test]
fn a_crash_of_the_compiler_is_an_error_of_the_file() {
    let found = first("/src/linux/net/core/dev.c:9:1: internal compiler error: in foo, at bar.c:1\n");
    assert_eq!(found.to_string(), "net/core/dev.c:9: internal compiler error: in foo, at bar.c:1");
}

#[test]
fn a_missing_header_of_the_tree_is_an_error_of_the_tree() {
    let found = first("/src/linux/net/core/dev.c:9:10: fatal error: linux/no.h: No such file or directory\n");
    assert_eq!(found.cause, Cause::Code);
    assert_eq!(found.to_string(), "net/core/dev.c:9: linux/no.h: No such file or directory");
}

#[test]
fn missing_openssl_headers_name_their_package() {
    insta::assert_snapshot!(
        shown("/src/linux/scripts/sign-file.c:25:10: fatal error: openssl/opensslv.h: No such file or directory\n"),
        @r"
    [MissingLibrary] scripts/sign-file.c:25: the build needs the header `openssl/opensslv.h`, which is not installed
    hint: apt-get install libssl-dev
    "
    );
}

#[test]
fn missing_libelf_headers_name_their_package() {
    let log = "In file included from /src/linux/tools/objtool/elf.c:22:\n\
               /src/linux/tools/objtool/include/objtool/elf.h:10:10: fatal error: gelf.h: No such file or directory\n";
    assert!(shown(log).ends_with("hint: apt-get install libelf-dev"), "{}", shown(log));
}

#[test]
fn a_library_that_a_tool_is_linked_with_names_its_package() {
    insta::assert_snapshot!(
        shown("/usr/bin/ld: cannot find -lelf: No such file or directory\ncollect2: error: ld returned 1 exit status\n"),
        @"
    [MissingLibrary] the build needs the library `elf`, which is not installed
    hint: apt-get install libelf-dev
    "
    );
    let hint = |log: &str| first(log).hint;
    assert_eq!(hint("/usr/bin/ld: cannot find -lcrypto\n").as_deref(), Some("apt-get install libssl-dev"));
    assert_eq!(hint("ld: cannot find -lfoo\n"), None);
}

#[test]
fn an_assembler_error_in_a_source_has_file_and_line() {
    let found = first(
        "/src/linux/arch/x86/entry/entry_64.S: Assembler messages:\n\
         /src/linux/arch/x86/entry/entry_64.S:91: Error: no such instruction: `foo %rax'\n",
    );
    assert_eq!(found.to_string(), "arch/x86/entry/entry_64.S:91: no such instruction: `foo %rax'");
    assert_eq!(found.cause, Cause::Code);
}

#[test]
fn an_assembler_error_in_compiler_output_names_the_object() {
    let found = first(
        "{standard input}: Assembler messages:\n\
         {standard input}:123: Error: bad register name `%foo'\n\
         make[3]: *** [/src/linux/scripts/Makefile.build:229: kernel/fork.o] Error 1\n",
    );
    assert_eq!(found.to_string(), "kernel/fork.o: bad register name `%foo'");
}

#[test]
fn an_undefined_reference_names_symbol_and_function() {
    insta::assert_snapshot!(shown(
        "ld: vmlinux.o: in function `setup_net':\n\
         net_namespace.c:(.text+0x3b1f2): undefined reference to `no_such_function'\n\
         make[2]: *** [/src/linux/scripts/Makefile.vmlinux:34: vmlinux] Error 1\n"
    ), @r"
    [Link] net_namespace.c: undefined reference to `no_such_function` in `setup_net`
    hint: code is built in whose other half is not: the option needs a `depends on` or `select`, or a fragment must turn the missing half on
    ");
}

#[test]
fn an_undefined_reference_with_debug_information_has_its_line() {
    let found = first("ld: /src/linux/net/core/net_namespace.c:333: undefined reference to `gone'\n");
    assert_eq!(found.to_string(), "net/core/net_namespace.c:333: undefined reference to `gone`");
}

#[test]
fn an_undefined_reference_in_an_object_names_the_object() {
    let found = first("ld: net/core/dev.o:(.text+0x12): undefined reference to `gone'\n");
    assert_eq!(found.to_string(), "net/core/dev.o: undefined reference to `gone`");
}

#[test]
fn an_undefined_symbol_of_lld_is_a_link_error() {
    let found = first("ld.lld: error: undefined symbol: gone\n>>> referenced by dev.c:12\n");
    assert_eq!((found.cause, found.message.as_str()), (Cause::Link, "undefined symbol: gone"));
    assert!(found.hint.is_some());
}

#[test]
fn a_symbol_defined_twice_is_a_link_error() {
    let found = first(
        "ld: net/b.o: in function `twice':\nb.c:(.text+0x0): multiple definition of `twice'; net/a.o:a.c:(.text+0x0): first defined here\n",
    );
    assert_eq!(found.to_string(), "b.c: multiple definition of `twice` in `twice`");
}

#[test]
fn an_undefined_symbol_of_a_module_names_the_module() {
    let found = first("ERROR: modpost: \"gone\" [drivers/net/dummy.ko] undefined!\n");
    assert_eq!(found.to_string(), "drivers/net/dummy.ko: undefined symbol `gone`");
    assert_eq!(found.cause, Cause::Link);
}

#[test]
fn other_errors_of_modpost_are_shown() {
    let found = first("ERROR: modpost: missing MODULE_LICENSE() in drivers/net/dummy.o\n");
    assert_eq!(found.to_string(), "missing MODULE_LICENSE() in drivers/net/dummy.o");
}

#[test]
fn an_objtool_error_names_the_object() {
    let found = first("vmlinux.o: error: objtool: foo+0x12: unreachable instruction\n");
    assert_eq!(found.to_string(), "vmlinux.o: objtool: foo+0x12: unreachable instruction");
}

#[test]
fn a_target_without_rule_is_named() {
    let found = first(
        "make[4]: *** No rule to make target 'net/core/gone.o', needed by 'net/core/built-in.a'.  Stop.\n",
    );
    assert_eq!(found.cause, Cause::BuildSystem);
    assert_eq!(
        found.to_string(),
        "No rule to make target 'net/core/gone.o', needed by 'net/core/built-in.a'"
    );
}

#[test]
fn missing_certificates_say_which_options_name_them() {
    let log = "make[2]: *** No rule to make target 'debian/certs/debian-uefi-certs.pem', needed by 'certs/x509_certificate_list'.  Stop.\n";
    assert!(
        shown(log).contains("hint: the configuration names certificates that the tree lacks"),
        "{}",
        shown(log)
    );
}

#[test]
fn an_error_in_a_makefile_has_its_line() {
    let found = first("/src/linux/net/Makefile:7: *** missing separator.  Stop.\n");
    assert_eq!(found.to_string(), "net/Makefile:7: missing separator");
}

#[test]
fn errors_in_kconfig_files_have_their_line() {
    assert_eq!(first("net/Kconfig:10: syntax error\n").to_string(), "net/Kconfig:10: syntax error");
    assert_eq!(
        first("net/Kconfig:5: can't open file \"net/gone/Kconfig\"\n").to_string(),
        "net/Kconfig:5: can't open file \"net/gone/Kconfig\""
    );
    let found = first("init/Kconfig:3:error: recursive dependency detected!\n");
    assert_eq!(found.to_string(), "init/Kconfig:3: recursive dependency detected!");
    assert_eq!(found.cause, Cause::BuildSystem);
    assert_eq!(first("net/Kconfig:8: error: oops\n").cause, Cause::BuildSystem);
}

#[test]
fn a_full_disk_is_the_cause_of_every_other_error() {
    insta::assert_snapshot!(shown(
        "ld: final link failed\n\
         /tmp/ccX.s: Assembler messages:\n\
         /tmp/ccX.s: Fatal error: can't write 12 bytes to section .text of net/core/dev.o: 'No space left on device'\n\
         make: *** [Makefile:224: __sub-make] Error 2\n"
    ), @r"
    [DiskFull] /tmp/ccX.s: Fatal error: can't write 12 bytes to section .text of net/core/dev.o: 'No space left on device'
    hint: free a few GiB in the file systems of `/cache/build` and of the temporary directory; the build then goes on where it stopped
    ");
}

#[test]
fn a_missing_program_names_its_package() {
    for log in [
        "make[2]: flex: No such file or directory\n",
        "/bin/sh: 1: flex: not found\n",
        "/bin/sh: line 1: flex: command not found\n",
        "env: 'flex': No such file or directory\n",
    ] {
        let found = first(log);
        assert_eq!(found.cause, Cause::MissingProgram, "{log}");
        assert_eq!(found.message, "the build needs `flex`, which is not installed", "{log}");
        assert_eq!(found.hint.as_deref(), Some("apt-get install flex"), "{log}");
    }
}

#[test]
fn a_missing_script_of_the_tree_is_not_a_missing_program() {
    let log = "/bin/sh: 1: /src/linux/scripts/gone.sh: not found\n\
               make[1]: *** [Makefile:9: prepare] Error 127\n";
    let found = first(log);
    assert_eq!(found.cause, Cause::Unknown);
    assert_eq!(found.message, "make gave up on `prepare`: /bin/sh: 1: scripts/gone.sh: not found");
}

#[test]
fn a_compiler_that_does_not_know_an_option_is_at_fault() {
    let found = first("gcc: error: unrecognized command-line option '-fmin-function-alignment=16'\n");
    assert_eq!(found.cause, Cause::Compiler);
    let found = first("***\n*** Compiler is too old.\n***   Your GCC version:    4.9.0\n");
    assert_eq!((found.cause, found.message.as_str()), (Cause::Compiler, "Compiler is too old."));
}

#[test]
fn a_killed_compiler_means_too_little_memory() {
    let found = first(
        "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.\n\
         make[3]: *** [/src/linux/scripts/Makefile.build:229: kernel/fork.o] Error 1\n",
    );
    assert_eq!(found.cause, Cause::OutOfMemory);
    assert_eq!(found.file.as_deref(), Some("kernel/fork.o"));
    assert_eq!(found.hint.as_deref(), Some("run fewer compilers at once: `--jobs 1`"));
}

#[test]
fn a_tree_that_was_built_in_says_how_to_clean_it() {
    let found = first(
        "***\n*** The source tree is not clean, please run 'make ARCH=x86_64 mrproper'\n*** in /src/linux\n***\n\
         make[1]: *** [/src/linux/Makefile:658: outputmakefile] Error 1\n",
    );
    assert_eq!(found.cause, Cause::NotClean);
    assert!(found.hint.is_some_and(|hint| hint.contains("make -C /src/linux mrproper")));
}

#[test]
fn a_damaged_object_says_what_to_remove() {
    let found = first("ld: net/core/dev.o: file format not recognized; treating as linker script\n");
    assert_eq!(found.cause, Cause::Damaged);
    assert!(found.hint.is_some_and(|hint| hint.contains("rm -r /cache/build")));
}

#[test]
fn an_error_of_a_tool_is_shown_in_its_words() {
    let found = first("error: Cannot resolve BTF IDs for CONFIG_DEBUG_INFO_BTF, please install libelf-dev\n");
    assert!(found.message.starts_with("Cannot resolve BTF IDs"), "{found}");
}

#[test]
fn when_nothing_is_recognised_the_failed_target_and_the_last_words_are_shown() {
    let found = first(
        "  GEN     foo\nsome tool is unhappy\nmake[2]: *** [scripts/Makefile:9: foo] Error 1\nmake: *** [Makefile:1: all] Error 2\n",
    );
    assert_eq!(found.message, "make gave up on `foo`: some tool is unhappy");
    let found = first("  GEN     foo\nmake[2]: *** [scripts/Makefile:9: foo] Error 1\n");
    assert_eq!(found.message, "make gave up on `foo`");
}

#[test]
fn a_log_without_errors_has_no_first_error() {
    assert_eq!(diagnose("  CC      a.o\nKernel: ready\n", Path::new("/src"), Path::new("/b")), None);
    assert_eq!(diagnose("", Path::new("/src"), Path::new("/b")), None);
}

#[test]
fn blame_is_on_the_tree_or_on_the_host() {
    for cause in [Cause::Code, Cause::Link, Cause::BuildSystem, Cause::Unknown] {
        assert!(cause.is_tree(), "{cause:?}");
    }
    for cause in
        [Cause::DiskFull, Cause::OutOfMemory, Cause::MissingProgram, Cause::MissingLibrary, Cause::Damaged]
    {
        assert!(!cause.is_tree(), "{cause:?}");
    }
}

proptest! {
    #[test]
    fn any_log_can_be_read(log in "(?s).{0,200}") {
        let _ = diagnose(&log, Path::new("/src"), Path::new("/b"));
    }

    #[test]
    fn any_mixture_of_the_words_of_errors_can_be_read(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                ": error: ", ": fatal error: ", ": Error: ", ":12", ":1:2", "\n", "*** [", "] Error 1", "Stop.", "ld: ",
                "undefined reference to `x'", ": in function `", "In file included from ", "  412 |", "Kconfig:", "é",
                "ERROR: modpost: ", "\" [", "] undefined!", ": not found", "make: ", "{standard input}", "/src/a.c", " ",
            ]),
            0..20,
        )
    ) {
        let _ = diagnose(&words.concat(), Path::new("/src"), Path::new("/b"));
    }

    #[test]
    fn an_error_keeps_its_place_whatever_surrounds_it(line in 1u32..100_000, before in 0usize..30) {
        let log = format!("{}/src/net/a.c:{line}:3: error: oops\nmake: *** [x: y] Error 2\n", "  CC      b.o\n".repeat(before));
        let found = diagnose(&log, Path::new("/src"), Path::new("/b")).expect("found");
        prop_assert_eq!((found.file.as_deref(), found.line), (Some("net/a.c"), Some(line)));
    }
}
