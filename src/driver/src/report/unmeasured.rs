//! What a run set out to learn and did not, in sentences. Pure.

use super::cases::{Case, verdict_text};
use super::text_safety;
use crate::model::Verdict;

/// Tests that were skipped or of which nothing is known, made safe, in the
/// order of the cases.
pub(crate) fn of_cases(cases: &[Case<'_>]) -> Vec<String> {
    let line = |case: &Case<'_>| {
        let worst = case.worst();
        let word = match worst.verdict {
            Verdict::Skip { .. } => "skipped",
            Verdict::Error(_) => "no verdict",
            Verdict::Pass { .. } | Verdict::Fail(_) => return None,
        };
        let (_, reason) = verdict_text(&worst.verdict);
        let (test, kernel) = (text_safety::name(&case.test.id), text_safety::name(case.kernel));
        Some(format!("{test} on {kernel}: {word}, {}", text_safety::title(reason)))
    };
    cases.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunEvent, TroubleKind};
    use crate::report::cases::cases;
    use crate::results::format::State;
    use crate::results::testing;

    #[test]
    fn what_was_skipped_or_ended_in_an_error_was_not_measured() {
        let mut events = testing::started(&["stable"], &["smoke/a", "smoke/b", "smoke/c"], 1);
        events.push(testing::boot(1, "stable"));
        let results = [
            testing::pass("smoke/a", "stable", 1),
            testing::skip("smoke/b", "stable", 1, "no XFRM"),
            testing::error("smoke/c", "stable", Some(1), TroubleKind::Lost),
        ];
        events.extend(results.map(RunEvent::TestFinished));
        let run = testing::fold(&events).close(State::Unfinished);
        assert_eq!(
            of_cases(&cases(&run)),
            ["smoke/b on stable: skipped, no XFRM", "smoke/c on stable: no verdict, the guest went away"]
        );
    }
}
