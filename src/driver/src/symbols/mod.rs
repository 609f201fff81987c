//! From places in a stack trace to lines of the source.
//!
//! Owns one `vmlinux` with debug information: which function a name and a size
//! mean, and which lines an address in it came from, with those of inlined
//! callees. Says nothing rather than something that may be wrong: a name that
//! several functions have is told apart by its size, and one of a size that the
//! file does not have is of another kernel. Modules are not looked up. Must not
//! change a verdict or a fingerprint.

mod observer;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimli::{EndianArcSlice, LittleEndian};
use object::elf;
use object::read::elf::ElfFile64;
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _, ReadCache, ReadRef, SymbolKind};

pub use observer::Symbolising;

use crate::console::{Place, PlaceKind, SourceLine};

type Reader = EndianArcSlice<LittleEndian>;
type Elf<'data, R> = ElfFile64<'data, object::Endianness, R>;

/// Most bytes of padding behind a function. The kernel counts a function up to
/// the next symbol (`kallsyms_lookup_size_offset()`), the file without what
/// aligns the next one; 64 is the largest `CONFIG_FUNCTION_ALIGNMENT`.
const PADDING: u64 = 64;

/// Inlined callees of one frame that are told.
const INLINED: usize = 16;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It is no ELF file, or a damaged one.
    #[error("`{}` cannot be understood: {reason}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// The reader's words.
        reason: String,
    },
    /// It was built or stripped without.
    #[error("`{}` has no debug information", path.display())]
    Bare {
        /// Which one.
        path: PathBuf,
    },
    /// More than there is memory for.
    #[error("the debug information of `{}` takes {bytes} bytes, {budget} are left for it", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// Of the sections that are needed.
        bytes: u64,
        /// What is left.
        budget: u64,
    },
}

/// A function of the kernel itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Function {
    address: u64,
    size: u64,
}

/// A `vmlinux` with debug information.
pub struct Symbols {
    functions: HashMap<String, Vec<Function>>,
    lines: addr2line::Context<Reader>,
    /// The source tree as the compiler knew it, with a slash at its end.
    root: Option<String>,
    bytes: u64,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").field("functions", &self.functions.len()).finish_non_exhaustive()
    }
}

impl Symbols {
    /// Reads what is needed of a `vmlinux`; at most `budget` bytes of debug
    /// information are kept in memory.
    ///
    /// # Errors
    ///
    /// As [`SymbolsError`] says.
    pub fn open(path: &Path, budget: u64) -> Result<Self, SymbolsError> {
        let read = |source| SymbolsError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let cache = ReadCache::new(file);
        let damaged = |error: &dyn std::fmt::Display| SymbolsError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let elf = Elf::parse(&cache).map_err(|error| damaged(&error))?;
        if elf.section_by_name(".debug_info").is_none() || elf.section_by_name(".debug_line").is_none() {
            return Err(SymbolsError::Bare { path: path.to_owned() });
        }
        let bytes = elf.sections().filter(|section| section.name().is_ok_and(is_needed));
        let bytes = bytes.map(|section| section.size()).fold(0_u64, u64::saturating_add);
        if bytes > budget {
            return Err(SymbolsError::TooLarge { path: path.to_owned(), bytes, budget });
        }
        let load = |id: gimli::SectionId| section(&elf, id.name());
        let dwarf = gimli::Dwarf::load(load).map_err(|error| damaged(&error))?;
        let lines = addr2line::Context::from_dwarf(dwarf).map_err(|error| damaged(&error))?;
        let mut symbols = Self { functions: functions(&elf), lines, root: None, bytes };
        symbols.root = symbols.find_root();
        Ok(symbols)
    }

    /// Bytes of debug information that it keeps.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines of a place, the innermost inlined callee first; none if it is not
    /// known for certain.
    #[must_use]
    pub fn lines(&self, place: &Place) -> Vec<SourceLine> {
        if place.module.is_some() || place.offset >= place.size {
            return Vec::new();
        }
        let Some(function) = self.function(&place.symbol, place.size) else { return Vec::new() };
        let address = function.address.saturating_add(place.offset);
        // A return address is behind the call, perhaps on the next line.
        let address = match place.kind {
            PlaceKind::Exact => address,
            PlaceKind::Return => address.saturating_sub(1),
        };
        self.lines_of(address)
    }

    /// The only function of this name that has this size.
    fn function(&self, name: &str, size: u64) -> Option<Function> {
        let all = self.functions.get(name)?;
        let fits = |it: &&Function| it.size <= size && size - it.size < PADDING;
        let exact = all.iter().filter(|it| it.size == size).collect::<Vec<_>>();
        let found = if exact.is_empty() { all.iter().filter(fits).collect() } else { exact };
        match found[..] {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn lines_of(&self, address: u64) -> Vec<SourceLine> {
        let mut lines = Vec::new();
        let Ok(mut frames) = self.lines.find_frames(address).skip_all_loads() else { return lines };
        while let Ok(Some(frame)) = frames.next() {
            let name =
                frame.function.as_ref().and_then(|it| it.raw_name().ok()).map(|name| name.into_owned());
            let Some((file, line)) = frame.location.and_then(|it| Some((it.file?, it.line?))) else {
                continue;
            };
            lines.push(SourceLine { function: name.unwrap_or_default(), file: self.relative(file), line });
            if lines.len() == INLINED {
                break;
            }
        }
        lines
    }

    /// Learns where the tree lay from a function whose file every kernel has.
    fn find_root(&self) -> Option<String> {
        let start = self.functions.get("start_kernel")?.first()?;
        let location = self.lines.find_location(start.address).ok()??;
        normal(location.file?).strip_suffix("init/main.c").map(str::to_owned)
    }

    fn relative(&self, file: &str) -> String {
        let file = normal(file);
        match self.root.as_deref().and_then(|root| file.strip_prefix(root)) {
            Some(relative) => relative.to_owned(),
            None => file,
        }
    }
}

/// Whether lines need a section; types and variables are left out.
fn is_needed(name: &str) -> bool {
    const NEEDED: [&str; 10] = [
        ".debug_abbrev",
        ".debug_addr",
        ".debug_aranges",
        ".debug_info",
        ".debug_line",
        ".debug_line_str",
        ".debug_ranges",
        ".debug_rnglists",
        ".debug_str",
        ".debug_str_offsets",
    ];
    NEEDED.contains(&name)
}

fn section<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>, name: &str) -> Result<Reader, object::Error> {
    let found = elf.section_by_name(name).filter(|_| is_needed(name));
    let data = found.map(|section| section.uncompressed_data()).transpose()?;
    Ok(Reader::new(Arc::from(data.as_deref().unwrap_or_default()), LittleEndian))
}

fn functions<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> HashMap<String, Vec<Function>> {
    let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
    for symbol in elf.symbols() {
        let is_code = symbol.kind() == SymbolKind::Text || symbol.flags().is_untyped_code();
        if let Ok(name) = symbol.name()
            && is_code
            && !name.is_empty()
        {
            let function = Function { address: symbol.address(), size: symbol.size() };
            let of_name = functions.entry(name.to_owned()).or_default();
            if !of_name.contains(&function) {
                of_name.push(function);
            }
        }
    }
    functions
}

/// Functions of assembly code may have no type.
trait Untyped {
    fn is_untyped_code(&self) -> bool;
}

impl<S, T> Untyped for object::SymbolFlags<S, T> {
    fn is_untyped_code(&self) -> bool {
        matches!(self, Self::Elf { st_info, .. } if st_info & 0xf == elf::STT_NOTYPE)
    }
}

/// Without `.` and `..`, which builds outside of the tree leave in paths.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, "" | "..")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Place;

    fn tiny() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/symbols/tiny.elf")
    }

    const BUDGET: u64 = 1 << 20;

    fn lines(text: &str, kind: PlaceKind) -> Vec<String> {
        let symbols = Symbols::open(&tiny(), BUDGET).expect("debug information");
        let place = Place::parse(text, kind).expect("a place");
        let text = |line: SourceLine| format!("{} {}:{}", line.function, line.file, line.line);
        symbols.lines(&place).into_iter().map(text).collect()
    }

    #[test]
    fn a_return_address_is_the_line_of_the_call() {
        assert_eq!(lines("tcp_close+0x5/0x10", PlaceKind::Return), ["tcp_close net/ipv4/tcp.c:18"]);
        assert_eq!(lines("start_kernel+0x9/0x20", PlaceKind::Return), ["start_kernel init/main.c:7"]);
    }

    #[test]
    fn an_instruction_pointer_is_taken_as_it_is() {
        assert_eq!(lines("dev_close+0x5/0x20", PlaceKind::Return), ["dev_close net/core/dev.c:12"]);
        assert_eq!(
            lines("dev_close+0x5/0x20", PlaceKind::Exact),
            ["skb_check include/linux/skb.h:3", "dev_close net/core/dev.c:13"]
        );
    }

    #[test]
    fn an_inlined_function_comes_before_its_caller() {
        assert_eq!(
            lines("dev_close.cold+0x0/0x10", PlaceKind::Exact),
            ["skb_check include/linux/skb.h:4", "dev_close net/core/dev.c:13"]
        );
    }

    #[test]
    fn equal_names_are_told_apart_by_their_size() {
        assert_eq!(lines("cleanup+0xa/0x10", PlaceKind::Exact), ["cleanup net/core/dev.c:8"]);
        assert_eq!(lines("cleanup+0x45/0x50", PlaceKind::Exact), ["cleanup net/ipv4/tcp.c:9"]);
    }

    #[test]
    fn a_name_that_stays_ambiguous_says_nothing() {
        assert!(lines("release+0x5/0x10", PlaceKind::Exact).is_empty());
    }

    #[test]
    fn a_function_of_another_size_is_of_another_kernel() {
        assert!(lines("tcp_close+0x5/0x200", PlaceKind::Return).is_empty());
        assert!(lines("tcp_close+0x5/0x7", PlaceKind::Return).is_empty());
    }

    #[test]
    fn modules_and_unknown_names_say_nothing() {
        assert!(lines("tcp_close+0x5/0x10 [tcp]", PlaceKind::Return).is_empty());
        assert!(lines("nobody+0x5/0x10", PlaceKind::Return).is_empty());
    }

    #[test]
    fn an_offset_beyond_the_function_says_nothing() {
        assert!(lines("tcp_close+0x500/0x10", PlaceKind::Exact).is_empty());
        assert!(lines("tcp_close+0xffffffffffffffff/0xffffffffffffffff", PlaceKind::Exact).is_empty());
    }

    #[test]
    fn a_file_without_debug_information_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("vmlinux");
        std::fs::write(&path, b"no ELF").expect("written");
        assert!(matches!(Symbols::open(&path, BUDGET), Err(SymbolsError::Damaged { .. })));
        let bytes = std::fs::read(tiny()).expect("the file");
        for cut in (0..bytes.len()).step_by(97) {
            std::fs::write(&path, &bytes[..cut]).expect("written");
            if let Ok(symbols) = Symbols::open(&path, BUDGET) {
                let place = Place::parse("tcp_close+0x5/0x10", PlaceKind::Return).expect("a place");
                let _ = symbols.lines(&place);
            }
        }
        assert!(Symbols::open(dir.path(), BUDGET).is_err());
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        assert!(matches!(Symbols::open(&tiny(), 10), Err(SymbolsError::TooLarge { budget: 10, .. })));
    }

    #[test]
    fn paths_are_without_detours() {
        assert_eq!(normal("/a/b/../c/./d.c"), "/a/c/d.c");
        assert_eq!(normal("../a/b.c"), "../a/b.c");
        assert_eq!(normal("a//b.c"), "a/b.c");
        assert_eq!(normal("/../a"), "/../a");
    }
}
