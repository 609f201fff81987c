//! `allow:` of `kregress.yaml`: findings that are known and allowed until a day.
//!
//! Pure; what today is, the caller says.

use jiff::civil::Date;
use serde::Deserialize;

use super::error::{ConfigError, Problem, quoted};
use super::value;
use super::yaml::{Document, Path, Scalar};
use crate::console;
use crate::model::{AllowRule, Allowance};

/// Letters and digits that a pattern has at least. A pattern with fewer is `*`
/// in disguise.
const LEAST: usize = 3;

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping with `finding`, `reason` and `expires`"
)]
pub(super) struct RawAllow {
    finding: Scalar,
    kernels: Option<Vec<Scalar>>,
    tests: Option<Vec<Scalar>>,
    reason: Scalar,
    expires: Scalar,
}

/// A rule whose day has passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{place}: the allowance of {} expired on {expires}: {reason}\n\
     hint: look whether the kernel still does it, then remove the rule or move its date",
    quoted(finding)
)]
pub struct Expired {
    place: String,
    finding: String,
    expires: Date,
    reason: String,
}

/// Refuses to go on with a rule that nobody has looked at again in time. The
/// day of the rule is its last one.
///
/// # Errors
///
/// The first rule that is too old.
pub fn check_expiry(rules: &[AllowRule], today: Date) -> Result<(), Expired> {
    match rules.iter().find(|rule| rule.allowance.expires < today) {
        None => Ok(()),
        Some(rule) => Err(Expired {
            place: rule.place.clone(),
            finding: rule.finding.clone(),
            expires: rule.allowance.expires,
            reason: rule.allowance.reason.clone(),
        }),
    }
}

/// Reads the rules.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
pub(super) fn rules(document: &Document<'_>, raw: &[RawAllow]) -> Result<Vec<AllowRule>, ConfigError> {
    raw.iter().enumerate().map(|(i, raw)| rule(document, &Path::root().key("allow").item(i), raw)).collect()
}

fn rule(document: &Document<'_>, at: &Path, raw: &RawAllow) -> Result<AllowRule, ConfigError> {
    let refuse = |key: &str, text: &str, reason| {
        let at = at.key(key);
        document.error(&at, Problem::Text { path: at.to_string(), text: text.to_owned(), reason })
    };
    let finding = &raw.finding.0;
    if is_too_wide(finding) {
        let reason = "would allow nearly every finding\n\
                      hint: write the beginning of its title, with `*` for what differs";
        return Err(refuse("finding", finding, reason));
    }
    if console::never_allowed(finding).is_some() {
        let reason = "cannot be allowed: after a panic, an oops or a reboot, or with a detector of the \
                      kernel switched off, a result says nothing";
        return Err(refuse("finding", finding, reason));
    }
    let reason = raw.reason.0.trim();
    if reason.is_empty() || reason.chars().any(char::is_control) {
        return Err(refuse("reason", &raw.reason.0, "is no reason: one line that says why"));
    }
    let expires = value::date(&raw.expires.0).map_err(|error| {
        let at = at.key("expires");
        document.error(&at, Problem::Value { path: at.to_string(), error })
    })?;
    let place = document.place_of_key(at, "finding");
    Ok(AllowRule {
        finding: finding.clone(),
        kernels: names(document, at, "kernels", raw.kernels.as_deref())?,
        tests: names(document, at, "tests", raw.tests.as_deref())?,
        allowance: Allowance { reason: reason.to_owned(), expires },
        place: format!("{}:{}", place.file, place.line),
    })
}

/// Patterns over names; an empty list would read as none and mean all.
fn names(
    document: &Document<'_>,
    at: &Path,
    key: &str,
    raw: Option<&[Scalar]>,
) -> Result<Vec<String>, ConfigError> {
    let at = at.key(key);
    let Some(list) = raw else { return Ok(Vec::new()) };
    if list.is_empty() {
        let problem = Problem::NothingIn { path: at.to_string(), hint: "leave the key out to mean all" };
        return Err(document.error(&at, problem));
    }
    for (i, Scalar(pattern)) in list.iter().enumerate() {
        if pattern.is_empty() || pattern.chars().any(char::is_control) {
            let at = at.item(i);
            let (path, text) = (at.to_string(), pattern.clone());
            return Err(document.error(&at, Problem::Text { path, text, reason: "names nothing" }));
        }
    }
    Ok(list.iter().map(|Scalar(pattern)| pattern.clone()).collect())
}

fn is_too_wide(pattern: &str) -> bool {
    pattern.chars().filter(|c| c.is_alphanumeric()).count() < LEAST
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use jiff::civil::date;

    use super::super::kernels;
    use super::super::paths::Base;
    use super::*;

    const HEAD: &str = "version: 1\nkernels: {a: {image: /boot/vmlinuz}}\n";

    fn read(allow: &str) -> Result<Vec<AllowRule>, String> {
        let base = Base { directory: "/net".into(), home: None };
        let file = kernels::parse("kregress.yaml", &format!("{HEAD}{allow}"), &base, &[]);
        file.map(|file| file.allow).map_err(|error| error.to_string())
    }

    fn refusal(allow: &str) -> String {
        read(allow).expect_err("a bad rule")
    }

    const GOOD: &str = "\
allow:
  - finding: 'WARNING: net/core/dev.c:* at dev_close'
    kernels: [distro-*]
    tests: [netns-churn/*]
    reason: fixed by abcdef, not yet in this tree
    expires: 2027-01-31
";

    #[test]
    fn a_rule_says_what_where_why_and_until_when() {
        let rules = read(GOOD).expect("a good rule");
        let rule = &rules[0];
        assert_eq!(
            (rule.kernels.join(" "), rule.tests.join(" ")),
            ("distro-*".into(), "netns-churn/*".into())
        );
        assert_eq!(rule.allowance.expires, date(2027, 1, 31));
        assert_eq!(rule.place, "kregress.yaml:4");
    }

    #[test]
    fn a_file_without_rules_allows_nothing() {
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn a_rule_holds_on_its_last_day_and_not_a_day_longer() {
        let rules = read(GOOD).expect("a good rule");
        assert_eq!(check_expiry(&rules, date(2027, 1, 31)), Ok(()));
        let expired = check_expiry(&rules, date(2027, 2, 1)).expect_err("too old");
        assert_snapshot!(expired, @r"
        kregress.yaml:4: the allowance of `WARNING: net/core/dev.c:* at dev_close` expired on 2027-01-31: fixed by abcdef, not yet in this tree
        hint: look whether the kernel still does it, then remove the rule or move its date
        ");
    }

    #[test]
    fn a_rule_without_reason_or_day_is_refused() {
        assert_snapshot!(refusal("allow:\n  - finding: 'WARNING: x'\n    expires: 2027-01-31\n"), @r"
        kregress.yaml:4:5: missing key `reason` in `allow[0]`
        hint: like this: `reason: fixed by abcdef, not yet in this tree`
        ");
        assert_snapshot!(refusal("allow:\n  - {finding: 'WARNING: x', reason: y}\n"), @r"
        kregress.yaml:4:5: missing key `expires` in `allow[0]`
        hint: like this: `expires: 2027-01-31`
        ");
        assert_snapshot!(refusal("allow:\n  - {finding: 'WARNING: x', reason: '  ', expires: 2027-01-31}\n"), @r"
        kregress.yaml:4:37: `allow[0].reason`: `  ` is no reason: one line that says why
        ");
    }

    #[test]
    fn an_unknown_key_of_a_rule_names_its_neighbour() {
        assert_snapshot!(refusal("allow:\n  - {finding: 'WARNING: x', resaon: y, expires: 2027-01-31}\n"), @r"
        kregress.yaml:4:29: unknown key `resaon` in `allow[0]`
        hint: did you mean `reason`? known keys: `finding`, `kernels`, `tests`, `reason`, `expires`
        ");
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        for day in ["2027-02-30", "2027-1-31", "31.1.2027", "2027-01-31T10:00", "soon", "20270131"] {
            let text = format!("allow:\n  - finding: 'WARNING: x'\n    reason: y\n    expires: '{day}'\n");
            let message = refusal(&text);
            assert!(message.starts_with("kregress.yaml:6:14: `allow[0].expires`: "), "{message}");
            assert!(message.contains(&format!("`{day}` is no day")), "{message}");
        }
    }

    #[test]
    fn a_pattern_that_matches_everything_is_refused() {
        for pattern in ["*", "**", " ", "* *", "*: *", "*e"] {
            let text = format!("allow:\n  - {{finding: '{pattern}', reason: y, expires: 2027-01-31}}\n");
            let message = refusal(&text);
            assert!(message.contains("would allow nearly every finding"), "{pattern}: {message}");
        }
    }

    #[test]
    fn the_end_of_a_kernel_cannot_be_allowed() {
        for pattern in ["Kernel panic", "BUG: kernel NULL pointer dereference", "INFO: lockdep is turned off"]
        {
            let text = format!("allow:\n  - {{finding: '{pattern}', reason: y, expires: 2027-01-31}}\n");
            let message = refusal(&text);
            assert!(message.contains("cannot be allowed"), "{pattern}: {message}");
        }
    }

    #[test]
    fn an_empty_list_is_not_taken_for_all() {
        let message =
            refusal("allow:\n  - {finding: 'WARNING: x', tests: [], reason: y, expires: 2027-01-31}\n");
        assert!(message.contains("`allow[0].tests` is empty\nhint: leave the key out"), "{message}");
    }
}
