//! Kernels as the command line names them: an entry of `kregress.yaml`, a path
//! to an image or package, or `TREE@REVISION`; each with `+FRAGMENT` behind it as
//! often as one likes.

use std::path::{Path, PathBuf};

use super::error::{PathError, quoted};
use super::kernels::{DEFAULT_FRAGMENT, bad_revision};
use super::nearest::hint;
use super::{Project, paths::Base};
use crate::model::{FragmentName, KernelName, KernelRequest, KernelSpec, Source};

/// Why a text names no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No text.
    #[error(
        "an empty name names no kernel\n\
         hint: `kregress list kernels` shows those that there are"
    )]
    Empty,
    /// `@v6.12`.
    #[error(
        "{} names no tree before the `@`\n\
         hint: like this: `~/src/linux@v6.12`, or the name of a kernel of kind `git`",
        quoted(.0)
    )]
    NoTree(String),
    /// `tree@` and revisions that git would misunderstand.
    #[error("{} behind the `@` {reason}\nhint: like this: `~/src/linux@v6.12`", quoted(revision))]
    BadRevision {
        /// What stands behind the `@`.
        revision: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No entry, and no path either.
    #[error("unknown kernel {}{}", quoted(name), hint(name, "kernels", known))]
    Unknown {
        /// As typed.
        name: String,
        /// Names of the entries.
        known: Vec<String>,
    },
    /// A tree that is neither an entry nor a directory.
    #[error(
        "unknown tree {}: neither a kernel of kind `git` nor a directory{}",
        quoted(tree),
        trees_hint(tree, known)
    )]
    UnknownTree {
        /// As typed.
        tree: String,
        /// Names of the entries of kind git.
        known: Vec<String>,
    },
    /// An entry that has no revisions.
    #[error(
        "kernel {} is of kind `{kind}` and has no revisions\n\
         hint: give the path of a git repository in its place: `~/src/linux@{revision}`",
        quoted(name)
    )]
    NotGit {
        /// Name of the entry.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// As typed.
        revision: String,
    },
    /// A path with nothing there.
    #[error(
        "there is no kernel image {}\n\
         hint: a path names an image or a `.deb`; a name without `/` names an entry of `kregress.yaml`",
        quoted(.0)
    )]
    NoFile(String),
    /// A tree where an image is due.
    #[error(
        "{} is a directory, not a kernel image\n\
         hint: `{path}@HEAD` builds its last commit; an entry with `directory:` in `kregress.yaml` builds it as it stands",
        quoted(path)
    )]
    Directory {
        /// As typed.
        path: String,
    },
    /// `linux+lokdep`.
    #[error("unknown fragment {} behind the `+`{}", quoted(fragment), hint(fragment, "fragments", known))]
    UnknownFragment {
        /// As typed.
        fragment: String,
        /// Names of all fragments.
        known: Vec<String>,
    },
    /// A fragment that the kernel has already.
    #[error("kernel {} has the fragment `{fragment}` already\nhint: leave out `+{fragment}`", quoted(kernel))]
    FragmentTwice {
        /// What it was to be added to.
        kernel: String,
        /// Which.
        fragment: String,
    },
    /// A fragment for a kernel that is not built here.
    #[error(
        "kernel {} was built elsewhere, so that `+{fragment}` cannot be added\n\
         hint: name a kernel that is built from source",
        quoted(kernel)
    )]
    Prebuilt {
        /// What it was to be added to.
        kernel: String,
        /// Which.
        fragment: String,
    },
    /// A path that cannot be resolved.
    #[error(transparent)]
    Path(#[from] PathError),
}

fn trees_hint(tree: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "\nhint: give the path of a git repository: `~/src/linux@v6.12`".into();
    }
    hint(tree, "trees", known)
}

impl Project {
    /// Tells what kind of kernel a text of the command line names.
    ///
    /// An entry's name wins; then an existing file; then names of fragments behind a
    /// `+` are taken off its end, for a revision may hold a `+` of its own; then
    /// `TREE@REVISION`, cut at the first `@`; then whatever holds a `/` or ends in
    /// `.deb` is a path.
    ///
    /// # Errors
    ///
    /// [`RequestError::Empty`], [`RequestError::NoTree`],
    /// [`RequestError::BadRevision`] and [`RequestError::UnknownFragment`].
    pub fn parse_request(&self, text: &str) -> Result<KernelRequest, RequestError> {
        if text.is_empty() {
            return Err(RequestError::Empty);
        }
        if self.kernel(text).is_some() {
            return Ok(KernelRequest::Name(text.to_owned()));
        }
        if self.typed(text).is_ok_and(|path| path.is_file()) {
            return Ok(KernelRequest::Image(text.into()));
        }
        if let Some((kernel, last)) = text.rsplit_once('+').filter(|(kernel, _)| !kernel.is_empty()) {
            let fragment = FragmentName(last.to_owned());
            if self.fragments.get(&fragment).is_some() {
                let (kernel, mut fragments) = match self.parse_request(kernel)? {
                    KernelRequest::With { kernel, fragments } => (kernel, fragments),
                    other => (Box::new(other), Vec::new()),
                };
                fragments.push(fragment);
                return Ok(KernelRequest::With { kernel, fragments });
            }
            let first = kernel.split('+').next().unwrap_or(kernel);
            if self.kernel(first).is_some() {
                let known = self.fragments.names().map(str::to_owned).collect();
                return Err(RequestError::UnknownFragment { fragment: last.to_owned(), known });
            }
        }
        if let Some((tree, revision)) = text.split_once('@') {
            if tree.is_empty() {
                return Err(RequestError::NoTree(text.to_owned()));
            }
            if let Some(reason) = bad_revision(revision) {
                return Err(RequestError::BadRevision { revision: revision.to_owned(), reason });
            }
            return Ok(KernelRequest::Revision { tree: tree.to_owned(), revision: revision.to_owned() });
        }
        if text.contains('/') || has_extension(Path::new(text), "deb") {
            return Ok(KernelRequest::Image(text.into()));
        }
        Ok(KernelRequest::Name(text.to_owned()))
    }

    /// Finds the kernel that is asked for. Only looks whether files and
    /// directories are there, not what they hold.
    ///
    /// # Errors
    ///
    /// When there is no such entry, file or directory.
    pub fn resolve(&self, request: &KernelRequest) -> Result<KernelSpec, RequestError> {
        match request {
            KernelRequest::Name(name) => self.kernel(name).cloned().ok_or_else(|| RequestError::Unknown {
                name: name.clone(),
                known: self.kernels.iter().map(|kernel| kernel.name.0.clone()).collect(),
            }),
            KernelRequest::Image(path) => self.image(path),
            KernelRequest::Revision { tree, revision } => self.revision(tree, revision),
            KernelRequest::With { kernel, fragments } => with(self.resolve(kernel)?, fragments),
        }
    }

    fn image(&self, typed: &Path) -> Result<KernelSpec, RequestError> {
        let text = typed.to_string_lossy();
        let image = self.typed(&text)?;
        if image.is_dir() {
            return Err(RequestError::Directory { path: text.into_owned() });
        }
        if !image.exists() {
            return Err(RequestError::NoFile(text.into_owned()));
        }
        let source = match image.to_str().filter(|_| has_extension(&image, "deb")) {
            Some(path) => Source::Deb(glob::Pattern::escape(path)),
            None => Source::Image { image, modules: None, config: None },
        };
        Ok(bare(KernelName(text.into_owned()), source, Vec::new()))
    }

    fn revision(&self, tree: &str, revision: &str) -> Result<KernelSpec, RequestError> {
        let name = KernelName(format!("{tree}@{revision}"));
        let revision = revision.to_owned();
        if let Some(entry) = self.kernel(tree) {
            return match &entry.source {
                Source::Git { repository, .. } => {
                    let source = Source::Git { repository: repository.clone(), revision };
                    Ok(KernelSpec { name, source, ..entry.clone() })
                }
                other => {
                    Err(RequestError::NotGit { name: tree.to_owned(), kind: source_kind(other), revision })
                }
            };
        }
        let repository = self.typed(tree)?;
        if !repository.is_dir() {
            let git = self.kernels.iter().filter(|kernel| matches!(kernel.source, Source::Git { .. }));
            let known = git.map(|kernel| kernel.name.0.clone()).collect();
            return Err(RequestError::UnknownTree { tree: tree.to_owned(), known });
        }
        let fragments = vec![FragmentName(DEFAULT_FRAGMENT.into())];
        Ok(bare(name, Source::Git { repository, revision }, fragments))
    }

    /// A path of the command line: relative to where the user stands.
    fn typed(&self, text: &str) -> Result<PathBuf, PathError> {
        Base { directory: self.cwd.clone(), home: self.home.clone() }.resolve(text)
    }
}

/// A kernel with more fragments, and a name that tells of them.
fn with(mut spec: KernelSpec, fragments: &[FragmentName]) -> Result<KernelSpec, RequestError> {
    for fragment in fragments {
        let (kernel, fragment_name) = (spec.name.0.clone(), fragment.0.clone());
        match spec.source {
            Source::Image { .. } | Source::Deb(_) => {
                return Err(RequestError::Prebuilt { kernel, fragment: fragment_name });
            }
            Source::Git { .. } | Source::Edited { .. } | Source::Directory(_) | Source::Tarball(_) => {}
        }
        if spec.fragments.contains(fragment) {
            return Err(RequestError::FragmentTwice { kernel, fragment: fragment_name });
        }
        spec.name.0 = format!("{kernel}+{fragment}");
        spec.fragments.push(fragment.clone());
    }
    Ok(spec)
}

fn bare(name: KernelName, source: Source, fragments: Vec<FragmentName>) -> KernelSpec {
    KernelSpec { name, source, fragments, base_config: None, cmdline: Vec::new() }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Key of `kregress.yaml` that makes this kind.
#[must_use]
pub fn source_kind(source: &Source) -> &'static str {
    match source {
        Source::Git { .. } | Source::Edited { .. } => "git",
        Source::Directory(_) => "directory",
        Source::Tarball(_) => "tarball",
        Source::Image { .. } => "image",
        Source::Deb(_) => "deb",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::config::load;

    const CONFIG: &str = "\
version: 1
default-kernel: linux
kernels:
  linux: {git: /src/linux, revision: v6.12, fragments: [base], cmdline: [quiet]}
  linux-stable: {git: /src/stable}
  tar: {tarball: /src/linux.tar.xz}
";

    struct Setting {
        root: tempfile::TempDir,
        project: Project,
    }

    /// A project, and beside its file an image, a package and a tree.
    fn setting() -> Setting {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in
            [("kregress.yaml", CONFIG), ("bzImage", ""), ("odd@name", ""), ("linux[1].deb", "")]
        {
            fs::write(root.path().join(name), text).expect("write");
        }
        fs::create_dir(root.path().join("tree")).expect("mkdir");
        let project = load(None, root.path()).expect("a good project");
        Setting { root, project }
    }

    impl Setting {
        fn find(&self, text: &str) -> Result<KernelSpec, RequestError> {
            self.project.parse_request(text).and_then(|request| self.project.resolve(&request))
        }

        fn error(&self, text: &str) -> String {
            self.find(text).expect_err("must be refused").to_string()
        }
    }

    #[test]
    fn a_name_is_its_entry() {
        let setting = setting();
        assert_eq!(setting.find("tar").expect("an entry"), setting.project.kernels[2]);
    }

    #[test]
    fn an_entry_wins_over_a_file_of_the_same_name() {
        let setting = setting();
        fs::write(setting.root.path().join("tar"), "").expect("write");
        assert_eq!(setting.project.parse_request("tar"), Ok(KernelRequest::Name("tar".into())));
    }

    #[test]
    fn a_path_is_an_image() {
        let setting = setting();
        for text in ["bzImage", "./bzImage"] {
            let kernel = setting.find(text).expect("an image");
            let image = setting.root.path().join("bzImage");
            assert_eq!(kernel.source, Source::Image { image, modules: None, config: None });
            assert_eq!((kernel.name.0.as_str(), kernel.fragments.len()), (text, 0));
        }
        assert!(setting.find("odd@name").is_ok_and(|kernel| matches!(kernel.source, Source::Image { .. })));
    }

    #[test]
    fn a_package_is_taken_literally_and_not_as_a_pattern() {
        let setting = setting();
        let Source::Deb(pattern) = setting.find("linux[1].deb").expect("a package").source else {
            panic!("no package")
        };
        let found: Vec<_> = glob::glob(&pattern).expect("a pattern").collect();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn another_revision_keeps_the_rest_of_the_entry() {
        let setting = setting();
        let kernel = setting.find("linux@HEAD@{1}").expect("a revision");
        let repository = "/src/linux".into();
        assert_eq!(kernel.source, Source::Git { repository, revision: "HEAD@{1}".into() });
        assert_eq!(
            (kernel.name.0.as_str(), &kernel.cmdline[..]),
            ("linux@HEAD@{1}", &["quiet".to_owned()][..])
        );
    }

    #[test]
    fn a_path_to_a_tree_is_built_with_the_base_fragment() {
        let setting = setting();
        let absolute = format!("{}@v6.1", setting.root.path().join("tree").display());
        for text in ["tree@v6.1", "./tree@v6.1", &absolute] {
            let kernel = setting.find(text).expect("a tree");
            let repository = setting.root.path().join("tree");
            assert_eq!(kernel.source, Source::Git { repository, revision: "v6.1".into() });
            assert_eq!(kernel.fragments, [FragmentName("base".into())]);
        }
    }

    #[test]
    fn fragments_are_added_behind_those_of_the_kernel() {
        let setting = setting();
        let names = |text: &str| {
            let kernel = setting.find(text).expect("a kernel");
            let fragments: Vec<String> = kernel.fragments.iter().map(ToString::to_string).collect();
            (kernel.name.0, fragments.join(" "))
        };
        assert_eq!(names("linux+kasan"), ("linux+kasan".into(), "base kasan".into()));
        assert_eq!(names("tar+netns+lockdep"), ("tar+netns+lockdep".into(), "base netns lockdep".into()));
        assert_eq!(names("linux@v6.1+netns"), ("linux@v6.1+netns".into(), "base netns".into()));
        assert_eq!(names("tree@v6.1+preempt").1, "base preempt");
    }

    #[test]
    fn a_plus_in_a_revision_is_part_of_it() {
        let kernel = setting().find("linux@debian/6.1.15-1_bpo11+1+netns").expect("a kernel");
        let revision = "debian/6.1.15-1_bpo11+1".to_owned();
        assert_eq!(kernel.source, Source::Git { repository: "/src/linux".into(), revision });
    }

    #[test]
    fn a_fragment_that_cannot_be_added_is_refused_with_the_reason() {
        let setting = setting();
        assert_snapshot!(setting.error("linux+lokdep").lines().next().expect("a line"), @"unknown fragment `lokdep` behind the `+`");
        assert!(setting.error("linux+lokdep").contains("did you mean `lockdep`?"));
        assert_snapshot!(setting.error("linux+kasan+base"), @r"
        kernel `linux+kasan` has the fragment `base` already
        hint: leave out `+base`
        ");
        assert_snapshot!(setting.error("./bzImage+kasan"), @r"
        kernel `./bzImage` was built elsewhere, so that `+kasan` cannot be added
        hint: name a kernel that is built from source
        ");
        assert!(setting.error("linux+").starts_with("unknown fragment `` behind the `+`"));
    }

    #[test]
    fn an_unknown_name_lists_the_kernels() {
        assert_snapshot!(setting().error("linx"), @r"
        unknown kernel `linx`
        hint: did you mean `linux`? known kernels: `linux`, `linux-stable`, `tar`
        ");
    }

    #[test]
    fn an_image_that_is_not_there_is_refused() {
        assert_snapshot!(setting().error("build/bzImage"), @r"
        there is no kernel image `build/bzImage`
        hint: a path names an image or a `.deb`; a name without `/` names an entry of `kregress.yaml`
        ");
        assert_snapshot!(setting().error("missing.deb"), @r"
        there is no kernel image `missing.deb`
        hint: a path names an image or a `.deb`; a name without `/` names an entry of `kregress.yaml`
        ");
    }

    #[test]
    fn a_directory_is_no_image() {
        assert_snapshot!(setting().error("./tree"), @r"
        `./tree` is a directory, not a kernel image
        hint: `./tree@HEAD` builds its last commit; an entry with `directory:` in `kregress.yaml` builds it as it stands
        ");
    }

    #[test]
    fn an_unknown_tree_lists_those_with_revisions() {
        assert_snapshot!(setting().error("linux-stabel@v6.1"), @r"
        unknown tree `linux-stabel`: neither a kernel of kind `git` nor a directory
        hint: did you mean `linux-stable`? known trees: `linux`, `linux-stable`
        ");
    }

    #[test]
    fn an_unknown_tree_among_none_shows_how_it_is_done() {
        let mut setting = setting();
        setting.project.kernels.truncate(0);
        assert_snapshot!(setting.error("linux@v6.1"), @r"
        unknown tree `linux`: neither a kernel of kind `git` nor a directory
        hint: give the path of a git repository: `~/src/linux@v6.12`
        ");
    }

    #[test]
    fn a_tarball_has_no_revisions() {
        assert_snapshot!(setting().error("tar@v6.1"), @r"
        kernel `tar` is of kind `tarball` and has no revisions
        hint: give the path of a git repository in its place: `~/src/linux@v6.1`
        ");
    }

    #[test]
    fn half_a_request_is_refused() {
        let setting = setting();
        assert_snapshot!(setting.error(""), @r"
        an empty name names no kernel
        hint: `kregress list kernels` shows those that there are
        ");
        assert_snapshot!(setting.error("@v6.1"), @r"
        `@v6.1` names no tree before the `@`
        hint: like this: `~/src/linux@v6.12`, or the name of a kernel of kind `git`
        ");
        assert_snapshot!(setting.error("linux@"), @r"
        `` behind the `@` names no revision
        hint: like this: `~/src/linux@v6.12`
        ");
        assert_snapshot!(setting.error("linux@--all"), @r"
        `--all` behind the `@` is no revision: git would take it for an option
        hint: like this: `~/src/linux@v6.12`
        ");
    }

    #[test]
    fn a_strangers_home_is_refused() {
        assert_snapshot!(setting().error("~torvalds/linux@v6.1"), @r"
        cannot resolve `~torvalds/linux`: only your own home, `~/`, is known
        hint: write the path in full
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(linux|tree|\\./|~)?@?[a-z/@.]{0,6}(\\+kasan|\\+){0,3}|\\PC*") {
            let setting = setting();
            let _ = setting.find(&text).map_err(|error| error.to_string());
        }
    }
}
