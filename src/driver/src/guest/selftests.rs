//! A selftest as a guest is told of it: what was built of the kernel's tree, and what
//! could not be. Pure but for the reading of the collection's `config`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kregress_wire::{Exec as Planned, ExecResult, Instead};

use crate::kernel::Selftests;
use crate::kernel::kconfig::DotConfig;
use crate::kernel::selftests::{Collection, Standing, lacking};
use crate::model::Selftest;

/// What to run of what was built for a kernel with this configuration, or what it
/// comes to without.
#[must_use]
pub fn planned(selftest: &Selftest, built: Option<&Selftests>, config: Option<&Path>) -> Planned {
    let name = &selftest.collection;
    let collection = built.and_then(|selftests| selftests.collection(name));
    let Some(collection) = collection else {
        let reason = format!("the kernel's tree has no tools/testing/selftests/{name}");
        return instead(selftest, Instead::Skip(reason));
    };
    let mut notes = BTreeMap::new();
    for program in &selftest.programs {
        match collection.programs.get(program) {
            Some(Standing::Ready(lacks)) => {
                let lacks = lacks.iter().map(|(name, error)| (format!("not built: {name}"), error.clone()));
                notes.extend(lacks);
            }
            Some(Standing::Failed(error)) => {
                let reason = format!("`{name}/{program}` could not be built: {error}");
                return instead(selftest, Instead::Error(reason));
            }
            Some(Standing::Unknown) | None => {
                let reason = format!("the kernel's tree has no tools/testing/selftests/{name}/{program}");
                return instead(selftest, Instead::Skip(reason));
            }
        }
    }
    if let Some(lacks) = config.and_then(|config| off(collection, config)) {
        notes.insert("config".to_owned(), lacks);
    }
    Planned { notes, instead: None, directory: collection.directory.display().to_string(), ..bare(selftest) }
}

fn bare(selftest: &Selftest) -> Planned {
    let command = match selftest.command.as_slice() {
        [] => selftest.programs.iter().take(1).map(|program| format!("./{program}")).collect(),
        command => command.to_vec(),
    };
    Planned {
        command,
        directory: "/".to_owned(),
        result: ExecResult::Selftest,
        instead: None,
        notes: BTreeMap::new(),
    }
}

fn instead(selftest: &Selftest, instead: Instead) -> Planned {
    Planned { instead: Some(instead), ..bare(selftest) }
}

/// What the kernel lacks of what the collection asks for. Nothing is said where one
/// of the two is not known.
fn off(collection: &Collection, config: &Path) -> Option<String> {
    let wanted = fs::read_to_string(collection.directory.join("config")).ok()?;
    let config = fs::read_to_string(config).ok()?;
    let lacks = lacking(&wanted, &DotConfig::parse(&config).ok()?);
    (!lacks.is_empty())
        .then(|| format!("not in this kernel, of what the collection asks for: {}", lacks.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selftest(programs: &[&str], command: &[&str]) -> Selftest {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Selftest { collection: "net".into(), programs: owned(programs), command: owned(command) }
    }

    fn built(standing: Standing) -> Selftests {
        let programs = BTreeMap::from([("tls".to_owned(), standing)]);
        let collection = Collection { directory: "/store/net".into(), programs };
        [("net".to_owned(), collection)].into_iter().collect()
    }

    fn planned(selftest: &Selftest, built: &Selftests) -> Planned {
        super::planned(selftest, Some(built), None)
    }

    #[test]
    fn what_the_kernel_lacks_of_the_collection_s_wishes_is_noted() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (wanted, config) = (dir.path().join("config"), dir.path().join("dot-config"));
        fs::write(wanted, "CONFIG_VETH=y\nCONFIG_AMT=m\n").expect("write");
        fs::write(&config, "CONFIG_VETH=y\n").expect("write");
        let programs = BTreeMap::from([("tls".to_owned(), Standing::Ready(BTreeMap::new()))]);
        let collection = Collection { directory: dir.path().to_owned(), programs };
        let built: Selftests = [("net".to_owned(), collection)].into_iter().collect();
        let planned = super::planned(&selftest(&["tls"], &[]), Some(&built), Some(&config));
        insta::assert_snapshot!(planned.notes["config"], @"not in this kernel, of what the collection asks for: CONFIG_AMT");
    }

    #[test]
    fn a_program_runs_where_its_neighbours_are() {
        let ready = built(Standing::Ready(BTreeMap::from([("tun".into(), "no header".into())])));
        let planned = planned(&selftest(&["tls"], &[]), &ready);
        assert_eq!((planned.command, planned.directory), (vec!["./tls".to_owned()], "/store/net".to_owned()));
        assert_eq!((planned.instead, planned.result), (None, ExecResult::Selftest));
        assert_eq!(planned.notes["not built: tun"], "no header");
    }

    #[test]
    fn a_command_runs_in_place_of_its_programs() {
        let ready = built(Standing::Ready(BTreeMap::new()));
        assert_eq!(
            planned(&selftest(&["tls"], &["sh", "-c", "./tls"]), &ready).command,
            ["sh", "-c", "./tls"]
        );
    }

    #[test]
    fn what_is_not_in_the_tree_is_skipped_and_what_is_not_built_is_an_error() {
        let text = |planned: Planned| match planned.instead {
            Some(Instead::Skip(reason)) => format!("skip: {reason}"),
            Some(Instead::Error(reason)) => format!("error: {reason}"),
            None => "run".to_owned(),
        };
        let failed = built(Standing::Failed("tls.c:3: no".into()));
        insta::assert_snapshot!(text(planned(&selftest(&["tls"], &[]), &failed)), @"error: `net/tls` could not be built: tls.c:3: no");
        insta::assert_snapshot!(text(planned(&selftest(&["a.sh"], &[]), &failed)), @"skip: the kernel's tree has no tools/testing/selftests/net/a.sh");
        let elsewhere = Selftest { collection: "nsfs".into(), ..selftest(&["owner"], &[]) };
        insta::assert_snapshot!(text(planned(&elsewhere, &failed)), @"skip: the kernel's tree has no tools/testing/selftests/nsfs");
    }
}
