//! Findings that are known and allowed for a while.
//!
//! A rule says which finding, on which kernels and in which tests, why, and
//! until when somebody must have looked again. What a rule allows stays in the
//! results, marked with the reason; it turns nothing red. Pure.

use jiff::civil::Date;

use super::TestId;
use super::pattern::fits;
use crate::console::{self, Finding, FindingKind};

/// Why a finding turns nothing red.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// In the words of the project file.
    pub reason: String,
    /// Last day of the allowance, UTC.
    pub expires: Date,
}

/// A rule of the project file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowRule {
    /// Pattern over the beginning of a finding's title; `*` is any text.
    pub finding: String,
    /// Patterns over names of kernels; none is every kernel.
    pub kernels: Vec<String>,
    /// Patterns over tests; none is every test, and what is outside of tests.
    pub tests: Vec<String>,
    /// Reason and last day.
    pub allowance: Allowance,
    /// `FILE:LINE` of the rule, for messages.
    pub place: String,
}

impl AllowRule {
    /// Whether the rule speaks of this kernel.
    #[must_use]
    pub fn is_of(&self, kernel: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|pattern| fits(pattern, kernel))
    }

    /// Whether it speaks of this test, or of what is outside of tests.
    fn covers(&self, test: Option<&TestId>) -> bool {
        let Some(test) = test else { return self.tests.is_empty() };
        let (suite, full) = (test.suite.to_string(), test.to_string());
        // As on the command line, a test without brackets is all of its matrix.
        let names = [suite.clone(), format!("{suite}/{}", test.test), full];
        self.tests.is_empty() || self.tests.iter().any(|pattern| names.iter().any(|name| fits(pattern, name)))
    }
}

/// The rules that speak of one kernel, the first of the file first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances(Vec<AllowRule>);

impl Allowances {
    /// Those of `rules` that speak of this kernel.
    #[must_use]
    pub fn of_kernel(rules: &[AllowRule], kernel: &str) -> Self {
        Self(rules.iter().filter(|rule| rule.is_of(kernel)).cloned().collect())
    }

    /// Why this finding is allowed, if it is; `test` is the one that it belongs to.
    #[must_use]
    pub fn find(&self, finding: &Finding, test: Option<&TestId>) -> Option<&Allowance> {
        if !can_be_allowed(finding.kind) {
            return None;
        }
        let takes =
            |rule: &&AllowRule| rule.covers(test) && console::title_begins(&rule.finding, &finding.title);
        self.0.iter().find(takes).map(|rule| &rule.allowance)
    }
}

/// Whether any rule may allow findings of this kind. After the others either
/// nothing more is known of the kernel or nothing more can be found in it.
#[must_use]
pub fn can_be_allowed(kind: FindingKind) -> bool {
    match kind {
        FindingKind::Panic | FindingKind::Oops | FindingKind::Reboot | FindingKind::Blind => false,
        FindingKind::Bug
        | FindingKind::Warning
        | FindingKind::Lockdep
        | FindingKind::Sanitizer
        | FindingKind::Hang
        | FindingKind::Leak
        | FindingKind::Memory => true,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use kregress_wire::Value;

    use super::*;
    use crate::model::SuiteName;

    fn rule(finding: &str, kernels: &[&str], tests: &[&str]) -> AllowRule {
        AllowRule {
            finding: finding.to_owned(),
            kernels: kernels.iter().map(|name| (*name).to_owned()).collect(),
            tests: tests.iter().map(|name| (*name).to_owned()).collect(),
            allowance: Allowance { reason: finding.to_owned(), expires: date(2027, 1, 31) },
            place: "kregress.yaml:3".to_owned(),
        }
    }

    fn finding(kind: FindingKind, title: &str) -> Finding {
        Finding {
            kind,
            title: title.to_owned(),
            stack: vec![],
            frames: vec![],
            start: 0,
            end: 1,
            allowed: None,
        }
    }

    fn drain() -> TestId {
        let params = vec![("ns".to_owned(), Value::Int(8))];
        TestId { suite: SuiteName("netns-churn".into()), test: "drain".into(), params }
    }

    fn allows(rule: AllowRule, kernel: &str, test: Option<&TestId>, title: &str) -> bool {
        let rules = Allowances::of_kernel(&[rule], kernel);
        rules.find(&finding(FindingKind::Warning, title), test).is_some()
    }

    const TITLE: &str = "WARNING: net/core/dev.c:123 at dev_close";

    #[test]
    fn a_rule_is_anchored_at_the_beginning_of_the_title() {
        assert!(allows(rule("WARNING: net/core/dev.c:", &[], &[]), "a", None, TITLE));
        assert!(allows(rule("WARNING: * at dev_close", &[], &[]), "a", None, TITLE));
        assert!(!allows(rule("net/core/dev.c:", &[], &[]), "a", None, TITLE));
    }

    #[test]
    fn a_rule_without_tests_covers_what_is_outside_of_tests_too() {
        assert!(allows(rule("WARNING: ", &[], &[]), "a", Some(&drain()), TITLE));
        assert!(!allows(rule("WARNING: ", &[], &["*"]), "a", None, TITLE));
    }

    #[test]
    fn a_test_is_named_as_on_the_command_line() {
        for pattern in
            ["netns-churn", "netns-churn/*", "netns-churn/drain", "netns-churn/drain[ns=8]", "*/drain"]
        {
            assert!(allows(rule("WARNING: ", &[], &[pattern]), "a", Some(&drain()), TITLE), "{pattern}");
        }
        for pattern in ["netns", "netns-churn/drain[ns=9]", "drain", "smoke/*"] {
            assert!(!allows(rule("WARNING: ", &[], &[pattern]), "a", Some(&drain()), TITLE), "{pattern}");
        }
    }

    #[test]
    fn a_rule_speaks_of_its_kernels_only() {
        assert!(allows(rule("WARNING: ", &["next", "distro-*"], &[]), "distro-kasan", None, TITLE));
        assert!(!allows(rule("WARNING: ", &["distro-*"], &[]), "distro", None, TITLE));
    }

    #[test]
    fn what_ends_or_blinds_a_kernel_is_never_allowed() {
        let rules = Allowances::of_kernel(&[rule("x", &[], &[])], "a");
        for kind in FindingKind::ALL {
            let allowed = rules.find(&finding(kind, "xyz"), None).is_some();
            assert_eq!(allowed, can_be_allowed(kind), "{}", kind.name());
        }
        let never = FindingKind::ALL.into_iter().filter(|kind| !can_be_allowed(*kind));
        assert_eq!(never.map(FindingKind::name).collect::<Vec<_>>(), ["panic", "oops", "reboot", "blind"]);
    }

    #[test]
    fn the_first_rule_of_the_file_decides() {
        let rules = Allowances::of_kernel(&[rule("WARNING: ", &[], &[]), rule("WARNING", &[], &[])], "a");
        let found = rules.find(&finding(FindingKind::Warning, TITLE), None).expect("a rule");
        assert_eq!(found.reason, "WARNING: ");
    }
}
