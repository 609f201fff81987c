//! What is known of the warnings of kernels, over builds of all kinds, and what of
//! it is new. The fake make compiles every `.c` file of the tree, as make does:
//! only where it is newer than its object. A file says what its compiler says, in
//! lines that begin with `//!`, with `HERE` for its own path; a file that says
//! `error` does not compile.

use super::*;
use crate::kernel::{Added, Warning, warnings_added};

const COMPILE: &str = r##"
for arg; do test "$last" = -C && src="$arg"; last="$arg"; done
made() { echo "$1" >>"$here/../compiled"; }
for file in $(cd "$src" && find . -name '*.c' | sort); do
    file="${file#./}"; object="${file%.c}.o"
    test -e "$out/$object" && test ! "$src/$file" -nt "$out/$object" && continue
    mkdir -p "$out/$(dirname "$object")"
    echo "  CC      $object"; made "$object"
    sed -n "s,HERE,$src/$file,g; s,TOP,$src,g; s,^//! ,,p" "$src/$file"
    grep -q '^error' "$src/$file" && exit 2
    echo compiled >"$out/$object"
done
echo "  LD      vmlinux.o"
{ printf 'savedcmd_vmlinux.o := ld -r -o vmlinux.o '
  (cd "$src" && find . -name '*.c' | sort | sed 's,^./,,; s,c$,o,' | tr '\n' ' '); } >"$out/.vmlinux.o.cmd"
touch "$out/vmlinux.o"
cp "$here/../images/bzImage" "$out/arch/x86/boot/bzImage"
echo "  LD      vmlinux"
cat "$here/../images/vmlinux" >"$out/vmlinux"
echo 6.12.117 >"$out/include/config/kernel.release"
"##;

/// A history of a kernel, and a make that compiles it.
struct Kernels {
    fixture: Fixture,
    repository: PathBuf,
}

/// A kernel that was built, with its entry.
type Built = (KernelSpec, Kernel);

impl Kernels {
    fn new() -> Self {
        let fixture = Fixture::new();
        fixture.tool("compile", COMPILE);
        let repository = fixture.kernel_tree("linux");
        testing::git(&repository, &["init", "-q"]);
        Self { fixture, repository }
    }

    /// Commits these files; an empty one is removed.
    fn commit(&self, files: &[(&str, &str)]) -> KernelSpec {
        for (file, text) in files {
            let path = self.repository.join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            match *text {
                "" => fs::remove_file(&path).expect("remove"),
                text => fs::write(&path, text).expect("write"),
            }
        }
        let revision = testing::commit(&self.repository, "change");
        self.fixture.spec(Source::Git { repository: self.repository.clone(), revision })
    }

    fn build(&self, files: &[(&str, &str)]) -> Built {
        let spec = self.commit(files);
        let kernel = get(&self.fixture, &spec).expect("kernel");
        (spec, kernel)
    }

    fn added(&self, parent: &Built, child: &Built) -> Added {
        warnings_added((&parent.0, &parent.1), (&child.0, &child.1), &self.fixture.env, &mut |_| ())
            .expect("no error")
    }

    /// New warnings, one a line, where they can be known.
    fn new_in(&self, parent: &Built, child: &Built) -> String {
        match self.added(parent, child) {
            Added::Known { new, .. } => lines(&new),
            Added::Unknown { why } => panic!("{why}"),
        }
    }

    /// Objects that were compiled since the last time.
    fn compiled(&self) -> Vec<String> {
        let path = self.fixture.path().join("compiled");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    /// Beside the build directory.
    fn beside(&self, extension: &str) -> PathBuf {
        let trees = fs::read_dir(self.fixture.env.cache.root().join("trees")).expect("trees");
        let family = trees.filter_map(Result::ok).next().expect("a family").path();
        let entries = fs::read_dir(family).expect("family").filter_map(Result::ok);
        let build = entries.map(|entry| entry.path()).find(|path| {
            path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("build-"))
        });
        build.expect("a build directory").with_extension(extension)
    }

    /// The build directory and the store as an older kregress left them.
    fn as_of_old(&self, kernels: &[&Built]) {
        fs::remove_file(self.beside("warnings")).expect("ledger");
        for (_, kernel) in kernels {
            fs::remove_file(kernel.warnings.as_ref().expect("path")).expect("snapshot");
        }
    }
}

fn lines(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

/// A file that says this when it is compiled.
fn warns(said: &[&str]) -> String {
    said.iter().map(|line| format!("//! {line}\n")).collect()
}

const UNUSED: &str = "HERE:7:1: warning: 'x' defined but not used [-Wunused-function]";
const UNUSED_LATER: &str = "HERE:99:1: warning: 'x' defined but not used [-Wunused-function]";
const ANOTHER: &str = "HERE:8:1: warning: unused variable 'y' [-Wunused-variable]";

#[test]
fn what_a_patch_adds_is_new_and_nothing_is_built_to_know_it() {
    let kernels = Kernels::new();
    let base =
        kernels.build(&[("net/a.c", &warns(&[UNUSED])), ("net/b.c", "b\n"), ("net/c.c", &warns(&[UNUSED]))]);
    let moved = kernels.build(&[("net/a.c", &warns(&[UNUSED_LATER]))]);
    let second = kernels.build(&[("net/a.c", &warns(&[UNUSED_LATER, ANOTHER]))]);
    let quiet = kernels.build(&[("net/a.c", "a\n")]);
    assert_eq!(kernels.compiled().len(), 7, "one full build and one object for each of the others");
    kernels.fixture.calls();
    assert_eq!(kernels.added(&base, &moved), Added::Known { new: vec![], gone: vec![] });
    insta::assert_snapshot!(kernels.new_in(&moved, &second), @"net/a.c:8: unused variable 'y' [-Wunused-variable]");
    let Added::Known { new, gone } = kernels.added(&second, &quiet) else { panic!("unknown") };
    assert_eq!(new, []);
    insta::assert_snapshot!(lines(&gone), @"
    net/a.c:8: unused variable 'y' [-Wunused-variable]
    net/a.c:99: 'x' defined but not used [-Wunused-function]
    ");
    assert_eq!(kernels.fixture.calls(), Vec::<String>::new());
}

#[test]
fn a_kernel_of_the_store_knows_its_warnings_without_make() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n")]);
    let child = kernels.build(&[("net/a.c", &warns(&[UNUSED]))]);
    kernels.fixture.calls();
    let again = get(&kernels.fixture, &child.0).expect("kernel");
    assert_eq!(again.info.facts["store"], "hit");
    insta::assert_snapshot!(kernels.new_in(&base, &(child.0, again)), @"net/a.c:7: 'x' defined but not used [-Wunused-function]");
    assert_eq!(kernels.fixture.calls(), Vec::<String>::new());
}

#[test]
fn a_warning_in_another_function_is_new_and_one_of_a_header_comes_once() {
    let kernels = Kernels::new();
    let of_header = ["TOP/net/x.h: In function 'helper':", "TOP/net/x.h:3:1: warning: unused [-Wunused]"];
    let in_function = |name: &str| format!("HERE: In function '{name}':");
    let base = kernels.build(&[("net/a.c", &warns(&[&in_function("f"), ANOTHER])), ("net/b.c", "b\n")]);
    let child = kernels.build(&[
        ("net/a.c", &warns(&[&[in_function("g").as_str(), ANOTHER], &of_header[..]].concat())),
        ("net/b.c", &warns(&of_header)),
    ]);
    insta::assert_snapshot!(kernels.new_in(&base, &child), @"
    net/a.c:8: in g(): unused variable 'y' [-Wunused-variable]
    net/x.h:3: in helper(): unused [-Wunused]
    ");
}

#[test]
fn warnings_of_a_build_that_failed_count_for_the_next_one() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n"), ("net/b.c", "b\n")]);
    let broken = kernels.commit(&[("net/a.c", &warns(&[UNUSED])), ("net/b.c", "error\n")]);
    get(&kernels.fixture, &broken).expect_err("does not compile");
    kernels.compiled();
    let repaired = kernels.build(&[("net/b.c", "b\n")]);
    assert_eq!(kernels.compiled(), ["net/b.o"], "a.o is of the build that failed");
    insta::assert_snapshot!(kernels.new_in(&base, &repaired), @"net/a.c:7: 'x' defined but not used [-Wunused-function]");
    assert_eq!(kernels.compiled(), Vec::<String>::new());
}

#[test]
fn warnings_of_a_build_that_was_interrupted_count_for_the_next_one() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let mut kernels = Kernels::new();
    kernels.fixture.env.interrupted = || STOP.load(Ordering::Relaxed);
    let base = kernels.build(&[("net/a.c", "a\n"), ("net/b.c", "b\n")]);
    kernels
        .fixture
        .tool("compile", &format!("{}\n", COMPILE.replace("echo \"  LD      vmlinux.o\"", "sleep 1000")));
    let spec = kernels.commit(&[("net/a.c", &warns(&[UNUSED]))]);
    let error = obtain(&spec, &kernels.fixture.env, &mut |event| {
        if let BuildEvent::Objects { done: 1, .. } = event {
            STOP.store(true, Ordering::Relaxed);
        }
    })
    .expect_err("interrupted");
    assert_eq!(error.fault(), Fault::Interrupted);
    STOP.store(false, Ordering::Relaxed);
    kernels.fixture.tool("compile", COMPILE);
    kernels.compiled();
    let kernel = get(&kernels.fixture, &spec).expect("kernel");
    insta::assert_snapshot!(kernels.new_in(&base, &(spec, kernel)), @"net/a.c:7: 'x' defined but not used [-Wunused-function]");
    assert_eq!(kernels.compiled(), Vec::<String>::new());
}

/// Leaves the build directory as a make does that is killed together with us: an
/// object is there, and nobody has read what was said of it.
fn killed_after(kernels: &Kernels, object: &str) {
    let modified = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).expect("time");
    let (marker, object) = (kernels.beside("making"), kernels.beside("").join(object));
    // Clocks of file systems tick a few hundred times a second.
    let write_later = |path: &Path, than: std::time::SystemTime| {
        while fs::write(path, "compiled\n").is_ok() && modified(path) <= than {}
    };
    write_later(&marker, modified(&kernels.beside("warnings")));
    write_later(&object, modified(&marker));
}

#[test]
fn after_a_build_that_was_killed_it_is_found_out_what_nobody_heard() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n"), ("net/b.c", "b\n"), ("net/c.c", &warns(&[UNUSED]))]);
    killed_after(&kernels, "net/a.o");
    let child = kernels.build(&[("net/b.c", &warns(&[UNUSED]))]);
    kernels.compiled();
    insta::assert_snapshot!(kernels.new_in(&base, &child), @"net/b.c:7: 'x' defined but not used [-Wunused-function]");
    // The parent was made again, which compiles what differs.
    assert_eq!(kernels.compiled(), ["net/b.o"]);
    assert!(!kernels.beside("making").exists());
}

#[test]
fn a_parent_from_before_warnings_were_kept_is_made_again_and_then_known() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", &warns(&[UNUSED])), ("net/b.c", "b\n")]);
    kernels.as_of_old(&[&base]);
    let child = kernels.build(&[("net/a.c", &warns(&[UNUSED, ANOTHER]))]);
    kernels.compiled();
    let mut steps = Vec::new();
    let added =
        warnings_added((&base.0, &base.1), (&child.0, &child.1), &kernels.fixture.env, &mut |event| {
            if let BuildEvent::Step { what, .. } = event {
                steps.push(what);
            }
        });
    let Added::Known { new, .. } = added.expect("no error") else { panic!("unknown") };
    insta::assert_snapshot!(lines(&new), @"net/a.c:8: unused variable 'y' [-Wunused-variable]");
    assert_eq!(kernels.compiled(), ["net/a.o"], "b.o is the same in both");
    assert!(steps.contains(&"making it once more, for its warnings".to_owned()), "{steps:?}");
    // And from now on it is known.
    kernels.fixture.calls();
    kernels.new_in(&base, &child);
    assert_eq!(kernels.fixture.calls(), Vec::<String>::new());
}

#[test]
fn a_child_from_before_warnings_were_kept_is_made_again_too() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n"), ("net/b.c", &warns(&[UNUSED]))]);
    let child = kernels.build(&[("net/a.c", &warns(&[ANOTHER]))]);
    kernels.as_of_old(&[&base, &child]);
    insta::assert_snapshot!(kernels.new_in(&base, &child), @"net/a.c:8: unused variable 'y' [-Wunused-variable]");
    insta::assert_snapshot!(kernels.new_in(&child, &base), @"");
}

#[test]
fn a_new_file_has_new_warnings_and_one_that_went_has_none() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n")]);
    fs::remove_file(kernels.beside("warnings")).expect("ledger");
    let child = kernels.build(&[("net/new.c", &warns(&[UNUSED]))]);
    insta::assert_snapshot!(kernels.new_in(&base, &child), @"net/new.c:7: 'x' defined but not used [-Wunused-function]");
    // Its object is still in the build directory.
    let without = kernels.build(&[("net/new.c", ""), ("net/a.c", "other\n")]);
    let Added::Known { new, gone } = kernels.added(&child, &without) else { panic!("unknown") };
    assert_eq!((new.len(), gone.len()), (0, 1));
    insta::assert_snapshot!(kernels.new_in(&without, &child), @"net/new.c:7: 'x' defined but not used [-Wunused-function]");
}

#[test]
fn of_a_kernel_that_was_not_built_here_nothing_is_known() {
    let kernels = Kernels::new();
    let image = kernels.fixture.path().join("images/vmlinux");
    let spec = kernels.fixture.spec(Source::Image { image, modules: None, config: None });
    let kernel = get(&kernels.fixture, &spec).expect("image");
    let child = kernels.build(&[("net/a.c", &warns(&[UNUSED]))]);
    let prebuilt = (spec, kernel);
    let why = "`default` was not built here: what its compiler said is not known";
    assert_eq!(kernels.added(&prebuilt, &child), Added::Unknown { why: why.into() });
    assert_eq!(kernels.added(&child, &prebuilt), Added::Unknown { why: why.into() });
}

#[test]
fn a_directory_that_became_another_kernel_cannot_be_made_again() {
    let fixture = Fixture::new();
    fixture.tool("compile", COMPILE);
    let spec = plain(&fixture);
    let old = get(&fixture, &spec).expect("kernel");
    fs::remove_file(old.warnings.as_ref().expect("path")).expect("snapshot");
    let file = fixture.path().join("linux/net/core/dev.c");
    fs::write(file, warns(&[UNUSED])).expect("write");
    let new = get(&fixture, &spec).expect("kernel");
    let added = warnings_added((&spec, &old), (&spec, &new), &fixture.env, &mut |_| ()).expect("no error");
    let why = "the source of `default` is not what it was built from any more";
    assert_eq!(added, Added::Unknown { why: why.into() });
}

#[test]
fn what_cannot_be_read_any_more_is_found_out_anew() {
    let kernels = Kernels::new();
    let base = kernels.build(&[("net/a.c", "a\n"), ("net/b.c", "b\n")]);
    for text in
        ["", "{}", "{\"version\": 99, \"epoch\": \"\", \"unheard\": [], \"warnings\": {}, \"heard\": {}}"]
    {
        fs::write(kernels.beside("warnings"), text).expect("write");
        fs::write(base.1.warnings.as_ref().expect("path"), text).expect("write");
        let child = kernels.build(&[("net/a.c", &warns(&[UNUSED, text]))]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(kernels.new_in(&base, &child), @"net/a.c:7: 'x' defined but not used [-Wunused-function]");
        }
    }
}
