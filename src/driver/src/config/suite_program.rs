//! Tests that are no workload of ours: from what a suite says of them to the tests.

use kregress_wire::{Exec, KUNIT};

use super::error::{ConfigError, Problem};
use super::suite::{RawTest, Reader};
use super::suite_exec::{self, RawExec};
use super::suite_kunit::{self, RawKunit};
use super::suite_selftests::{self, RawSelftests};
use crate::model::{self, SuiteName, Test, TestId};

impl Reader<'_> {
    pub(super) fn exclusive(&self, one: &'static str, other: &'static str) -> ConfigError {
        let problem = Problem::Exclusive { path: self.at.to_string(), one, other };
        self.document.error_at_key(&self.at, other, problem)
    }

    /// Refuses what only a workload of ours has.
    fn no_workload(&self, one: &'static str, raw: &RawTest) -> Result<(), ConfigError> {
        let given = [
            ("params", raw.params.is_some()),
            ("matrix", raw.matrix.is_some()),
            ("metrics", raw.metrics.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((other, _)) => Err(self.exclusive(one, other)),
            None => Ok(()),
        }
    }

    /// A test that is a program.
    pub(super) fn program(
        &self,
        exec: &RawExec,
        suite: &SuiteName,
        name: &str,
        raw: &RawTest,
    ) -> Result<Test, ConfigError> {
        self.no_workload("exec", raw)?;
        let exec = exec.read(self.document, &self.at.key("exec"), self.workloads.programs())?;
        Ok(Test {
            id: TestId { suite: suite.clone(), test: name.to_owned(), params: Vec::new() },
            workload: Exec::WORKLOAD.to_owned(),
            params: suite_exec::params(&exec),
            timeout: self.timeout(raw)?,
            metrics: Vec::new(),
            exec: Some(model::Exec::Program(exec)),
            line: self.document.place(&self.at).line,
        })
    }

    /// A test for each program of a collection.
    pub(super) fn selftests(
        &self,
        selftests: &RawSelftests,
        suite: &SuiteName,
        name: &str,
        raw: &RawTest,
    ) -> Result<Vec<Test>, ConfigError> {
        self.no_workload("selftests", raw)?;
        let timeout = self.timeout(raw)?;
        let line = self.document.place(&self.at).line;
        let read = selftests.read(self.document, &self.at.key("selftests"))?;
        let tests = read.into_iter().map(|(varied, selftest)| Test {
            id: TestId { suite: suite.clone(), test: name.to_owned(), params: varied },
            workload: Exec::WORKLOAD.to_owned(),
            params: suite_selftests::params(&selftest),
            timeout,
            metrics: Vec::new(),
            exec: Some(model::Exec::Selftest(selftest)),
            line,
        });
        Ok(tests.collect())
    }

    /// A test for each module.
    pub(super) fn kunit(
        &self,
        kunit: &RawKunit,
        suite: &SuiteName,
        name: &str,
        raw: &RawTest,
    ) -> Result<Vec<Test>, ConfigError> {
        self.no_workload("kunit", raw)?;
        let timeout = self.timeout(raw)?;
        let line = self.document.place(&self.at).line;
        let modules = kunit.read(self.document, &self.at.key("kunit"))?;
        let tests = modules.into_iter().map(|module| Test {
            id: TestId {
                suite: suite.clone(),
                test: name.to_owned(),
                params: suite_kunit::varied(module.clone()),
            },
            workload: KUNIT.to_owned(),
            params: suite_kunit::params(module),
            timeout,
            metrics: Vec::new(),
            exec: Some(model::Exec::Kunit),
            line,
        });
        Ok(tests.collect())
    }
}
