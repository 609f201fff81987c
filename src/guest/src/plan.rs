//! Reads the plan and refuses one that cannot be carried out as a whole.
//!
//! What is wrong with a single test is no reason to refuse: that test then
//! ends in an error of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kregress_wire::{PROTOCOL, Plan};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The file cannot be read.
    #[error("cannot read the plan `{}`: {source}", path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no plan.
    #[error("`{}` is not a plan: {reason}", path.display())]
    Parse {
        /// Where it is.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// It was made by another version of kregress.
    #[error(
        "the plan speaks protocol {found}, this guest speaks {PROTOCOL}\n\
         hint: the guest image holds another version of kregress than the one that wrote the plan"
    )]
    Protocol {
        /// What the plan says.
        found: u32,
    },
    /// Results could not be told apart.
    #[error("the plan has two tests with the id {id}")]
    Duplicate {
        /// The id.
        id: u32,
    },
}

/// Reads the plan of this boot.
///
/// # Errors
///
/// Fails when it cannot be carried out.
pub(crate) fn read(path: &Path) -> Result<Plan, PlanError> {
    let bytes = fs::read(path).map_err(|source| PlanError::Read { path: path.to_owned(), source })?;
    parse(&bytes, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Plan, PlanError> {
    let error =
        |error: serde_json::Error| PlanError::Parse { path: path.to_owned(), reason: error.to_string() };
    // The protocol is looked at first: a plan of another version may well have
    // fields that this one does not know.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(error)?;
    let found = value.get("protocol").and_then(serde_json::Value::as_u64);
    if let Some(found) = found.and_then(|found| u32::try_from(found).ok()).filter(|found| *found != PROTOCOL)
    {
        return Err(PlanError::Protocol { found });
    }
    let plan: Plan = serde_json::from_value(value).map_err(error)?;
    let mut seen = BTreeSet::new();
    match plan.tests.iter().find(|test| !seen.insert(test.id)) {
        Some(test) => Err(PlanError::Duplicate { id: test.id }),
        None => Ok(plan),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kregress_wire::{Carrier, Nonce, PlannedTest};

    use super::*;

    fn plan(ids: &[u32]) -> Plan {
        let test = |id: &u32| PlannedTest {
            id: *id,
            name: format!("suite/test{id}"),
            workload: "netns/drain".into(),
            params: BTreeMap::new(),
            timeout_ms: 1000,
            silence_ms: 1000,
            seed: 0,
            exec: None,
        };
        let nonce = Nonce::from_bytes([7; 16]);
        Plan {
            protocol: PROTOCOL,
            nonce,
            seed: 1,
            patience_ms: 1000,
            carrier: Carrier::Uart,
            tests: ids.iter().map(test).collect(),
            shell: None,
        }
    }

    fn check(plan: &Plan) -> Result<Plan, String> {
        let bytes = serde_json::to_vec(plan).expect("serialise");
        parse(&bytes, Path::new("/p.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_plan_is_taken_as_it_is() {
        assert_eq!(check(&plan(&[3, 1, 2])), Ok(plan(&[3, 1, 2])));
        assert_eq!(check(&plan(&[])), Ok(plan(&[])));
    }

    #[test]
    fn two_tests_with_one_id_are_refused() {
        assert_eq!(check(&plan(&[3, 1, 3])), Err("the plan has two tests with the id 3".into()));
    }

    #[test]
    fn another_protocol_is_told_before_its_unknown_fields() {
        let json = format!(r#"{{"protocol": {}, "novelty": true}}"#, PROTOCOL + 1);
        let error = parse(json.as_bytes(), Path::new("/p.json")).expect_err("another protocol");
        let expected = format!("the plan speaks protocol {}, this guest speaks {PROTOCOL}", PROTOCOL + 1);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn a_file_that_is_no_plan_is_named_with_the_place_of_the_error() {
        let error = parse(b"{\"protocol\": 1,", Path::new("/p.json")).expect_err("cut off");
        assert_eq!(
            error.to_string(),
            "`/p.json` is not a plan: EOF while parsing a value at line 1 column 15"
        );
        let error = parse(b"[]", Path::new("/p.json")).expect_err("no plan");
        assert!(error.to_string().starts_with("`/p.json` is not a plan: invalid length 0"), "{error}");
    }

    #[test]
    fn a_missing_plan_is_named() {
        let error = read(Path::new("/no/such/plan.json")).expect_err("missing");
        assert!(error.to_string().starts_with("cannot read the plan `/no/such/plan.json`: "), "{error}");
    }
}
