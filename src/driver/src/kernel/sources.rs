//! Which files of its tree a built kernel is made of, as kbuild recorded it: the
//! objects that were linked, and what the compiler read for each.
//!
//! Known are the objects of `vmlinux` and of the modules, objects that are only
//! linked on demand included, and everything in the directories of programs
//! that kbuild embeds. Left out are makefiles, `Kconfig` files, host programs and
//! what unpacks a `bzImage`: who looks for a file of those finds nothing here,
//! and must not take that for a proof. Kernels before 5.17 do not record what
//! `vmlinux` is linked of; nothing is known of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::Kernel;
use super::error::{At as _, FileError};
use super::store::Modules;

/// Programs that kbuild links for themselves and puts into the kernel as bytes:
/// all that is in these directories counts, also what an earlier build left.
const EMBEDDED: [&str; 2] = ["arch/x86/entry/vdso", "arch/x86/realmode/rm"];

/// Records of what every kernel is made with: its linker script, and the
/// offsets that its assembly knows.
const ALWAYS: [&str; 3] =
    ["arch/x86/kernel/.vmlinux.lds.cmd", "arch/x86/kernel/.asm-offsets.s.cmd", "kernel/.bounds.s.cmd"];

/// Archives within archives are followed this far. Kbuild makes them one deep.
const DEPTH: usize = 8;

impl Kernel {
    /// The files of its tree that it is made of, headers included, relative to
    /// the top: `net/core/net_namespace.c`. None where that is not known: a kernel
    /// that was not built by us, or too long ago.
    ///
    /// # Errors
    ///
    /// Fails when the list is there and cannot be read.
    pub fn source_files(&self) -> Result<Option<BTreeSet<String>>, FileError> {
        let Some(path) = &self.sources else { return Ok(None) };
        let text = fs::read(path).at("read", path)?;
        Ok(Some(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()))
    }
}

/// The objects that a finished build has linked into `vmlinux` and into modules,
/// relative to it. None where its records say too little: that is no fault of the
/// build.
pub(super) fn linked(build: &Path, modules: Modules) -> Option<BTreeSet<String>> {
    let mut objects = linked_paths(build, modules)?;
    if modules == Modules::Some {
        // What modules are linked of goes by way of these.
        let whole = modules_of(build).map(|module| module.with_extension("o"));
        objects.extend(whole.flat_map(|whole| [whole.with_extension("mod.o"), whole]));
    }
    let name = |path: &PathBuf| plain(path.strip_prefix(build).ok()?.to_str()?);
    Some(objects.iter().filter_map(name).collect())
}

fn linked_paths(build: &Path, modules: Modules) -> Option<BTreeSet<PathBuf>> {
    let mut objects = BTreeSet::new();
    let linked = fs::read_to_string(build.join(".vmlinux.o.cmd")).ok()?;
    for word in linked_words(&linked) {
        let path = build.join(word);
        match path.extension()?.to_str()? {
            "a" => members(&path, DEPTH, &mut objects)?,
            _ => _ = objects.insert(path),
        }
    }
    if modules == Modules::Some {
        objects.extend(objects_of_modules(build));
    }
    Some(objects)
}

/// Reads the files that a finished build is made of. None where its records say
/// too little: that is no fault of the build.
pub(super) fn of_build(build: &Path, source: &Path, modules: Modules) -> Option<BTreeSet<String>> {
    let objects = linked_paths(build, modules)?;
    let embedded = EMBEDDED.iter().filter_map(|directory| fs::read_dir(build.join(directory)).ok());
    let embedded = embedded.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let records = objects
        .iter()
        .filter_map(|object| record_of(object))
        .chain(ALWAYS.iter().map(|name| build.join(name)))
        .chain(embedded.filter(|path| path.extension().is_some_and(|extension| extension == "cmd")));
    // The compiler names the tree as make does, and make follows links.
    let top = fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
    let mut files = BTreeSet::new();
    for record in records {
        // Objects that no compiler made have none.
        let Ok(text) = fs::read(record) else { continue };
        for file in compiled_from(&String::from_utf8_lossy(&text)) {
            let inside = file.strip_prefix(top.to_str()?).or_else(|| file.strip_prefix(source.to_str()?));
            let Some(inside) = inside.and_then(|inside| inside.strip_prefix('/')) else { continue };
            if files.contains(inside) {
                continue;
            }
            if let Some(file) = plain(inside) {
                files.insert(file);
            }
        }
    }
    (!files.is_empty()).then_some(files)
}

/// One file a line.
pub(super) fn to_text(files: &BTreeSet<String>) -> String {
    files.iter().map(|file| format!("{file}\n")).collect()
}

/// `net/core/.dev.o.cmd` of `net/core/dev.o`.
fn record_of(object: &Path) -> Option<PathBuf> {
    Some(object.with_file_name(format!(".{}.cmd", object.file_name()?.to_str()?)))
}

/// Archives and objects in the command that linked `vmlinux.o`.
fn linked_words(record: &str) -> Vec<&str> {
    let Some((_, command)) = record.lines().next().and_then(|line| line.split_once(":=")) else {
        return Vec::new();
    };
    // Other commands follow, which look at what the first has made.
    let command = command.split(';').next().unwrap_or_default();
    command
        .split_whitespace()
        .filter(|word| *word != "vmlinux.o" && !word.starts_with('-'))
        .filter(|word| word.ends_with(".a") || word.ends_with(".o"))
        .collect()
}

/// Adds the objects of a thin archive, those of archives in it included. None if
/// it is no thin archive.
fn members(archive: &Path, depth: usize, objects: &mut BTreeSet<PathBuf>) -> Option<()> {
    let bytes = fs::read(archive).ok()?;
    let directory = archive.parent()?;
    for member in thin_members(&bytes)? {
        match member {
            Member::Object(name) => _ = objects.insert(directory.join(name)),
            Member::Within(inner) if depth > 0 => members(&directory.join(inner), depth - 1, objects)?,
            Member::Within(_) => return None,
        }
    }
    Some(())
}

/// A member of a thin archive, by its path from the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Object(String),
    /// Of another archive, of which this is the path.
    Within(String),
}

/// Takes a thin archive apart (ar(5), and bfd/archive.c of binutils). Its members
/// are headers without contents; names are in a table of their own.
fn thin_members(bytes: &[u8]) -> Option<Vec<Member>> {
    let mut rest = bytes.strip_prefix(b"!<thin>\n")?;
    let mut names: &[u8] = b"";
    let mut members = Vec::new();
    while !rest.is_empty() {
        let header = rest.get(..60)?;
        rest = rest.get(60..)?;
        let field =
            |range: std::ops::Range<usize>| Some(std::str::from_utf8(header.get(range)?).ok()?.trim());
        // Binutils may leave a `/` at the end of the field, from a name that was
        // there before.
        let name = field(0..16)?.split_whitespace().next()?;
        let size: usize = field(48..58)?.parse().ok()?;
        if matches!(name, "/" | "//" | "/SYM64/") {
            let table = rest.get(..size)?;
            if name == "//" {
                names = table;
            }
            // Padded to an even size, but not always at the end.
            rest = rest.get(size.checked_add(size & 1)?..).unwrap_or_default();
        } else if let Some(place) = name.strip_prefix('/') {
            let (offset, is_within) = match place.split_once(':') {
                Some((offset, _)) => (offset, true),
                None => (place, false),
            };
            let name = names.get(offset.parse::<usize>().ok()?..)?;
            let name = &name[..name.iter().position(|&byte| byte == b'\n')?];
            let name = std::str::from_utf8(name).ok()?.strip_suffix('/')?.to_owned();
            members.push(if is_within { Member::Within(name) } else { Member::Object(name) });
        } else {
            members.push(Member::Object(name.strip_suffix('/')?.to_owned()));
        }
    }
    Some(members)
}

/// Modules of this build: those of an earlier one are not in `modules.order` any
/// more. Without the `.ko` that only some versions write there.
fn modules_of(build: &Path) -> impl Iterator<Item = PathBuf> {
    let order = fs::read_to_string(build.join("modules.order")).unwrap_or_default();
    let modules: Vec<_> = order.lines().map(|module| build.join(module).with_extension("")).collect();
    modules.into_iter()
}

/// Objects of the modules of this build.
fn objects_of_modules(build: &Path) -> Vec<PathBuf> {
    let lists = modules_of(build).map(|module| module.with_extension("mod"));
    let texts = lists.filter_map(|list| fs::read_to_string(list).ok());
    texts
        .flat_map(|text| {
            let objects = text.split_whitespace().filter(|word| word.ends_with(".o"));
            objects.map(|object| build.join(object)).collect::<Vec<_>>()
        })
        .collect()
}

/// The files that a record of kbuild names: the source, and what it includes.
fn compiled_from(record: &str) -> impl Iterator<Item = &str> {
    record.lines().filter_map(|line| {
        if line.starts_with("source_") {
            return Some(line.split_once(":=")?.1.trim());
        }
        // `$(wildcard include/config/...)` is about the configuration.
        let file = line.strip_prefix("  ")?.trim_end_matches('\\').trim();
        (!file.starts_with('$')).then_some(file)
    })
}

/// A path without `..`, which included C files bring along. None if it leads
/// out of the tree.
pub(super) fn plain(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => _ = parts.pop()?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A thin archive as binutils writes it; `within` are members of another one.
    fn thin(objects: &[&str], within: &[&str]) -> Vec<u8> {
        let mut table = String::new();
        let mut headers = Vec::new();
        let names = objects.iter().map(|name| (name, "")).chain(within.iter().map(|name| (name, ":8")));
        for (name, origin) in names {
            headers.extend(header(&format!("/{}{origin}", table.len()), 4160));
            table.push_str(&format!("{name}/\n"));
        }
        if table.len() % 2 == 1 {
            table.push('\n');
        }
        [
            b"!<thin>\n".to_vec(),
            header("/", 4),
            b"1234".to_vec(),
            header("//", table.len()),
            table.into_bytes(),
            headers,
        ]
        .concat()
    }

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).into_bytes()
    }

    fn write(root: &Path, file: &str, text: impl AsRef<[u8]>) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    fn record(source: &Path, object: &str, files: &[&str]) -> String {
        let top = source.display();
        let headers: String = files[1..].iter().map(|file| format!("  {top}/{file} \\\n")).collect();
        format!(
            "savedcmd_{object} := gcc -c -o {object} {top}/{first}\n\nsource_{object} := {top}/{first}\n\n\
             deps_{object} := \\\n    $(wildcard include/config/NET_NS) \\\n{headers}  ./include/generated/autoconf.h \\\n  \
             /usr/lib/gcc/include/stdarg.h \\\n\n{object}: $(deps_{object})\n\n$(deps_{object}):\n",
            first = files[0]
        )
    }

    /// A build as 6.12 leaves it.
    fn built() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = fs::canonicalize(dir.path()).expect("canonical");
        let (build, source) = (root.join("build"), root.join("source"));
        fs::create_dir_all(&source).expect("mkdir");
        write(
            &build,
            ".vmlinux.o.cmd",
            "savedcmd_vmlinux.o := ld -r -o vmlinux.o --whole-archive vmlinux.a --no-whole-archive \
             --start-group --end-group ; ./tools/objtool/objtool --link vmlinux.o other.a\n",
        );
        write(&build, "vmlinux.a", thin(&["net/core/dev.o", "lib/made.o"], &["lib/lib.a"]));
        write(&build, "lib/lib.a", thin(&["crc32.o"], &[]));
        write(
            &build,
            "net/core/.dev.o.cmd",
            record(&source, "net/core/dev.o", &["net/core/dev.c", "include/net/sock.h"]),
        );
        write(&build, "lib/.crc32.o.cmd", record(&source, "lib/crc32.o", &["lib/crc32.c"]));
        // What another configuration left.
        write(&build, "net/core/.stale.o.cmd", record(&source, "net/core/stale.o", &["net/core/stale.c"]));
        write(
            &build,
            "arch/x86/entry/vdso/.vgetcpu.o.cmd",
            record(
                &source,
                "vgetcpu.o",
                &["arch/x86/entry/vdso/vgetcpu.c", "arch/x86/entry/vdso/../../../../lib/vdso/x.c"],
            ),
        );
        write(&build, "modules.order", "net/xfrm/xfrm_interface.o\n");
        write(&build, "net/xfrm/xfrm_interface.mod", "net/xfrm/xfrm_interface_core.o\n");
        write(
            &build,
            "net/xfrm/.xfrm_interface_core.o.cmd",
            record(&source, "net/xfrm/xfrm_interface_core.o", &["net/xfrm/xfrm_interface_core.c"]),
        );
        (dir, build, source)
    }

    #[test]
    fn a_kernel_is_made_of_what_was_linked_and_nothing_else() {
        let (_dir, build, source) = built();
        let files = of_build(&build, &source, Modules::Some).expect("files");
        insta::assert_snapshot!(to_text(&files), @r"
        arch/x86/entry/vdso/vgetcpu.c
        include/net/sock.h
        lib/crc32.c
        lib/vdso/x.c
        net/core/dev.c
        net/xfrm/xfrm_interface_core.c
        ");
        let without = of_build(&build, &source, Modules::None).expect("files");
        assert!(!without.iter().any(|file| file.contains("xfrm")), "{without:?}");
    }

    #[test]
    fn what_is_linked_is_named_with_what_modules_are_linked_of() {
        let (_dir, build, _source) = built();
        let objects = linked(&build, Modules::Some).expect("objects");
        insta::assert_snapshot!(to_text(&objects), @r"
        lib/crc32.o
        lib/made.o
        net/core/dev.o
        net/xfrm/xfrm_interface.mod.o
        net/xfrm/xfrm_interface.o
        net/xfrm/xfrm_interface_core.o
        ");
        let without = linked(&build, Modules::None).expect("objects");
        assert!(!without.iter().any(|object| object.contains("xfrm")), "{without:?}");
        fs::remove_file(build.join(".vmlinux.o.cmd")).expect("remove");
        assert_eq!(linked(&build, Modules::Some), None, "older than 5.17");
    }

    #[test]
    fn a_tree_behind_a_link_is_the_same_tree() {
        let (_dir, build, source) = built();
        let link = source.with_file_name("link");
        std::os::unix::fs::symlink(&source, &link).expect("link");
        assert_eq!(of_build(&build, &link, Modules::Some), of_build(&build, &source, Modules::Some));
    }

    #[test]
    fn of_a_build_that_says_too_little_nothing_is_known() {
        let (_dir, build, source) = built();
        for (file, text) in [("vmlinux.a", "!<arch>\n"), ("lib/lib.a", ""), (".vmlinux.o.cmd", "")] {
            let before = fs::read(build.join(file)).expect("read");
            fs::remove_file(build.join("arch/x86/entry/vdso/.vgetcpu.o.cmd")).unwrap_or_default();
            write(&build, file, text);
            assert_eq!(of_build(&build, &source, Modules::None), None, "{file}");
            write(&build, file, before);
        }
        fs::remove_file(build.join(".vmlinux.o.cmd")).expect("remove");
        assert_eq!(of_build(&build, &source, Modules::None), None, "older than 5.17");
    }

    #[test]
    fn what_binutils_leaves_in_a_name_is_not_part_of_it() {
        let text = String::from_utf8(thin(&["net/core/dev.o"], &[])).expect("utf-8");
        let text = text.replace("/0              0 ", "/0             /0 ");
        let object = Member::Object("net/core/dev.o".to_owned());
        assert_eq!(thin_members(text.as_bytes()), Some(vec![object]));
        assert!(text.contains("/0             /0"), "{text}");
    }

    #[test]
    fn an_archive_that_holds_itself_ends() {
        let (_dir, build, source) = built();
        write(&build, "lib/lib.a", thin(&[], &["lib.a"]));
        assert_eq!(of_build(&build, &source, Modules::None), None);
    }

    #[test]
    fn paths_that_lead_out_of_the_tree_are_of_no_file_in_it() {
        assert_eq!(plain("a/./b/../c").as_deref(), Some("a/c"));
        assert_eq!(plain("a/../../etc"), None);
        assert_eq!(plain("a/.."), None);
    }

    proptest! {
        #[test]
        fn every_member_of_a_thin_archive_is_found(names in proptest::collection::vec("[a-z][a-z/_.]{0,20}", 0..8)) {
            let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
            let expected: Vec<_> = names.iter().cloned().map(Member::Object).collect();
            prop_assert_eq!(thin_members(&thin(&borrowed, &[])), Some(expected));
        }

        #[test]
        fn any_bytes_are_an_archive_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            let mut real = thin(&["a.o", "b.o"], &["c.a"]);
            real.truncate(cut);
            real.append(&mut bytes);
            if let Some(members) = thin_members(&real) {
                prop_assert!(members.len() <= real.len() / 60);
            }
        }
    }
}
