//! `kunit` of a test: modules of the kernel that hold KUnit tests. Which of them a
//! kernel has is not known here.

use std::collections::BTreeMap;

use kregress_wire::Value;
use serde::Deserialize;

use super::error::{ConfigError, Problem};
use super::yaml::{Document, Path, Scalar};

/// The parameter that tells the tests of one entry apart, and the guest what to load.
const MODULE: &str = "module";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping like `{modules: [dev_addr_lists_test]}`"
)]
pub(super) struct RawKunit {
    modules: Vec<Scalar>,
}

impl RawKunit {
    /// The modules, as the kernel writes their names.
    pub(super) fn read(&self, document: &Document<'_>, at: &Path) -> Result<Vec<Value>, ConfigError> {
        let list = at.key("modules");
        let mut modules: Vec<String> = Vec::new();
        for (i, Scalar(module)) in self.modules.iter().enumerate() {
            let item = list.item(i);
            let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
            if module.is_empty() || module.len() > 55 || !module.chars().all(is_plain) {
                let reason = "is no name of a kernel module: one like `dev_addr_lists_test` is expected";
                let problem = Problem::Text { path: item.to_string(), text: module.clone(), reason };
                return Err(document.error(&item, problem));
            }
            // The kernel does not tell the two apart.
            let module = module.replace('-', "_");
            if let Some(first) = modules.iter().position(|earlier| *earlier == module) {
                let first = document.place(&list.item(first)).line;
                let problem = Problem::Repeated { what: "module", name: module, first };
                return Err(document.error(&item, problem));
            }
            modules.push(module);
        }
        if modules.is_empty() {
            let hint = "name the modules, like this: `[dev_addr_lists_test, net_test]`";
            return Err(document.error(&list, Problem::NothingIn { path: list.to_string(), hint }));
        }
        Ok(modules.into_iter().map(Value::Text).collect())
    }
}

/// What the name of a test says of its module.
pub(super) fn varied(module: Value) -> Vec<(String, Value)> {
    vec![(MODULE.to_owned(), module)]
}

/// What the guest is told.
pub(super) fn params(module: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([(MODULE.to_owned(), module)])
}

#[cfg(test)]
mod tests {
    use crate::config::{fixtures, suite};
    use crate::model::{Exec, Test};

    fn read(kunit: &str) -> Result<Vec<Test>, String> {
        let text = format!("version: 1\nsummary: x\ntests:\n  t:\n    timeout: 5s\n    kunit: {kunit}\n");
        let suite = suite::parse("s", "suites/s.yaml", &text, &fixtures::workloads());
        suite.map(|suite| suite.tests).map_err(|error| error.to_string())
    }

    #[test]
    fn every_module_is_a_test_of_its_own() {
        let tests = read("{modules: [net_test, kunit-example-test]}").expect("a good suite");
        let names: Vec<_> = tests.iter().map(|test| test.id.to_string()).collect();
        assert_eq!(names, ["s/t[module=net_test]", "s/t[module=kunit_example_test]"]);
        assert!(tests.iter().all(|test| test.workload == "kunit" && test.exec == Some(Exec::Kunit)));
    }

    #[test]
    fn what_is_no_module_is_refused_with_its_place() {
        let refused = |kunit: &str| read(kunit).expect_err("refused");
        insta::assert_snapshot!(refused("{modules: [../a.ko]}"), @"suites/s.yaml:6:23: `tests.t.kunit.modules[0]`: `../a.ko` is no name of a kernel module: one like `dev_addr_lists_test` is expected");
        insta::assert_snapshot!(refused("{modules: [a-b, a_b]}"), @"suites/s.yaml:6:28: module `a_b` is listed twice, first on line 6");
        insta::assert_snapshot!(refused("{modules: []}"), @"
        suites/s.yaml:6:13: `tests.t.kunit.modules` is empty
        hint: name the modules, like this: `[dev_addr_lists_test, net_test]`
        ");
        insta::assert_snapshot!(refused("{filter: a}"), @"
        suites/s.yaml:6:13: unknown key `filter` in `tests.t.kunit`
        hint: known keys: `modules`
        ");
    }
}
