//! One side of a comparison, as a run recorded it: its boots, the values of its
//! metrics and the verdicts of its tests.

use std::collections::BTreeMap;

use super::comparison::{Side, Tries};
use super::subject::Boot;
use crate::model::{Accel, BootFault, FailureKind, Verdict, first_line};
use crate::results::format::{self, BootEnd, Kernel, Run, Test, TestResult};
use crate::results::{Blame, Health, health};

/// A kernel of a run.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The run that it was measured in.
    pub run: &'a Run,
    /// Its name there.
    pub kernel: &'a str,
}

impl<'a> Measured<'a> {
    /// What is told of it.
    pub(super) fn side(self) -> Side {
        let booted = || self.boots().filter_map(|boot| boot.guest.as_ref());
        let kernel = self.facts();
        Side {
            kernel: self.kernel.to_owned(),
            run: self.run.plan.id.clone(),
            release: booted()
                .next()
                .map(|guest| guest.kernel_release.clone())
                .or_else(|| kernel.and_then(|kernel| kernel.release.clone())),
            identity: kernel.map(|kernel| kernel.identity.clone()),
            accel: self.accel(),
            boots: count(booted()),
        }
    }

    /// What is known of the kernel, if it was there.
    pub(super) fn facts(self) -> Option<&'a Kernel> {
        self.run.kernel(self.kernel)
    }

    pub(super) fn boots(self) -> impl Iterator<Item = &'a format::Boot> {
        self.run.boots.iter().filter(move |boot| boot.launch.kernel == self.kernel)
    }

    /// The accelerator of its boots.
    pub(super) fn accel(self) -> Option<Accel> {
        self.boots().map(|boot| boot.launch.accel).next()
    }

    pub(super) fn test(self, id: &str) -> Option<&'a Test> {
        self.run.plan.tests.iter().find(|test| test.id == id)
    }

    /// First attempts at a test, in the order of their turns: what is tried again
    /// because it did not pass is no fair sample.
    pub(super) fn results(self, test: &str) -> Vec<&'a TestResult> {
        let mut results: Vec<_> = self
            .run
            .results
            .iter()
            .filter(|result| result.kernel == self.kernel && result.test == test && result.attempt == 1)
            .collect();
        results.sort_by_key(|result| (result.repeat, result.boot));
        results
    }

    /// Values of a metric in the boots whose numbers count, of turns up to this one.
    pub(super) fn values(self, results: &[&TestResult], metric: &str, until: u32) -> Vec<Boot> {
        let telling = results.iter().filter(|result| is_sound(&result.verdict) && result.repeat <= until);
        telling.filter_map(|result| Boot::of(result.boot?, result.samples.get(metric)?)).collect()
    }

    /// How its boots fared apart from their tests: each is a try.
    pub(super) fn health(self) -> (Tries, Option<String>) {
        let health = health(self.run).into_iter().find(|health| health.kernel == self.kernel);
        let health = health.unwrap_or(Health { kernel: self.kernel.to_owned(), problems: Vec::new() });
        let mut blames: BTreeMap<u32, Blame> = BTreeMap::new();
        // What the verdict of a test tells already counts there.
        let outside = health.problems.iter().filter(|problem| problem.told_by.is_none());
        for problem in outside {
            if let Some(boot) = problem.boot {
                let blame = blames.entry(boot).or_insert(problem.blame);
                *blame = (*blame).max(problem.blame);
            }
        }
        let mut tries = Tries::default();
        for boot in self.boots().filter(|boot| boot.end.is_some()) {
            match blames.get(&boot.launch.id) {
                None => tries.passed += 1,
                Some(Blame::Kernel) => tries.failed += 1,
                Some(Blame::Harness) => tries.errors += 1,
            }
        }
        let gravest = health.problems.iter().filter(|problem| problem.told_by.is_none());
        let gravest = gravest.max_by_key(|problem| (problem.blame, std::cmp::Reverse(problem.boot)));
        (tries, gravest.map(|problem| first_line(&problem.message)))
    }

    /// Why it never came up, if it never did: who is at fault, and the reason.
    pub(super) fn never_up(self) -> Option<(BootFault, String)> {
        if let Some(failed) = self.run.failed_kernels.iter().find(|failed| failed.kernel == self.kernel) {
            return Some((BootFault::Unknown, format!("it cannot be had: {}", first_line(&failed.reason))));
        }
        if self.boots().any(|boot| boot.guest.is_some()) {
            return None;
        }
        let mut reason = (BootFault::Unknown, "no boot of it was started".to_owned());
        for boot in self.boots() {
            reason = match &boot.end {
                Some(BootEnd::NotBooted { reason, fault }) => (*fault, first_line(reason)),
                _ => (BootFault::Unknown, "its boots ended before they said hello".to_owned()),
            };
            // One boot that was the host's fault says nothing of the others.
            if reason.0 == BootFault::Kernel {
                break;
            }
        }
        Some(reason)
    }
}

/// Whether what a test measured is worth something. A broken assertion is a fact about
/// the kernel that was found out by measuring: a teardown that waits for each namespace
/// fails its test, and by how much is what one wants to know. After a warning, an oops
/// or a hang the times are those of the complaint.
#[must_use]
pub fn is_sound(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Pass { .. } => true,
        Verdict::Fail(failure) => failure.kind == FailureKind::Assertion,
        Verdict::Skip { .. } | Verdict::Error(_) => false,
    }
}

/// Verdicts of results.
pub(super) fn tries(results: &[&TestResult]) -> Tries {
    let mut tries = Tries::default();
    for result in results {
        match result.verdict {
            Verdict::Pass { .. } => tries.passed += 1,
            Verdict::Fail(_) => tries.failed += 1,
            Verdict::Skip { .. } => tries.skipped += 1,
            Verdict::Error(_) => tries.errors += 1,
        }
    }
    tries
}

/// The first failure among results, or else error or reason to skip, in one line.
pub(super) fn message(results: &[&TestResult]) -> Option<String> {
    let text = |rank: u8| {
        results.iter().find_map(|result| match (&result.verdict, rank) {
            (Verdict::Fail(failure), 0) => Some(first_line(&failure.message)),
            (Verdict::Error(trouble), 1) => Some(first_line(&trouble.message)),
            (Verdict::Skip { reason }, 2) => Some(first_line(reason)),
            _ => None,
        })
    };
    (0..=2).find_map(text)
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}
