//! What has to be built for the programs that are asked for. Pure.
//!
//! A Makefile names what it makes, and says nothing of which script starts which
//! of these. The scripts do: the name stands in them, or in a file of the collection
//! that they read. A name that only looks like one costs a compiler's second.

use std::collections::{BTreeMap, BTreeSet};

/// Name of the rule that [`PRINT`] adds.
pub(super) const GOAL: &str = "kregress-lists";

/// Makes `make` print what [`Lists::parse`] reads.
pub(super) const PRINT: &str = "kregress-lists: ; @: $(info kregress-made $(TEST_GEN_PROGS) \
     $(TEST_GEN_PROGS_EXTENDED) $(TEST_GEN_FILES) $(TEST_CUSTOM_PROGS))\
     $(info kregress-there $(TEST_PROGS) $(TEST_PROGS_EXTENDED) $(TEST_FILES))";

/// Longest way from a script to what it reads by way of others.
const DEPTH: usize = 4;

/// What a collection's Makefile names, without directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// What it makes.
    pub(super) made: BTreeSet<String>,
    /// What lies there as it is.
    pub(super) there: BTreeSet<String>,
}

impl Lists {
    pub(super) fn parse(text: &str) -> Self {
        let words = |prefix: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
            let words = lines.flat_map(str::split_whitespace);
            words.filter_map(|word| word.rsplit('/').next()).map(str::to_owned).collect()
        };
        Self { made: words("kregress-made"), there: words("kregress-there") }
    }
}

/// What is to be made, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Makes {
    pub(super) targets: BTreeSet<String>,
    /// What each script seems to start.
    pub(super) started: BTreeMap<String, BTreeSet<String>>,
}

impl Makes {
    /// `read` gives the text of a file of the collection, if it is there.
    pub(super) fn of(
        programs: &BTreeSet<String>,
        lists: &Lists,
        read: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut makes = Self::default();
        for program in programs {
            if lists.made.contains(program) {
                makes.targets.insert(program.clone());
                continue;
            }
            let started = started(program, lists, &read);
            makes.targets.extend(started.iter().cloned());
            if !started.is_empty() {
                makes.started.insert(program.clone(), started);
            }
        }
        makes
    }
}

/// What a script seems to start, itself or by way of files beside it.
fn started(script: &str, lists: &Lists, read: &impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([script.to_owned()]);
    let mut next = vec![script.to_owned()];
    for _ in 0..DEPTH {
        for name in std::mem::take(&mut next) {
            let Some(text) = read(&name) else { continue };
            for word in words(&text) {
                if lists.made.contains(word) {
                    found.insert(word.to_owned());
                } else if (lists.there.contains(word) || word.ends_with(".sh"))
                    && seen.insert(word.to_owned())
                {
                    next.push(word.to_owned());
                }
            }
        }
    }
    found
}

/// Names in a script: what may be one of a file, without its directory. Comments
/// speak of other programs and start none.
fn words(script: &str) -> impl Iterator<Item = &str> {
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.flat_map(|line| line.split(|char: char| !(char.is_ascii_alphanumeric() || "._-+".contains(char))))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn lists() -> Lists {
        Lists::parse(
            "make: Entering directory '/s/net'\n\
             kregress-made /s/net/tls /s/net/tun  /s/net/nettest /s/net/msg_zerocopy\n\
             kregress-there run.sh lib.sh zc.sh forwarding/lib2.sh settings\n",
        )
    }

    fn read(name: &str) -> Option<String> {
        let text = match name {
            "zc.sh" => "#!/bin/bash\n# see also tls\nsource lib.sh\nreadonly BIN=\"./msg_zerocopy\"\n",
            "run.sh" => ". ./lib.sh\nip link\n",
            "lib.sh" => "source lib.sh\nstart() { \"$DIR\"/nettest -s; }\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn the_makefile_names_what_it_makes_without_directories() {
        assert_eq!(lists().made, set(&["tls", "tun", "nettest", "msg_zerocopy"]));
        assert_eq!(lists().there, set(&["run.sh", "lib.sh", "zc.sh", "lib2.sh", "settings"]));
        assert_eq!(Lists::parse("make: *** [Makefile:3: x] Error 2\n"), Lists::default());
    }

    #[test]
    fn a_script_needs_what_it_and_its_libraries_name() {
        let makes = Makes::of(&set(&["zc.sh"]), &lists(), read);
        assert_eq!(makes.targets, set(&["msg_zerocopy", "nettest"]));
        assert_eq!(makes.started["zc.sh"], makes.targets);
    }

    #[test]
    fn a_comment_starts_nothing() {
        assert!(!Makes::of(&set(&["zc.sh"]), &lists(), read).targets.contains("tls"));
    }

    #[test]
    fn a_program_is_made_itself_and_nothing_with_it() {
        let makes = Makes::of(&set(&["tls", "unknown"]), &lists(), read);
        assert_eq!(makes.targets, set(&["tls"]));
        assert!(makes.started.is_empty());
    }
}
