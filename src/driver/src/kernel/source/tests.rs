use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::time::Duration;

use super::*;
use crate::kernel::testing::{self, Fixture, commit, git};
use crate::kernel::{Kernel, KernelError, obtain};
use walkdir::WalkDir;

/// A repository with a kernel of two revisions: `v1` and `v2`.
fn repository(fixture: &Fixture) -> PathBuf {
    let path = fixture.kernel_tree("linux");
    git(&path, &["init", "-q"]);
    commit(&path, "one");
    git(&path, &["tag", "v6.12-rc1"]);
    fs::write(path.join("net/core/dev.c"), "int two;\n").expect("write");
    fs::write(path.join("net/core/new.c"), "int new;\n").expect("write");
    commit(&path, "two");
    git(&path, &["tag", "-a", "-m", "two", "v6.12"]);
    fs::canonicalize(path).expect("canonical")
}

fn revision(repository: &Path, revision: &str) -> Source {
    Source::Git { repository: repository.to_owned(), revision: revision.to_owned() }
}

fn identify_in(fixture: &Fixture, source: &Source) -> Tree {
    identify(source, &fixture.env).expect("tree")
}

fn refused(fixture: &Fixture, source: &Source) -> String {
    let text = identify(source, &fixture.env).expect_err("refused").to_string();
    text.replace(&fixture.path().display().to_string(), "TMP")
}

fn get(fixture: &Fixture, source: Source) -> Result<Kernel, KernelError> {
    obtain(&fixture.spec(source), &fixture.env, &mut |_| ())
}

/// Everything about every file that could have been touched, one line each.
fn everything(root: &Path) -> Vec<String> {
    WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.expect("entry");
            let metadata = entry.metadata().expect("metadata");
            let content = if metadata.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
            // When git is about to write an object that is there, it renews its
            // time in place of writing it. That keeps it from being pruned.
            let is_object = entry.path().starts_with(root.join(".git/objects"));
            let time = if is_object { None } else { Some((metadata.mtime(), metadata.mtime_nsec())) };
            format!("{} {:o} {time:?} {}", entry.path().display(), metadata.mode(), Digest::of(content))
        })
        .collect()
}

#[test]
fn a_revision_is_its_tree() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let tree = identify_in(&fixture, &revision(&repository, "v6.12"));
    assert_eq!(tree.identity, format!("git-tree:{}", git(&repository, &["rev-parse", "HEAD^{tree}"])));
    assert_eq!(tree.facts["commit"], git(&repository, &["rev-parse", "HEAD"]));
    assert_eq!(tree.facts["source"], format!("git `{}` at `v6.12`", repository.display()));
    for name in ["HEAD", "master", "HEAD~0", ":/two", &git(&repository, &["rev-parse", "--short", "HEAD"])] {
        assert_eq!(identify_in(&fixture, &revision(&repository, name)).identity, tree.identity, "{name}");
    }
    assert_ne!(identify_in(&fixture, &revision(&repository, "HEAD~1")).identity, tree.identity);
}

#[test]
fn a_bare_tree_is_a_revision_without_commit() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let id = git(&repository, &["rev-parse", "HEAD^{tree}"]);
    let tree = identify_in(&fixture, &revision(&repository, &id));
    assert_eq!(tree.identity, format!("git-tree:{id}"));
    assert!(!tree.facts.contains_key("commit"));
}

#[test]
fn an_unknown_revision_names_those_that_are_spelt_alike() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    insta::assert_snapshot!(refused(&fixture, &revision(&repository, "v6.13")), @"
    `v6.13` is no revision of `TMP/linux`
    hint: there is `v6.12`
    ");
    insta::assert_snapshot!(
        refused(&fixture, &revision(&repository, "0123456789")),
        @"`0123456789` is no revision of `TMP/linux`"
    );
    // Nothing that looks like an option is one.
    insta::assert_snapshot!(
        refused(&fixture, &revision(&repository, "--all")),
        @"`--all` is no revision of `TMP/linux`"
    );
    insta::assert_snapshot!(
        refused(&fixture, &revision(&repository, "HEAD:net/core/dev.c")),
        @"`HEAD:net/core/dev.c` is no revision of `TMP/linux`"
    );
}

#[test]
fn a_shallow_repository_says_how_to_deepen_it() {
    let fixture = Fixture::new();
    let origin = repository(&fixture);
    let shallow = fixture.path().join("shallow");
    let url = format!("file://{}", origin.display());
    git(fixture.path(), &["clone", "-q", "--depth=1", &url, shallow.to_str().expect("utf-8")]);
    insta::assert_snapshot!(refused(&fixture, &revision(&shallow, "HEAD~1")), @"
    `HEAD~1` is no revision of `TMP/shallow`
    hint: the repository is shallow: `git fetch --unshallow` brings the rest of its history
    ");
}

#[test]
fn a_directory_without_repository_is_refused_even_below_another_one() {
    let fixture = Fixture::new();
    let outer = repository(&fixture);
    let inner = outer.join("inner");
    fs::create_dir(&inner).expect("mkdir");
    insta::assert_snapshot!(refused(&fixture, &revision(&inner, "HEAD")), @"
    `TMP/linux/inner` is not a git repository
    hint: for a source tree without git write `directory:` in place of `git:`
    ");
    let file = fixture.path().join("file");
    fs::write(&file, "").expect("write");
    assert!(refused(&fixture, &revision(&file, "HEAD")).contains("`TMP/file` is not a git repository"));
    let text = refused(&fixture, &revision(&fixture.path().join("gone"), "HEAD"));
    assert!(text.starts_with("cannot find the git repository `TMP/gone`: No such file"), "{text}");
}

#[test]
fn a_repository_of_something_else_is_refused_before_it_is_checked_out() {
    let fixture = Fixture::new();
    let path = fixture.path().join("project");
    fs::create_dir(&path).expect("mkdir");
    git(&path, &["init", "-q"]);
    fs::write(path.join("README"), "hello").expect("write");
    commit(&path, "one");
    let error = get(&fixture, revision(&path, "HEAD")).expect_err("no kernel").to_string();
    assert!(error.contains("/project` is no kernel source that we can build: tree "), "{error}");
    assert!(error.ends_with(" has no `Makefile`"), "{error}");
    // A Makefile alone makes no kernel.
    testing::write_kernel(&path);
    fs::write(path.join("Makefile"), "all:\n").expect("write");
    commit(&path, "two");
    let error = get(&fixture, revision(&path, "HEAD")).expect_err("no kernel").to_string();
    assert!(error.ends_with("its `Makefile` names no kernel version"), "{error}");
    assert_eq!(fixture.calls(), Vec::<String>::new());
}

#[test]
fn building_a_revision_touches_nothing_of_the_repository() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let hook = repository.join(".git/hooks/post-checkout");
    fs::create_dir_all(repository.join(".git/hooks")).expect("mkdir");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}/hooked\n", fixture.path().display())).expect("write");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    // Work in progress, staged and not, that nobody may lose.
    fs::write(repository.join("net/core/dev.c"), "int wip;\n").expect("write");
    git(&repository, &["add", "net/core/dev.c"]);
    fs::write(repository.join("net/core/new.c"), "int more;\n").expect("write");
    fs::write(repository.join("notes"), "do not lose\n").expect("write");
    let before = everything(&repository);
    for name in ["v6.12-rc1", "v6.12"] {
        get(&fixture, revision(&repository, name)).expect("kernel");
    }
    get(&fixture, Source::Directory(repository.clone())).expect("kernel");
    let after = everything(&repository);
    let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert_eq!(changed, [], "of {} and {} files", before.len(), after.len());
    assert!(!fixture.path().join("hooked").exists());
}

#[test]
fn a_revision_is_built_from_its_own_files() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    fixture.tool("olddefconfig", "pwd >/dev/null");
    let prepared = |name: &str| {
        identify_in(&fixture, &revision(&repository, name))
            .prepare(&fixture.env, &mut |_| ())
            .expect("prepare")
    };
    let source = prepared("v6.12");
    assert!(source.starts_with(fixture.env.cache.root()));
    assert_eq!(fs::read_to_string(source.join("net/core/dev.c")).expect("read"), "int two;\n");
    assert!(source.join("net/core/new.c").exists());
    assert!(!source.join(".git").exists());
    assert_eq!(prepared("v6.12-rc1"), source);
    assert_eq!(fs::read_to_string(source.join("net/core/dev.c")).expect("read"), "int x;\n");
    assert!(!source.join("net/core/new.c").exists());
}

#[test]
fn from_one_revision_to_the_next_only_what_differs_is_written() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let prepared = |name: &str| {
        identify_in(&fixture, &revision(&repository, name))
            .prepare(&fixture.env, &mut |_| ())
            .expect("prepare")
    };
    let source = prepared("v6.12-rc1");
    let inode = |file: &str| fs::metadata(source.join(file)).expect("metadata").ino();
    let stamp = |file: &str| {
        let metadata = fs::metadata(source.join(file)).expect("metadata");
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
    };
    let (same, differs) = (stamp("Makefile"), inode("net/core/dev.c"));
    // A file that stays in use keeps its inode from being used again.
    let _open = fs::File::open(source.join("net/core/dev.c")).expect("open");
    prepared("v6.12");
    assert_eq!(stamp("Makefile"), same);
    assert_ne!(inode("net/core/dev.c"), differs);
}

#[test]
fn a_checkout_that_was_killed_is_repaired() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let tree = identify_in(&fixture, &revision(&repository, "v6.12"));
    let source = tree.prepare(&fixture.env, &mut |_| ()).expect("prepare");
    let family = fixture.env.cache.family(&tree.family);
    // As left by a kill in the middle of going elsewhere.
    fs::write(family.join("source.pending"), "0123").expect("write");
    fs::write(family.join("source.index.lock"), "").expect("write");
    fs::write(source.join("net/core/stranger.o"), "ignored, too").expect("write");
    fs::write(source.join("net/core/dev.c"), "int half").expect("write");
    fs::remove_file(source.join("Kconfig")).expect("remove");
    tree.prepare(&fixture.env, &mut |_| ()).expect("repaired");
    assert!(!source.join("net/core/stranger.o").exists());
    assert_eq!(fs::read_to_string(source.join("net/core/dev.c")).expect("read"), "int two;\n");
    assert!(source.join("Kconfig").exists());
    assert!(!family.join("source.pending").exists());
}

#[test]
fn a_git_work_tree_is_built_as_it_stands() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let directory = Source::Directory(repository.clone());
    let clean = identify_in(&fixture, &directory);
    assert_eq!(clean.identity, identify_in(&fixture, &revision(&repository, "HEAD")).identity);

    fs::write(repository.join("net/core/dev.c"), "int wip;\n").expect("write");
    fs::write(repository.join("net/core/untracked.c"), "int u;\n").expect("write");
    fs::write(repository.join("net/core/dev.o"), "ignored").expect("write");
    let dirty = identify_in(&fixture, &directory);
    assert_ne!(dirty.identity, clean.identity);
    let source = dirty.prepare(&fixture.env, &mut |_| ()).expect("prepare");
    assert_eq!(fs::read_to_string(source.join("net/core/dev.c")).expect("read"), "int wip;\n");
    assert!(source.join("net/core/untracked.c").exists());
    assert!(!source.join("net/core/dev.o").exists());

    // Committing what was built changes nothing about it.
    commit(&repository, "three");
    assert_eq!(identify_in(&fixture, &directory).identity, dirty.identity);
    assert_eq!(identify_in(&fixture, &revision(&repository, "HEAD")).identity, dirty.identity);
}

#[test]
fn a_change_right_after_the_index_was_written_is_seen() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    git(&repository, &["config", "core.trustctime", "false"]);
    // Git compares whole seconds, so this test has to happen some time ago.
    let then =
        fs::metadata(&repository).and_then(|it| it.modified()).expect("time") - Duration::from_secs(100);
    let write = |text: &str| {
        let file = repository.join("net/core/dev.c");
        fs::write(&file, text).expect("write");
        fs::File::options().write(true).open(&file).expect("open").set_modified(then).expect("time");
    };
    write("int one;\n");
    git(&repository, &["add", "net/core/dev.c"]);
    let before = identify_in(&fixture, &Source::Directory(repository.clone()));
    // As long as before and in the same second: only the time of the index
    // itself tells that the file must be read.
    write("int two;\n");
    let index = fs::File::options().write(true).open(repository.join(".git/index")).expect("index");
    index.set_modified(then).expect("time");
    let after = identify_in(&fixture, &Source::Directory(repository));
    assert_ne!(after.identity, before.identity);
}

#[test]
fn a_work_tree_that_was_built_in_is_built_from_a_snapshot() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    fs::write(repository.join(".config"), "CONFIG_X=y\n").expect("write");
    let kernel = get(&fixture, Source::Directory(repository.clone())).expect("kernel");
    assert_eq!(kernel.info.facts["source"], format!("directory `{}`", repository.display()));
}

#[test]
fn a_revision_and_a_clean_work_tree_share_one_kernel() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let built = get(&fixture, revision(&repository, "v6.12")).expect("kernel");
    let found = get(&fixture, Source::Directory(repository)).expect("kernel");
    assert_eq!(found.info.facts["store"], "hit");
    assert_eq!(found.image, built.image);
}

#[test]
fn bare_repositories_and_linked_work_trees_are_repositories() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let text = |path: &Path| path.to_str().expect("utf-8").to_owned();
    let bare = fixture.path().join("bare.git");
    git(fixture.path(), &["clone", "-q", "--bare", &text(&repository), &text(&bare)]);
    let linked = fixture.path().join("linked");
    git(&repository, &["worktree", "add", "-q", "--detach", &text(&linked), "v6.12-rc1"]);

    let main = identify_in(&fixture, &revision(&repository, "v6.12"));
    let of_bare = identify_in(&fixture, &revision(&bare, "v6.12"));
    assert_eq!(of_bare.identity, main.identity);
    assert!(of_bare.family.starts_with("bare-"), "{}", of_bare.family);
    of_bare.prepare(&fixture.env, &mut |_| ()).expect("prepare");

    let of_linked = identify_in(&fixture, &revision(&linked, "HEAD"));
    assert_eq!(of_linked.family, main.family, "one family, so that builds are incremental");
    assert!(main.family.starts_with("linux-"), "{}", main.family);
    let snapshot = identify_in(&fixture, &Source::Directory(linked));
    assert_eq!(snapshot.identity, of_linked.identity);
}

#[test]
fn a_repository_that_ignores_its_sources_is_a_directory() {
    let fixture = Fixture::new();
    let path = fixture.kernel_tree("linux");
    fs::write(path.join(".gitignore"), "/*\n!/debian/\n").expect("write");
    git(&path, &["init", "-q"]);
    let tree = identify_in(&fixture, &Source::Directory(path));
    assert!(tree.identity.starts_with("state:"), "{}", tree.identity);
}

#[test]
fn without_git_a_work_tree_is_a_directory() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let mut env = fixture.env.clone();
    env.tools = fixture.only_own_tools();
    let tree = identify(&Source::Directory(repository), &env).expect("tree");
    assert!(tree.identity.starts_with("state:"), "{}", tree.identity);
}

#[test]
fn a_damaged_repository_is_shown_in_the_words_of_git() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    fs::write(repository.join(".git/config"), "[core\n").expect("write");
    let text = refused(&fixture, &Source::Directory(repository));
    assert!(text.starts_with("git cannot read `TMP/linux`:\n  fatal: bad config line 1"), "{text}");
}

#[test]
fn a_directory_is_found_through_links_and_named_as_one_place() {
    let fixture = Fixture::new();
    let tree = fixture.kernel_tree("linux");
    let link = fixture.path().join("link");
    symlink(&tree, &link).expect("symlink");
    let direct = identify_in(&fixture, &Source::Directory(tree));
    let through = identify_in(&fixture, &Source::Directory(link));
    assert_eq!((direct.identity, direct.family), (through.identity, through.family));
}

#[test]
fn directories_that_are_no_kernel_are_refused() {
    let fixture = Fixture::new();
    let text = refused(&fixture, &Source::Directory(fixture.path().join("gone")));
    assert!(text.starts_with("cannot find the source directory `TMP/gone`: No such file"), "{text}");
    let file = fixture.path().join("linux.tar");
    fs::write(&file, "").expect("write");
    insta::assert_snapshot!(refused(&fixture, &Source::Directory(file)), @"
    `TMP/linux.tar` is not a directory
    hint: for a tarball write `tarball:` in place of `directory:`
    ");
    fixture.kernel_tree("src/linux-6.12");
    insta::assert_snapshot!(refused(&fixture, &Source::Directory(fixture.path().join("src"))), @"
    `TMP/src` is no kernel source that we can build: it has no `Makefile`
    hint: there is one in `TMP/src/linux-6.12`
    ");
}

#[test]
fn a_kernel_makefile_is_recognised() {
    assert!(is_kernel_makefile("# SPDX\nVERSION = 6\nPATCHLEVEL=12\n"));
    assert!(!is_kernel_makefile("VERSION = 6\n"));
    assert!(!is_kernel_makefile("VERSIONS = 6\nPATCHLEVELS = 1\n"));
    assert!(!is_kernel_makefile(""));
}

#[test]
fn names_of_families_are_short_and_plain() {
    let digest = Digest::of("x");
    let family = |path: &str| family_name(Path::new(path), &digest);
    assert_eq!(family("/usr/src/linux-source-6.12.tar.xz"), format!("linux-source-6.12-{}", digest.short()));
    assert_eq!(family("/a/../.."), format!("tree-{}", digest.short()));
    assert_eq!(family("/a/b c/é"), format!("tree-{}", digest.short()));
    assert!(family(&format!("/{}", "x".repeat(300))).len() < 80);
}
