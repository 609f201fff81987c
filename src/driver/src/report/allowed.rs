//! Findings that a rule of the project file allows: they are told, quietly, so
//! that nobody forgets them. Pure.

use super::text_safety;
use crate::results::format::{Allowance, Finding, Run};

/// Equal findings of one kernel under one rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed<'a> {
    kernel: &'a str,
    title: &'a str,
    allowance: &'a Allowance,
    times: usize,
}

/// Everything that was allowed in a run, in the order in which it came.
pub(super) fn of_run(run: &Run) -> Vec<Allowed<'_>> {
    let of_boots = run.boots.iter().flat_map(|boot| with(&boot.launch.kernel, &boot.findings));
    let of_tests = run.results.iter().flat_map(|result| with(&result.kernel, &result.findings));
    let mut found: Vec<Allowed<'_>> = Vec::new();
    for (kernel, finding, allowance) in of_boots.chain(of_tests) {
        let new = Allowed { kernel, title: &finding.title, allowance, times: 1 };
        match found.iter_mut().find(|old| Allowed { times: 1, ..**old } == new) {
            Some(old) => old.times += 1,
            None => found.push(new),
        }
    }
    found
}

fn with<'a>(
    kernel: &'a str,
    findings: &'a [Finding],
) -> impl Iterator<Item = (&'a str, &'a Finding, &'a Allowance)> {
    findings.iter().filter_map(move |finding| Some((kernel, finding, finding.allowed.as_ref()?)))
}

impl Allowed<'_> {
    /// One line for people.
    pub(super) fn text(&self) -> String {
        let times = if self.times == 1 { String::new() } else { format!(", {} times", self.times) };
        let kernel = text_safety::name(self.kernel);
        format!("{} on {kernel}{times}: {}", text_safety::title(self.title), reason(self.allowance))
    }
}

/// Why and until when.
pub(super) fn reason(allowance: &Allowance) -> String {
    let reason = text_safety::title(&allowance.reason);
    format!("{reason} (until {})", text_safety::title(&allowance.expires))
}

/// A line for each allowed finding among these, for JUnit.
pub(super) fn lines(findings: &[Finding]) -> String {
    let line = |(_, finding, allowance): (&str, &Finding, &Allowance)| {
        format!("allowed: {}: {}\n", finding.title, reason(allowance))
    };
    with("", findings).map(line).collect()
}
