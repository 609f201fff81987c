//! What one line of a build log says.

use super::{Cause, Surroundings};
use crate::kernel::progress;

/// An error, in the tool's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) cause: Cause,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) message: String,
}

impl Recognised {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, file: None, line: None, message: message.into() }
    }

    fn at(mut self, file: &str, line: Option<u32>) -> Self {
        self.file = Some(file.to_owned());
        self.line = line;
        self
    }
}

/// Headers of host libraries that tools in the kernel tree are built with.
const HOST_HEADERS: [&str; 11] = [
    "openssl/",
    "libelf.h",
    "gelf.h",
    "elf.h",
    "zlib.h",
    "gmp.h",
    "mpc.h",
    "ncurses.h",
    "dwarf.h",
    "bfd.h",
    "gcc-plugin.h",
];

/// Reads a line as an error, `None` if it is none.
pub(super) fn line(line: &str, around: Surroundings<'_>) -> Option<Recognised> {
    if progress::step(line).is_some() {
        return None;
    }
    not_clean(line)
        .or_else(|| killed(line))
        .or_else(|| damaged(line))
        .or_else(|| missing_program(line))
        .or_else(|| compiler(line))
        .or_else(|| located(line))
        .or_else(|| assembler(line))
        .or_else(|| linker(line, around))
        .or_else(|| modpost(line))
        .or_else(|| make(line))
        .or_else(|| kconfig(line))
        .or_else(|| plain(line))
}

fn not_clean(line: &str) -> Option<Recognised> {
    let found = line.contains("source tree is not clean");
    found.then(|| Recognised::new(Cause::NotClean, line.trim_start_matches(['*', ' ']).trim()))
}

fn killed(line: &str) -> Option<Recognised> {
    let is_killed = line.contains("Killed signal terminated program")
        || line.contains("terminated with signal 9")
        || line.contains("virtual memory exhausted")
        || line.contains("out of memory allocating")
        || line.ends_with("] Killed");
    is_killed.then(|| Recognised::new(Cause::OutOfMemory, line.trim()))
}

fn damaged(line: &str) -> Option<Recognised> {
    let is_damaged = line.contains("file format not recognized")
        || line.contains("file truncated")
        || line.contains("malformed archive");
    is_damaged.then(|| Recognised::new(Cause::Damaged, line.trim()))
}

/// `make[1]: flex: No such file or directory`, `/bin/sh: 1: bc: not found`,
/// `/bin/sh: line 1: bc: command not found`, `env: 'perl': No such file or directory`.
fn missing_program(line: &str) -> Option<Recognised> {
    let (rest, is_shell) =
        match line.strip_suffix(": command not found").or_else(|| line.strip_suffix(": not found")) {
            Some(rest) => (rest, true),
            None => (line.strip_suffix(": No such file or directory")?, false),
        };
    let (who, program) = rest.rsplit_once(": ")?;
    let is_caller = is_shell || who.starts_with("make") || who.ends_with("env");
    let program = program.trim_matches(['\'', '"', '\u{2018}', '\u{2019}']);
    // With a slash it is a file of the tree, and its absence an error of the tree.
    if !is_caller || program.is_empty() || program.contains(['/', ' ']) {
        return None;
    }
    Some(Recognised::new(
        Cause::MissingProgram,
        format!("the build needs `{program}`, which is not installed"),
    ))
}

/// The compiler refuses its command line, or the tree refuses the compiler.
fn compiler(line: &str) -> Option<Recognised> {
    let message = line.trim_start_matches(['*', ' ']).trim();
    let refused = line.starts_with("***") && message.ends_with("is too old.")
        || line.contains(": error: unrecognized command-line option")
        || line.contains(": error: unrecognized command line option");
    refused.then(|| Recognised::new(Cause::Compiler, message))
}

/// `FILE:LINE[:COLUMN]: [fatal ]error: MESSAGE`.
fn located(line: &str) -> Option<Recognised> {
    let (place, message) =
        ["fatal error: ", "error: ", "internal compiler error: "].iter().find_map(|kind| {
            let (place, message) = line.split_once(&format!(": {kind}"))?;
            let message =
                if kind.starts_with("internal") { format!("{kind}{message}") } else { message.to_owned() };
            Some((place, message))
        })?;
    let (file, number) = place_of(place)?;
    let header = message.strip_suffix(": No such file or directory");
    if file.contains("Kconfig") {
        return Some(Recognised::new(Cause::BuildSystem, message).at(file, Some(number)));
    }
    if let Some(header) = header.filter(|header| HOST_HEADERS.iter().any(|known| header.starts_with(known))) {
        let message = format!("the build needs the header `{header}`, which is not installed");
        return Some(Recognised::new(Cause::MissingLibrary, message).at(file, Some(number)));
    }
    Some(Recognised::new(Cause::Code, message).at(file, Some(number)))
}

/// Splits `FILE:LINE[:COLUMN]`.
fn place_of(place: &str) -> Option<(&str, u32)> {
    let (rest, last) = place.rsplit_once(':')?;
    let last = last.parse::<u32>().ok()?;
    let (file, number) = match rest.rsplit_once(':').map(|(file, number)| (file, number.parse::<u32>())) {
        Some((file, Ok(number))) => (file, number),
        _ => (rest, last),
    };
    (!file.is_empty() && !file.contains(": ")).then_some((file, number))
}

/// `FILE:LINE: Error: MESSAGE`; gcc's own output comes as `{standard input}`.
fn assembler(line: &str) -> Option<Recognised> {
    let (place, message) = line.split_once(": Error: ").or_else(|| line.split_once(": Fatal error: "))?;
    if place == "{standard input}" {
        return Some(Recognised::new(Cause::Code, message));
    }
    let (file, number) = place_of(place)?;
    let found = Recognised::new(Cause::Code, message);
    Some(if file == "{standard input}" { found } else { found.at(file, Some(number)) })
}

fn linker(line: &str, around: Surroundings<'_>) -> Option<Recognised> {
    if let Some((place, symbol)) = line.split_once("undefined reference to ") {
        let message = format!("undefined reference to {}", quoted(symbol));
        return Some(reference(&message, place, around));
    }
    if let Some((place, symbol)) = line.split_once("multiple definition of ") {
        let symbol = symbol.split(';').next().unwrap_or(symbol);
        return Some(reference(&format!("multiple definition of {}", quoted(symbol)), place, around));
    }
    if let Some((_, message)) = line.split_once("ld.lld: error: ") {
        return Some(Recognised::new(Cause::Link, message));
    }
    let (program, message) = line.split_once(": ")?;
    let is_linker = program == "ld"
        || program.ends_with("-ld")
        || program.ends_with("/ld")
        || program.ends_with("ld.bfd");
    let is_error = message.contains("cannot find ")
        || message.contains("region `")
        || message.starts_with("final link failed")
        || message.contains("will not fit in region")
        || message.contains("relocation truncated to fit");
    if !is_linker || !is_error {
        return None;
    }
    // The kernel itself is linked with no library: a tool is.
    Some(match message.split_once("cannot find -l") {
        Some((_, library)) => {
            let library = library.split(':').next().unwrap_or(library).trim();
            let message = format!("the build needs the library `{library}`, which is not installed");
            Recognised::new(Cause::MissingLibrary, message)
        }
        None => Recognised::new(Cause::Link, message),
    })
}

/// An error about a symbol at `[ld: ]PLACE: `, where PLACE is `FILE:LINE` or
/// `FILE:(.text+0x12)`, perhaps below a line that names the function.
fn reference(message: &str, place: &str, around: Surroundings<'_>) -> Recognised {
    let place = place.trim_end_matches([' ', ':']);
    let place = place.rsplit(": ").next().unwrap_or(place);
    let function = around.before().take(8).find_map(|line| {
        let (_, function) = line.split_once(": in function ")?;
        Some(quoted(function))
    });
    let message = match function {
        Some(function) => format!("{message} in {function}"),
        None => message.to_owned(),
    };
    let found = Recognised::new(Cause::Link, message);
    if let Some((file, number)) = place_of(place) {
        return found.at(file, Some(number));
    }
    match place.split_once(":(") {
        Some((file, _)) => found.at(file, None),
        None => found,
    }
}

/// Turns the linker's `` `name' `` into `` `name` ``.
fn quoted(symbol: &str) -> String {
    format!(
        "`{}`",
        symbol.trim().trim_end_matches(':').trim_matches(['`', '\'', '"', '\u{2018}', '\u{2019}'])
    )
}

/// `ERROR: modpost: "symbol" [drivers/net/dummy.ko] undefined!`.
fn modpost(line: &str) -> Option<Recognised> {
    let message = line.strip_prefix("ERROR: modpost: ").or_else(|| line.strip_prefix("ERROR: "))?;
    let Some((symbol, rest)) = message.split_once(" [").filter(|(_, rest)| rest.ends_with("] undefined!"))
    else {
        return line.starts_with("ERROR: modpost: ").then(|| Recognised::new(Cause::Link, message));
    };
    let module = rest.trim_end_matches("] undefined!");
    Some(Recognised::new(Cause::Link, format!("undefined symbol {}", quoted(symbol))).at(module, None))
}

/// `make[2]: *** No rule to make target 'x', needed by 'y'.  Stop.` and
/// `FILE:LINE: *** missing separator.  Stop.`
fn make(line: &str) -> Option<Recognised> {
    let (before, message) = line.split_once("*** ")?;
    let message = message.strip_suffix("Stop.")?.trim_end().trim_end_matches('.');
    let found = Recognised::new(Cause::BuildSystem, message);
    Some(match place_of(before.trim_end().trim_end_matches(':')) {
        Some((file, number)) => found.at(file, Some(number)),
        None => found,
    })
}

/// `net/Kconfig:10: syntax error`, `net/Kconfig:5: can't open file "net/x/Kconfig"`,
/// `init/Kconfig:3:error: recursive dependency detected!`.
fn kconfig(line: &str) -> Option<Recognised> {
    let (file, rest) = line.split_once(':')?;
    let name = file.rsplit('/').next().unwrap_or(file);
    let (number, message) = rest.split_once(':')?;
    let number = number.parse().ok()?;
    let message = message.trim();
    let message = message.strip_prefix("error:").map_or(message, str::trim);
    let is_error = name.starts_with("Kconfig") && !message.is_empty() && !message.starts_with("warning");
    is_error.then(|| Recognised::new(Cause::BuildSystem, message).at(file, Some(number)))
}

/// Errors of tools that name no line: `gcc: error: x`, `error: x`, `a.o: error: objtool: x`.
fn plain(line: &str) -> Option<Recognised> {
    if let Some(message) = line.strip_prefix("error: ") {
        return Some(Recognised::new(Cause::Unknown, message));
    }
    let (who, message) = line.split_once(": fatal error: ").or_else(|| line.split_once(": error: "))?;
    if who.contains(' ') {
        return None;
    }
    let is_object = who.ends_with(".o") || who.ends_with(".ko");
    if is_object {
        return Some(Recognised::new(Cause::Code, message).at(who, None));
    }
    let is_compiler =
        who.contains("gcc") || who.contains("cc1") || who.contains("clang") || who == "collect2";
    let cause = if is_compiler { Cause::Code } else { Cause::Unknown };
    Some(Recognised::new(cause, format!("{who}: {message}")))
}

/// The target in `make[3]: *** [scripts/Makefile.build:229: net/core/dev.o] Error 1`.
pub(super) fn target_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("*** [")?;
    let (place, _) = rest.split_once(']')?;
    let target = place.rsplit(": ").next()?;
    (!target.is_empty()).then_some(target)
}

/// When nothing else was recognised: what make gave up on, and the last thing
/// that was said before.
pub(super) fn failed_target(around: Surroundings<'_>) -> Option<Recognised> {
    let target = target_of(around.lines.get(around.at)?)?;
    let said = around.before().map(str::trim).find(|line| !line.is_empty());
    let said = said.filter(|line| !line.starts_with("make") && !is_step(line));
    let message = match said {
        Some(said) => format!("make gave up on `{target}`: {said}"),
        None => format!("make gave up on `{target}`"),
    };
    Some(Recognised::new(Cause::Unknown, message))
}

fn is_step(trimmed: &str) -> bool {
    progress::step(&format!("  {trimmed}")).is_some()
}
