mod recorded;
mod warned;

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::kernel::testing::{self, Fixture, RELEASE};
use crate::kernel::{self, Fault, KernelError, SourceError, obtain};
use crate::model::{FragmentName, Source};

const ALL: [&str; 3] = ["allnoconfig", "olddefconfig", "vmlinux bzImage"];

fn plain(fixture: &Fixture) -> KernelSpec {
    fixture.spec(Source::Directory(fixture.kernel_tree("linux")))
}

fn get(fixture: &Fixture, spec: &KernelSpec) -> Result<Kernel, KernelError> {
    obtain(spec, &fixture.env, &mut |_| ())
}

/// What the user sees, without the names of temporary directories.
fn refused(fixture: &Fixture, spec: &KernelSpec) -> String {
    let text = get(fixture, spec).expect_err("refused").to_string();
    text.replace(&fixture.path().display().to_string(), "TMP")
}

fn fragment(fixture: &mut Fixture, text: &str) {
    // The first comment of a file is about the file.
    fixture.env.fragments.insert(FragmentName("base".into()), format!("# Of tests.\n\n{text}"));
}

#[test]
fn a_kernel_is_configured_compiled_and_stored() {
    let fixture = Fixture::new();
    let mut events = Vec::new();
    let kernel = obtain(&plain(&fixture), &fixture.env, &mut |event| events.push(event)).expect("kernel");
    assert_eq!(fixture.calls(), ALL);
    assert_eq!(kernel.format, ImageFormat::Vmlinux);
    assert_eq!(kernel.info.release.as_deref(), Some(RELEASE));
    assert_eq!(
        kernel.image,
        fixture.env.cache.store().directory().join(&kernel.info.identity).join("vmlinux")
    );
    assert_eq!(fs::read(&kernel.image).expect("image"), testing::vmlinux(RELEASE, 18));
    let config = fs::read_to_string(kernel.config.as_ref().expect("config")).expect("config");
    assert!(config.contains("CONFIG_NET_NS=y\n"), "{config}");
    assert_eq!(kernel.modules, None);
    assert_eq!(kernel.info.facts["store"], "built");
    assert_eq!(kernel.info.facts["compiler"], "gcc (Fake 12.2.0-1) 12.2.0");
    assert_eq!(kernel.info.facts["fragments"], "base");
    let sha256 = Digest::of(testing::vmlinux(RELEASE, 18)).to_string();
    assert_eq!(kernel.info.facts["image-sha256"], sha256);

    let steps: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::Step { what, .. } => Some(what.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["configuring", "compiling", "storing"]);
    let objects = events.iter().rev().find_map(|event| match event {
        BuildEvent::Objects { done, estimated, line, .. } => Some((*done, *estimated, line.as_str())),
        _ => None,
    });
    assert_eq!(objects, Some((3, DEFAULT_OBJECTS, "LD      vmlinux.o")));
    assert_eq!(events.last(), Some(&BuildEvent::Ready(kernel.info)));
}

#[test]
fn asking_again_runs_no_make() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let built = get(&fixture, &spec).expect("kernel");
    fixture.calls();
    let again = get(&fixture, &spec).expect("again");
    assert_eq!(fixture.calls(), Vec::<String>::new());
    assert_eq!(again.info.facts["store"], "hit");
    assert_eq!((again.image, again.info.identity), (built.image, built.info.identity));
}

#[test]
fn looking_for_a_kernel_builds_none() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let look = || kernel::stored(&spec, &fixture.env).expect("no error");
    assert_eq!(look(), None);
    assert_eq!(fixture.calls(), Vec::<String>::new());
    let built = get(&fixture, &spec).expect("kernel");
    let found = look().expect("found");
    assert_eq!(found.image, built.image);
    let bzimage = found.bzimage().expect("bzImage");
    assert_eq!(fs::read(bzimage).expect("bzImage"), testing::bzimage(RELEASE));
}

#[test]
fn a_kernel_that_is_there_needs_no_tools_to_build_it() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    get(&fixture, &spec).expect("kernel");
    for program in ["make", "flex", "bison"] {
        fixture.remove_tool(program);
    }
    let mut env = fixture.env.clone();
    env.tools = fixture.only_own_tools();
    // ccache is not an input, but the host's must not be looked for either.
    obtain(&spec, &env, &mut |_| ()).expect("from the store");
}

#[test]
fn other_words_for_the_same_request_are_the_same_request() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    get(&fixture, &spec).expect("kernel");
    fixture.calls();
    fragment(&mut fixture, "# Another reason.\nCONFIG_NET_NS=y\n");
    assert_eq!(get(&fixture, &spec).expect("again").info.facts["store"], "hit");
    assert_eq!(fixture.calls(), Vec::<String>::new());
}

#[test]
fn another_request_that_comes_to_the_same_kernel_is_not_compiled() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    let everything = "printf 'CONFIG_NET=y\\nCONFIG_NET_NS=y\\n' >\"$out/.config\"";
    fixture.tool("olddefconfig", everything);
    let first = get(&fixture, &spec).expect("kernel");
    fixture.calls();
    fragment(&mut fixture, "# Needed.\nCONFIG_NET=y\n# Needed.\nCONFIG_NET_NS=y\n");
    let second = get(&fixture, &spec).expect("kernel");
    assert_eq!(fixture.calls(), ["allnoconfig", "olddefconfig"]);
    assert_eq!(second.info.facts["store"], "hit");
    assert_eq!(second.info.identity, first.info.identity);
    // And from now on it is known without asking make.
    get(&fixture, &spec).expect("again");
    assert_eq!(fixture.calls(), Vec::<String>::new());
}

#[test]
fn a_second_configuration_is_built_in_the_same_directory() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    let first = get(&fixture, &spec).expect("first");
    fragment(&mut fixture, "# Needed.\nCONFIG_NET=y\n");
    let second = get(&fixture, &spec).expect("second");
    assert_ne!(first.info.identity, second.info.identity);
    assert!(first.image.is_file() && second.image.is_file());
    let families: Vec<_> = fs::read_dir(fixture.env.cache.root().join("trees")).expect("trees").collect();
    let [Ok(family)] = &families[..] else { panic!("one family: {families:?}") };
    let builds = fs::read_dir(family.path()).expect("family").filter_map(Result::ok);
    assert_eq!(builds.filter(|entry| entry.path().is_dir()).count(), 1);
}

#[test]
fn another_compiler_makes_another_kernel_in_another_directory() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let first = get(&fixture, &spec).expect("first");
    fixture.set_cc1("better code");
    let second = get(&fixture, &spec).expect("second");
    assert_ne!(first.info.identity, second.info.identity);
    assert_eq!(second.info.facts["store"], "built");
}

#[test]
fn a_base_configuration_is_completed_in_place_of_allnoconfig() {
    let fixture = Fixture::new();
    let base = fixture.path().join("distro.config");
    fs::write(&base, "CONFIG_EXT4_FS=y\n# CONFIG_NET_NS is not set\n").expect("write");
    let spec = KernelSpec { base_config: Some(base.clone()), ..plain(&fixture) };
    let kernel = get(&fixture, &spec).expect("kernel");
    assert_eq!(fixture.calls(), ["olddefconfig", "vmlinux bzImage"]);
    let config = fs::read_to_string(kernel.config.expect("config")).expect("config");
    assert_eq!(config, "CONFIG_EXT4_FS=y\n# CONFIG_NET_NS is not set\n\nCONFIG_NET_NS=y\n");
    assert_eq!(kernel.info.facts["base-config"], base.display().to_string());
}

#[test]
fn a_base_configuration_that_is_none_is_refused_before_anything_runs() {
    let fixture = Fixture::new();
    let base = fixture.path().join("distro.config");
    fs::write(&base, "hello\n").expect("write");
    let spec = KernelSpec { base_config: Some(base), ..plain(&fixture) };
    let text = refused(&fixture, &spec);
    assert!(text.starts_with("kernel `default`: configuration `TMP/distro.config`: line 1 "), "{text}");
    assert_eq!(fixture.calls(), Vec::<String>::new());
    let spec = KernelSpec { base_config: Some("/nonexistent/config".into()), ..plain(&fixture) };
    let text = refused(&fixture, &spec);
    assert!(text.starts_with("kernel `default`: cannot read `/nonexistent/config`: "), "{text}");
}

#[test]
fn a_kernel_without_configuration_is_refused() {
    let fixture = Fixture::new();
    let spec = KernelSpec { fragments: Vec::new(), ..plain(&fixture) };
    insta::assert_snapshot!(refused(&fixture, &spec), @"
    kernel `default`: it is built from source but has no configuration
    hint: add `fragments: [base]` to its entry
    ");
}

#[test]
fn an_unknown_fragment_is_named_with_the_known_ones() {
    let fixture = Fixture::new();
    let spec = KernelSpec { fragments: vec![FragmentName("bsae".into())], ..plain(&fixture) };
    insta::assert_snapshot!(refused(&fixture, &spec), @"
    kernel `default`: no kconfig fragment is named `bsae`
    hint: there are `base`
    ");
}

#[test]
fn a_symbol_that_did_not_survive_stops_the_build_before_it_compiles() {
    let fixture = Fixture::new();
    fixture.tool("olddefconfig", "echo '# CONFIG_NET_NS is not set' >\"$out/.config\"");
    let spec = plain(&fixture);
    let error = get(&fixture, &spec).expect_err("gate");
    assert!(matches!(error.problem, KernelProblem::Gate(_)), "{error}");
    assert_eq!(fixture.calls(), ["allnoconfig", "olddefconfig"]);
    // And it is not remembered as an answer.
    get(&fixture, &spec).expect_err("gate");
}

#[test]
fn a_compile_error_names_file_and_line_and_the_log() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let tree = fs::canonicalize(fixture.path().join("linux")).expect("tree");
    fixture.tool(
        "compile",
        &format!(
            "echo '  CC      net/core/dev.o'\n\
             echo \"{0}/net/core/dev.c:412:14: error: expected ';' before 'return'\" >&2\n\
             echo '  412 |         int x'\n\
             echo 'make[3]: *** [scripts/Makefile.build:229: net/core/dev.o] Error 1'\n\
             exit 2",
            tree.display()
        ),
    );
    let error = get(&fixture, &spec).expect_err("compile error");
    assert_eq!(error.fault(), Fault::Tree);
    let KernelProblem::Build(failure) = &error.problem else { panic!("{error}") };
    let log = fs::read_to_string(&failure.log).expect("log");
    assert!(log.contains("  CC      net/core/dev.o\n"), "{log}");
    let text = error.to_string().replace(&failure.log.display().to_string(), "LOG");
    insta::assert_snapshot!(text, @"
    kernel `default`: compiling failed: net/core/dev.c:412: expected ';' before 'return'
        412 |         int x
    full log: `LOG`
    ");
    assert!(!fixture.env.cache.store().directory().exists(), "nothing is stored");
}

#[test]
fn a_configuration_that_fails_is_told_apart_from_compilation() {
    let fixture = Fixture::new();
    fixture.tool("olddefconfig", "echo 'net/Kconfig:10: syntax error'; exit 1");
    let text = refused(&fixture, &plain(&fixture));
    assert!(
        text.starts_with("kernel `default`: configuring failed: net/Kconfig:10: syntax error\n"),
        "{text}"
    );
}

#[test]
fn a_full_disk_is_the_hosts_fault() {
    let fixture = Fixture::new();
    fixture.tool("compile", "echo 'as: vmlinux.o: No space left on device'; exit 2");
    let error = get(&fixture, &plain(&fixture)).expect_err("full");
    assert_eq!(error.fault(), Fault::Host);
    assert!(error.to_string().contains("\nhint: free a few GiB"), "{error}");
}

#[test]
fn missing_tools_are_named_before_make_starts() {
    let mut fixture = Fixture::new();
    fixture.remove_tool("flex");
    fixture.env.tools = fixture.only_own_tools();
    insta::assert_snapshot!(refused(&fixture, &plain(&fixture)), @"
    kernel `default`: this host cannot build kernels: `flex` is missing
    hint: apt-get install flex
    ");
    assert_eq!(fixture.calls(), Vec::<String>::new());
}

#[test]
fn an_interrupted_build_goes_on_where_it_stopped() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let mut fixture = Fixture::new();
    fixture.env.interrupted = || STOP.load(Ordering::Relaxed);
    fixture
        .tool("compile", "echo '  CC      a.o'; echo '  CC      b.o'; echo half >\"$out/a.o\"; sleep 1000");
    let spec = plain(&fixture);
    let error = obtain(&spec, &fixture.env, &mut |event| {
        if let BuildEvent::Objects { done: 2, .. } = event {
            STOP.store(true, Ordering::Relaxed);
        }
    })
    .expect_err("interrupted");
    assert_eq!(error.fault(), Fault::Interrupted);
    insta::assert_snapshot!(error, @"
    kernel `default`: interrupted while compiling
    hint: the same command goes on where this one stopped
    ");

    STOP.store(false, Ordering::Relaxed);
    let images = "cp \"$here/../images/vmlinux\" \"$out/vmlinux\"; cp \"$here/../images/bzImage\" \"$out/arch/x86/boot\"; \
                  echo 6.12.117 >\"$out/include/config/kernel.release\"";
    fixture.tool("compile", &format!("test -f \"$out/a.o\" || exit 1; echo '  CC      c.o'; {images}"));
    let mut counted = Vec::new();
    obtain(&spec, &fixture.env, &mut |event| {
        if let BuildEvent::Objects { done, .. } = event {
            counted.push(done);
        }
    })
    .expect("resumed");
    assert_eq!(counted.last(), Some(&3), "two of the first time and one of the second");
}

#[test]
fn the_estimate_is_what_the_last_whole_build_took() {
    let mut fixture = Fixture::new();
    get(&fixture, &plain(&fixture)).expect("kernel");
    let estimates = |spec: &KernelSpec, fixture: &Fixture| {
        let mut seen = Vec::new();
        obtain(spec, &fixture.env, &mut |event| {
            if let BuildEvent::Objects { estimated, .. } = event {
                seen.push(estimated);
            }
        })
        .expect("kernel");
        seen.dedup();
        seen
    };
    let other = fixture.spec(Source::Directory(fixture.kernel_tree("other")));
    assert_eq!(estimates(&other, &fixture), [3], "another tree with the same fragments");
    fragment(&mut fixture, "# Needed.\nCONFIG_NET=y\n");
    assert_eq!(estimates(&other, &fixture), [0], "an incremental build: unknown");
}

#[test]
fn a_build_waits_for_another_one_of_the_same_family() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let tree = source::identify(&spec.source, &fixture.env).expect("tree");
    let path = fixture.env.cache.family(&tree.family).join("lock");
    let mut holder = Some(cache::lock(&path, || false, || ()).expect("lock"));
    let mut steps = Vec::new();
    obtain(&spec, &fixture.env, &mut |event| {
        if let BuildEvent::Step { what, .. } = event {
            // It ends as soon as somebody waits for it.
            holder.take();
            steps.push(what);
        }
    })
    .expect("kernel");
    assert!(steps[0].starts_with("waiting for another build in `"), "{steps:?}");
    assert_eq!(steps[1..], ["configuring", "compiling", "storing"]);
}

#[test]
fn a_kernel_that_another_process_built_meanwhile_is_taken() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let tree = source::identify(&spec.source, &fixture.env).expect("tree");
    let path = fixture.env.cache.family(&tree.family).join("lock");
    let mut holder = Some(cache::lock(&path, || false, || ()).expect("lock"));
    let kernel = obtain(&spec, &fixture.env, &mut |event| {
        if holder.take().is_some() {
            assert!(matches!(event, BuildEvent::Step { .. }));
            get(&fixture, &spec).expect("the other one");
        }
    })
    .expect("kernel");
    assert_eq!(kernel.info.facts["store"], "hit");
    assert_eq!(fixture.calls(), ALL, "one build for both");
}

#[test]
fn waiting_for_another_build_can_be_interrupted() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    let tree = source::identify(&spec.source, &fixture.env).expect("tree");
    let path = fixture.env.cache.family(&tree.family).join("lock");
    let _holder = cache::lock(&path, || false, || ()).expect("lock");
    fixture.env.interrupted = || true;
    let text = refused(&fixture, &spec);
    assert!(text.starts_with("kernel `default`: interrupted while waiting for another build"), "{text}");
}

#[test]
fn modules_are_stored_without_links_into_the_build() {
    let fixture = Fixture::new();
    fixture.tool("olddefconfig", "echo CONFIG_MODULES=y >>\"$out/.config\"");
    let kernel = get(&fixture, &plain(&fixture)).expect("kernel");
    let modules = kernel.modules.expect("modules");
    assert!(modules.ends_with(format!("lib/modules/{RELEASE}")), "{}", modules.display());
    assert!(modules.join("kernel/net/dummy.ko").is_file());
    assert!(fs::symlink_metadata(modules.join("build")).is_err());
    let calls = fixture.calls();
    assert_eq!(calls[2], "vmlinux bzImage modules");
    assert!(calls[3].ends_with("INSTALL_MOD_STRIP=1 modules_install"), "{calls:?}");
}

#[test]
fn debug_information_stays_beside_the_image_that_is_booted() {
    let fixture = Fixture::new();
    fixture.tool("olddefconfig", "echo CONFIG_DEBUG_INFO=y >>\"$out/.config\"");
    fixture.tool("strip", "test \"$1\" = --strip-debug && cp \"$4\" \"$3\" && echo stripped >>\"$3\"");
    let kernel = get(&fixture, &plain(&fixture)).expect("kernel");
    let image = fs::read(&kernel.image).expect("image");
    let debug = fs::read(kernel.image.with_extension("debug")).expect("debug information");
    assert_eq!(image, [debug.as_slice(), b"stripped\n"].concat());
}

#[test]
fn without_pvh_the_bzimage_is_booted() {
    let fixture = Fixture::new();
    fs::write(fixture.path().join("images/vmlinux"), testing::vmlinux(RELEASE, 19)).expect("write");
    let kernel = get(&fixture, &plain(&fixture)).expect("kernel");
    assert_eq!(kernel.format, ImageFormat::BzImage);
    assert!(kernel.image.ends_with("bzImage"));
}

#[test]
fn a_make_that_made_nothing_is_not_believed() {
    let fixture = Fixture::new();
    fixture.tool("compile", "echo 'make: nothing to be done'");
    let text = refused(&fixture, &plain(&fixture));
    assert!(
        text.starts_with("kernel `default`: make ended well but there is no `TMP/cache/trees/"),
        "{text}"
    );
    assert!(text.contains("/vmlinux`\nfull log: `TMP/cache/logs/default-"), "{text}");
}

#[test]
fn a_directory_that_changes_under_the_build_is_not_stored() {
    let fixture = Fixture::new();
    let spec = plain(&fixture);
    let change = format!("echo 'int y;' >>{}", fixture.path().join("linux/net/core/dev.c").display());
    let compile = fs::read_to_string(fixture.path().join("bin/compile")).expect("compile");
    fixture.tool("compile", &format!("{compile}\n{change}"));
    let error = get(&fixture, &spec).expect_err("changed");
    assert!(matches!(error.problem, KernelProblem::Changed { .. }), "{error}");
    fixture.tool("compile", &compile);
    assert_eq!(get(&fixture, &spec).expect("at rest").info.facts["store"], "built");
}

#[test]
fn a_directory_that_was_built_in_says_how_to_clean_it() {
    for trace in [".config", "include/config/x", "arch/x86/include/generated/x"] {
        let fixture = Fixture::new();
        let spec = plain(&fixture);
        let path = fixture.path().join("linux").join(trace);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, "").expect("write");
        let error = get(&fixture, &spec).expect_err("built in");
        let KernelProblem::Source(source) = &error.problem else { panic!("{error}") };
        assert!(matches!(**source, SourceError::NotClean { .. }), "{error}");
        assert!(error.to_string().contains(" mrproper` removes what an earlier build left"), "{error}");
        assert_eq!(fixture.calls(), Vec::<String>::new());
    }
}

#[test]
fn a_tarball_is_unpacked_and_built() {
    let fixture = Fixture::new();
    fixture.kernel_tree("linux-6.12");
    let tarball = fixture.path().join("linux-6.12.tar");
    crate::exec::Cmd::new("tar")
        .arg("-cf")
        .arg(&tarball)
        .arg("-C")
        .arg(fixture.path())
        .arg("linux-6.12")
        .read()
        .expect("tar");
    let spec = fixture.spec(Source::Tarball(format!("{}/linux-*.tar", fixture.path().display())));
    let kernel = get(&fixture, &spec).expect("kernel");
    assert_eq!(fixture.calls(), ALL);
    assert_eq!(kernel.info.facts["source"], format!("tarball `{}`", tarball.display()));
    assert_eq!(get(&fixture, &spec).expect("again").info.facts["store"], "hit");
}

#[test]
fn a_tarball_of_something_else_is_named() {
    let fixture = Fixture::new();
    let tarball = fixture.path().join("linux.tar");
    crate::exec::Cmd::new("tar")
        .arg("-cf")
        .arg(&tarball)
        .arg("-C")
        .arg(fixture.path())
        .arg("images")
        .read()
        .expect("tar");
    let spec = fixture.spec(Source::Tarball(tarball.display().to_string()));
    insta::assert_snapshot!(
        refused(&fixture, &spec),
        @"kernel `default`: `TMP/linux.tar` is no kernel source that we can build: it has no `Makefile`"
    );
}

#[test]
fn an_optional_symbol_that_the_tree_lacks_is_recorded_each_time() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    fixture.tool(
        "olddefconfig",
        "grep -v NETKIT \"$out/.config\" >\"$out/new\"; mv \"$out/new\" \"$out/.config\"",
    );
    fragment(&mut fixture, "# optional: since 6.7; pairs.\nCONFIG_NETKIT=y\n");
    for store in ["built", "hit"] {
        let kernel = get(&fixture, &spec).expect("kernel");
        assert_eq!(kernel.info.facts["store"], store);
        assert_eq!(kernel.info.facts["config-absent"], "CONFIG_NETKIT: since 6.7");
    }
}

#[test]
fn a_symbol_that_is_no_longer_optional_is_checked_again() {
    let mut fixture = Fixture::new();
    let spec = plain(&fixture);
    fixture.tool(
        "olddefconfig",
        "grep -v NETKIT \"$out/.config\" >\"$out/new\"; mv \"$out/new\" \"$out/.config\"",
    );
    fragment(&mut fixture, "# optional: since 6.7; pairs.\nCONFIG_NETKIT=y\n");
    get(&fixture, &spec).expect("kernel");
    fragment(&mut fixture, "# Pairs.\nCONFIG_NETKIT=y\n");
    let error = get(&fixture, &spec).expect_err("gate");
    assert!(matches!(error.problem, KernelProblem::Gate(_)), "{error}");
}
