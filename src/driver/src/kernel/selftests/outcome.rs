//! What `make` said of the programs that it could not make, and what that comes to.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Standing;
use super::needs::Makes;

/// Longest error that is kept, in characters.
const MAX_ERROR: usize = 400;

/// First error of each target that was not made, by its name without directories.
/// The words of one target stand together (`--output-sync=target`), before make's own.
pub(super) fn failures(lines: &[String]) -> BTreeMap<String, String> {
    let mut failures = BTreeMap::new();
    let mut first: Option<&str> = None;
    for line in lines {
        if let Some((target, status)) = given_up(line) {
            let error = first.take().map_or_else(|| format!("make ended with {status}"), plain);
            failures.entry(target.to_owned()).or_insert(error);
        } else if first.is_none() && is_error(line) {
            first = Some(line);
        }
    }
    failures
}

/// `make[1]: *** [../lib.mk:222: /x/net/tls] Error 1`: target and status;
/// `make: *** No rule to make target '/x/net/a'...` likewise.
fn given_up(line: &str) -> Option<(&str, &str)> {
    let (_, words) = line.strip_prefix("make")?.split_once(": *** ")?;
    let (target, status) = if let Some(rest) = words.strip_prefix('[') {
        rest.split_once("] ")?
    } else {
        (words.strip_prefix("No rule to make target '")?.split('\'').next()?, "no rule for it")
    };
    let target = target.rsplit([' ', '/']).next()?;
    Some((target, status))
}

/// Whether a compiler, an assembler or a linker complains, or a shell that has none.
fn is_error(line: &str) -> bool {
    let signs = [": error: ", ": fatal error: ", "undefined reference to", "cannot find -l", ": not found"];
    signs.iter().any(|sign| line.contains(sign)) || line.starts_with("Error: ")
}

fn plain(line: &str) -> String {
    line.trim().chars().filter(|char| !char.is_control()).take(MAX_ERROR).collect()
}

/// What has become of each program that is wanted.
pub(super) fn standings(
    programs: &BTreeSet<String>,
    makes: &Makes,
    failures: &BTreeMap<String, String>,
    is_there: impl Fn(&str) -> bool,
) -> BTreeMap<String, Standing> {
    let error = |name: &String| failures.get(name).cloned();
    let standing = |program: &String| {
        if let Some(error) = error(program) {
            return Standing::Failed(error);
        }
        if !is_there(program) {
            // Something that it is made of was not there.
            return match makes.targets.contains(program) {
                true => Standing::Failed("make did not make it".to_owned()),
                false => Standing::Unknown,
            };
        }
        let started = makes.started.get(program).into_iter().flatten();
        Standing::Ready(started.filter_map(|name| Some((name.clone(), error(name)?))).collect())
    };
    programs.iter().map(|program| (program.clone(), standing(program))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GNU Make 4.3 and GCC 12 said it of 6.12.117.
    const LOG: &str = "  CC       reuseport_bpf
  CC       reuseport_bpf_numa
reuseport_bpf_numa.c:24:10: fatal error: numa.h: No such file or directory
   24 | #include <numa.h>
      |          ^~~~~~~~
compilation terminated.
make: *** [../lib.mk:222: /s/net/reuseport_bpf_numa] Error 1
tls.c: In function 'tls_basic_recvmsg_nopad_retry_iov':
tls.c:1679:9: error: too many arguments to function 'tls_crypto_info_init'
tls.c:1742:9: error: too many arguments to function 'tls_crypto_info_init'
make[1]: *** [../lib.mk:222: /s/net/tls] Error 1
make: *** [Makefile:9: /s/net/odd] Error 127
make: *** No rule to make target '/s/net/none'.
make: Target 'all' not remade because of errors.
";

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_target_has_its_own_first_error() {
        let found = failures(&lines(LOG));
        let found: Vec<_> = found.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        insta::assert_snapshot!(found.join("\n"), @"
        none: make ended with no rule for it
        odd: make ended with Error 127
        reuseport_bpf_numa: reuseport_bpf_numa.c:24:10: fatal error: numa.h: No such file or directory
        tls: tls.c:1679:9: error: too many arguments to function 'tls_crypto_info_init'
        ");
    }

    #[test]
    fn a_log_without_an_error_has_no_failure() {
        assert!(failures(&lines("  CC       a\na.c:1:1: warning: error: of a kind\n")).is_empty());
    }

    #[test]
    fn what_cannot_be_made_stops_nothing_else() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let makes = Makes {
            targets: set(&["tls", "tun", "gone", "helper"]),
            started: BTreeMap::from([("a.sh".to_owned(), set(&["helper", "tun"]))]),
        };
        let failures = BTreeMap::from(
            [("tls", "x"), ("helper", "y")].map(|(name, error)| (name.to_owned(), error.to_owned())),
        );
        let is_there = |name: &str| matches!(name, "a.sh" | "tun");
        let found = standings(&set(&["a.sh", "tls", "tun", "gone", "no.sh"]), &makes, &failures, is_there);
        let helper = BTreeMap::from([("helper".to_owned(), "y".to_owned())]);
        assert_eq!(found["a.sh"], Standing::Ready(helper));
        assert_eq!(found["tun"], Standing::Ready(BTreeMap::new()));
        assert_eq!(found["tls"], Standing::Failed("x".into()));
        assert_eq!(found["gone"], Standing::Failed("make did not make it".into()));
        assert_eq!(found["no.sh"], Standing::Unknown);
    }
}
