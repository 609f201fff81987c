//! A bisection in sentences that every form of report shares. Pure; judges nothing:
//! what is confirmed and what is not stands in the data. All texts are made safe.

use kregress_wire::Unit;

use crate::bisect::bisected::{
    Answer, Bisected, Commit, Confirmation, Effect, Ending, Question, Reverted, Rule, Spent,
};
use crate::exec::shell_line;
use crate::report::comparison_human::{is_factor, number, percent};
use crate::report::quantity::{self, Scale, count};
use crate::report::{compared, text_safety};

/// Digits of a hash, as the kernel's documentation asks for.
const DIGITS: usize = 12;
/// Files in conflict that are named.
const FILES: usize = 4;
/// Share of the difference below which an answer is not all there is. The search goes
/// on below it.
const MOST: f64 = 0.6;

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is an answer that fresh boots confirmed.
    Found,
    /// There is none, and nothing more will be done.
    Open,
    /// It goes on.
    Unfinished,
}

/// What a bisection comes to.
pub(crate) fn outcome(bisected: &Bisected) -> Outcome {
    if bisected.ending == Ending::Unfinished {
        Outcome::Unfinished
    } else if bisected.answers.iter().any(is_confirmed) {
        Outcome::Found
    } else {
        Outcome::Open
    }
}

/// Whether fresh boots say the same as the search.
pub(crate) fn is_confirmed(answer: &Answer) -> bool {
    matches!(answer.confirmation, Confirmation::Confirmed { .. })
}

/// One line that says what it comes to.
pub(crate) fn headline(bisected: &Bisected) -> String {
    let word = match (outcome(bisected), &bisected.ending) {
        (Outcome::Unfinished, _) => "unfinished",
        (Outcome::Found, _) => "found",
        (_, Ending::NotReproduced { .. }) => "not reproduced",
        (_, Ending::EndpointFailed { .. }) => "not measured",
        (_, Ending::Contradiction { .. }) => "contradiction",
        (_, Ending::BudgetSpent) => "budget spent",
        _ => "no culprit",
    };
    let what = match (bisected.answers.as_slice(), &bisected.ending) {
        ([], ending) => match ending {
            Ending::Unfinished => likeliest(bisected),
            Ending::NotReproduced { .. } => "the endpoints do not surely differ".to_owned(),
            Ending::EndpointFailed { .. } => "an endpoint gives no result".to_owned(),
            Ending::Contradiction { .. } => "no single commit explains what was measured".to_owned(),
            Ending::BudgetSpent => likeliest(bisected),
            Ending::Exhausted => "nothing that can be tested tells more".to_owned(),
            Ending::Found => "the search named nothing".to_owned(),
        },
        ([one], _) => match &one.confirmation {
            Confirmation::Confirmed { .. } => named(one),
            Confirmation::Pending => format!("{} awaits fresh boots", named(one)),
            Confirmation::NotConfirmed { .. } => {
                "fresh boots do not confirm what the search points to".to_owned()
            }
            Confirmation::NoOp => "what the search points to does not change this kernel".to_owned(),
        },
        (many, _) => {
            let confirmed = many.iter().filter(|it| is_confirmed(it)).count();
            format!("{} answers, of which {confirmed} confirmed", many.len())
        }
    };
    format!("{word}: {what}")
}

fn named(answer: &Answer) -> String {
    match answer.commits.as_slice() {
        [one] => title(one),
        many => format!("one of {} commits, which cannot be told apart", many.len()),
    }
}

fn likeliest(bisected: &Bisected) -> String {
    let suspects = &bisected.suspects;
    let sum: f64 = suspects.iter().map(|it| it.probability).sum();
    match suspects.as_slice() {
        [] => "nothing is known of the commits yet".to_owned(),
        [one] => format!("{} with {}", title(&one.commit), probability(one.probability)),
        many => format!("one of {} commits with {}", many.len(), probability(sum)),
    }
}

/// Twelve digits of a hash.
pub(crate) fn short(hash: &str) -> String {
    text_safety::name(hash).chars().take(DIGITS).collect()
}

/// Hash and subject.
pub(crate) fn title(commit: &Commit) -> String {
    format!("{} {}", short(&commit.hash), text_safety::title(&commit.subject))
}

/// As commit messages name another: hash and subject in brackets and quotes.
pub(crate) fn quoted(commit: &Commit) -> String {
    format!("{} (\"{}\")", short(&commit.hash), text_safety::title(&commit.subject))
}

/// Author and day.
pub(crate) fn byline(commit: &Commit) -> String {
    format!("{}, {}", text_safety::name(&commit.author), day(commit))
}

/// The day of a commit.
pub(crate) fn day(commit: &Commit) -> String {
    text_safety::name(&commit.date).chars().take("2026-03-01".len()).collect()
}

/// `99.7 %`. Never all and never nothing: a probability of a search is neither.
pub(crate) fn probability(p: f64) -> String {
    match p * 100.0 {
        p if !p.is_finite() => "?".to_owned(),
        p if p > 99.9 => ">99.9 %".to_owned(),
        p if p < 0.1 => "<0.1 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

/// A share of a whole.
fn share(part: f64) -> String {
    format!("{:.0} %", (part * 100.0).clamp(0.0, 100.0))
}

/// What is searched for, as the command line names it.
pub(crate) fn question(bisected: &Bisected) -> String {
    match &bisected.question {
        Question::Metric { test, metric, .. } => text_safety::name(format!("{test}:{}", metric.name)),
        Question::Test { test } => format!("failure of {}", text_safety::name(test)),
        Question::Finding { test, title } => {
            format!("{} in {}", text_safety::title(title), text_safety::name(test))
        }
    }
}

/// The name of the number, or of what fails.
fn subject(question: &Question) -> String {
    match question {
        Question::Metric { metric, .. } => text_safety::name(&metric.name),
        Question::Test { .. } => "the test".to_owned(),
        Question::Finding { title, .. } => text_safety::title(title),
    }
}

/// How large a difference is, without boots: `drain_time +640 % (+610 .. +675 %, 95 %)`,
/// or `the test failed in 6 of 6 boots, without in 0 of 6`.
pub(crate) fn effect(question: &Question, effect: &Effect) -> String {
    let name = subject(question);
    match effect {
        Effect::Level { change: Some(change), low, high, confidence, .. } => {
            let interval = match (low, high) {
                (Some(low), Some(high)) if low < high => {
                    let ends = if is_factor(*change) {
                        format!("x {:.1} .. {:.1}", low + 1.0, high + 1.0)
                    } else {
                        format!("{} .. {} %", number(*low), number(*high))
                    };
                    format!(" ({ends}, {})", share(*confidence))
                }
                _ => String::new(),
            };
            format!("{name} {}{interval}", percent(*change))
        }
        Effect::Level { .. } => {
            levels(question, effect).map_or(name.clone(), |levels| format!("{name} {levels}"))
        }
        Effect::Rate { old_failed, old, new_failed, new } => {
            let verb = verb(question);
            let boots = count(*new, "boot");
            format!("{name} {verb} in {new_failed} of {boots}, without in {old_failed} of {old}")
        }
    }
}

/// What boots did that show it.
pub(crate) fn verb(question: &Question) -> &'static str {
    match question {
        Question::Finding { .. } => "seen",
        Question::Metric { .. } | Question::Test { .. } => "failed",
    }
}

/// The size of a difference in a few signs, for a subject line.
pub(crate) fn size(question: &Question, effect: &Effect) -> String {
    match effect {
        Effect::Level { change: Some(change), .. } => format!("{} {}", subject(question), percent(*change)),
        Effect::Level { .. } => self::effect(question, effect),
        Effect::Rate { .. } if matches!(question, Question::Finding { .. }) => subject(question),
        Effect::Rate { .. } => format!("{} fails", text_safety::name(test(question))),
    }
}

fn test(question: &Question) -> &str {
    match question {
        Question::Metric { test, .. } | Question::Test { test } | Question::Finding { test, .. } => test,
    }
}

/// `250.0 ms → 1.85 s`; none of tests.
pub(crate) fn levels(question: &Question, effect: &Effect) -> Option<String> {
    let unit = match question {
        Question::Metric { metric, .. } => metric.unit,
        Question::Test { .. } | Question::Finding { .. } => Unit::One,
    };
    let value = |value: f64| Scale::of(unit, value).quantity(value);
    match effect {
        Effect::Level { old, new, .. } => Some(format!("{} → {}", value(*old), value(*new))),
        Effect::Rate { .. } => None,
    }
}

/// `6 boots a side`, `6 fresh boots a side`; none where the effect names its boots.
pub(crate) fn boots(effect: &Effect, adjective: &str) -> Option<String> {
    match effect {
        Effect::Level { boots: 1, .. } => Some(format!("1 {adjective}boot a side")),
        Effect::Level { boots, .. } => Some(format!("{boots} {adjective}boots a side")),
        Effect::Rate { .. } => None,
    }
}

fn with_boots(question: &Question, of: &Effect, adjective: &str) -> String {
    let boots = boots(of, adjective).map(|it| format!(", {it}")).unwrap_or_default();
    format!("{}{boots}", effect(question, of))
}

/// Bad against good.
pub(crate) fn endpoints(bisected: &Bisected) -> Option<String> {
    let of = bisected.endpoints.as_ref()?;
    let whole = with_boots(&bisected.question, of, "");
    Some(match (levels(&bisected.question, of), of) {
        (Some(levels), Effect::Level { change: Some(_), .. }) => format!("{whole}: {levels}"),
        _ => whole,
    })
}

/// What is said of the suspects of an answer, behind their names.
pub(crate) fn claim(question: &Question, answer: &Answer) -> String {
    let p = probability(answer.probability);
    let class = answer.commits.len() != 1;
    let one = if class { "one of them " } else { "" };
    match &answer.confirmation {
        Confirmation::Confirmed { effect } => {
            format!("{one}is the culprit with {p}: {}", with_boots(question, effect, "fresh "))
        }
        Confirmation::Pending => {
            format!("{one}is the most probable culprit with {p}; fresh boots have not confirmed it yet")
        }
        Confirmation::NotConfirmed { effect, reason } => {
            let seen = effect
                .as_ref()
                .map(|it| format!(" ({})", with_boots(question, it, "fresh ")))
                .unwrap_or_default();
            let it = if class { "any of them" } else { "it" };
            format!(
                "is where the search ended (with {p}), but fresh boots do not confirm it: {}{seen}; it is not \
                 established that {it} changes anything",
                text_safety::title(reason).trim_end_matches('.')
            )
        }
        Confirmation::NoOp => format!(
            "is where the search ended (with {p}), but the kernel is the same image with and without it: \
             something else makes the difference"
        ),
    }
}

/// How the suspects of a class are announced; none of one commit.
pub(crate) fn class(answer: &Answer) -> Option<String> {
    let count = answer.commits.len();
    (count != 1).then(|| format!("one of these {count}, which cannot be told apart:"))
}

/// What else is known of an answer: undone on top, share of the whole, where the time went.
pub(crate) fn findings(question: &Question, answer: &Answer) -> Vec<String> {
    let mut told = Vec::new();
    // Of what is no culprit, nothing that sounds as if it were one.
    if matches!(answer.confirmation, Confirmation::Confirmed { .. } | Confirmation::Pending) {
        told.extend(reverted(question, &answer.reverted));
        told.extend(answer.explains.filter(|it| it.is_finite()).map(|part| {
            let only = if part < MOST { "only " } else { "" };
            format!("it explains {only}{} of the difference between good and bad", share(part))
        }));
        told.extend(answer.breakdown.as_ref().and_then(compared::what_grew));
    }
    told
}

fn reverted(question: &Question, reverted: &Reverted) -> Option<String> {
    Some(match reverted {
        Reverted::NotTried { reason } => {
            format!("not reverted on bad: {}", text_safety::title(reason).trim_end_matches('.'))
        }
        Reverted::Conflicts { files } => {
            let more = match files.len().saturating_sub(FILES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let files: Vec<String> = files.iter().take(FILES).map(text_safety::name).collect();
            format!("does not revert cleanly on bad: conflicts in {}{more}", files.join(", "))
        }
        Reverted::Failed { reason } => {
            format!("reverted on bad, but not measured: {}", text_safety::title(reason).trim_end_matches('.'))
        }
        Reverted::Verified { effect } => {
            let change = undone(question, effect).map(|it| format!(" ({it})")).unwrap_or_default();
            let none = matches!(effect, Effect::Rate { old_failed: 0, .. });
            match question {
                Question::Metric { .. } => format!("reverted on bad: it changes back{change}"),
                Question::Test { .. } if none => format!("reverted on bad: it passes again{change}"),
                Question::Test { .. } => format!("reverted on bad: it fails less often{change}"),
                Question::Finding { .. } if none => format!("reverted on bad: it is gone{change}"),
                Question::Finding { .. } => format!("reverted on bad: it shows less often{change}"),
            }
        }
        Reverted::StillBad { effect } => {
            let change = effect.as_ref().and_then(|effect| undone(question, effect));
            let change = change.map(|it| format!(" ({it})")).unwrap_or_default();
            format!("reverted on bad: not surely better{change}")
        }
    })
}

/// What taking it out does: of `without` against `with`.
fn undone(question: &Question, effect: &Effect) -> Option<String> {
    match effect {
        Effect::Level { old, new, .. } if *new != 0.0 => Some(percent(old / new - 1.0)),
        Effect::Level { .. } => None,
        Effect::Rate { old_failed, old, .. } => {
            Some(format!("{} in {old_failed} of {}", verb(question), count(*old, "boot")))
        }
    }
}

/// How it ended, where that is more than its answers: a sentence or two.
pub(crate) fn ending(bisected: &Bisected) -> Vec<String> {
    let suspects = bisected.suspects.len();
    let whole: f64 = bisected.suspects.iter().map(|it| it.probability).sum();
    let left = (suspects > 0).then(|| match suspects {
        1 => format!("what remains is one suspect with {}", probability(whole)),
        _ => format!("what remains are {suspects} suspects that together have {}", probability(whole)),
    });
    let mut told = match &bisected.ending {
        Ending::Found => vec![],
        Ending::Unfinished => vec!["the search has not come to its end".to_owned()],
        Ending::NotReproduced { reason, needs_boots } => {
            let needs = needs_boots.map(|boots| format!("about {} would tell", count(boots, "boot a side")));
            std::iter::once(text_safety::title(reason)).chain(needs).collect()
        }
        Ending::EndpointFailed { commit, reason } => {
            let side = if *commit == bisected.good.hash { "good" } else { "bad" };
            vec![
                format!("the {side} endpoint gives no result: {}", text_safety::title(reason)),
                format!("hint: name another one with --{side}, or --fix-build PATCH if it does not build"),
            ]
        }
        Ending::Contradiction { reason } => {
            vec![format!("no single commit explains what was measured: {}", text_safety::title(reason))]
        }
        Ending::BudgetSpent => vec!["the budget is spent before the search came to its end".to_owned()],
        Ending::Exhausted => {
            vec![
                "nothing that can be built and booted tells the remaining commits apart surely enough"
                    .to_owned(),
            ]
        }
    };
    if !matches!(
        bisected.ending,
        Ending::Found | Ending::NotReproduced { .. } | Ending::EndpointFailed { .. }
    ) {
        told.extend(left);
    }
    told.iter_mut().for_each(|sentence| sentence.truncate(sentence.trim_end_matches('.').len()));
    told
}

/// The command that goes on from here; none where nothing is to be done.
pub(crate) fn resume(bisected: &Bisected) -> Option<String> {
    let pending = bisected.answers.iter().any(|it| it.confirmation == Confirmation::Pending);
    let mut words = vec!["kregress".to_owned()];
    words.extend(places(&bisected.command));
    words.extend(["bisect", "--resume", &bisected.session].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = text_safety::verbatim(shell_line(&words));
    match bisected.ending {
        Ending::Unfinished => Some(command),
        Ending::BudgetSpent => Some(format!("{command} --budget MORE")),
        _ if pending => Some(command),
        _ => None,
    }
}

/// Flags of a command that say where its configuration and its results are.
fn places(command: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if name == "--config" || name == "--results" {
            found.push(word.clone());
            if !word.contains('=') {
                found.extend(words.next().cloned());
            }
        }
    }
    found
}

/// How it was found, in sentences.
pub(crate) fn method(bisected: &Bisected) -> String {
    let commits = count(bisected.commits.len(), "commit");
    let how = match &bisected.question {
        Question::Metric { rule: Some(Rule::Exact), .. } => {
            "bisected; the number does not vary between boots, so each was booted once".to_owned()
        }
        Question::Metric { layout_noise, .. } => {
            let noise = layout_noise.map(|it| {
                format!(", with {} of noise that a build as such adds", percent(it).trim_start_matches('+'))
            });
            format!("searched by probability over their noise{}", noise.unwrap_or_default())
        }
        Question::Test { .. } | Question::Finding { .. } => {
            "searched by probability over how often it fails".to_owned()
        }
    };
    let fresh = if bisected.answers.iter().any(is_confirmed) {
        ". The effect is of boots that the search did not use"
    } else {
        ""
    };
    format!("{commits} {how}, {} measured{fresh}.", bisected.spent.steps)
}

/// What it has cost.
pub(crate) fn cost(spent: &Spent) -> String {
    let mut parts = vec![format!("{} built", count(spent.builds, "kernel"))];
    if spent.cached > 0 {
        parts.push(format!("{} from the store", spent.cached));
    }
    if spent.failed_builds > 0 {
        parts.push(format!("{} that cannot be built", spent.failed_builds));
    }
    parts.push(count(spent.boots, "boot"));
    parts.push(count(spent.steps, "step"));
    parts.push(duration(spent.seconds));
    parts.join(", ")
}

/// What is still to come, as far as it is known.
pub(crate) fn remaining(bisected: &Bisected) -> Option<String> {
    let it = bisected.remaining?;
    let whole = |number: f64, one: &str| count(whole(number.ceil()), one);
    let (kernels, boots) = (whole(it.builds, "kernel"), whole(it.boots, "boot"));
    Some(format!("about {kernels}, {boots}, {}", duration(it.seconds)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and neither a time nor a number of boots is negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

fn duration(seconds: f64) -> String {
    let minutes = whole(seconds / 60.0);
    if minutes < 120 {
        quantity::seconds(whole(seconds * 1e3))
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// The command that began it.
pub(crate) fn command(bisected: &Bisected) -> String {
    text_safety::verbatim(shell_line(&bisected.command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::bisected::Remaining;
    use crate::report::bisected::testdata;

    #[test]
    fn a_probability_is_never_all_and_never_nothing() {
        let texts = [1.0, 0.9995, 0.997, 0.5, 0.001, 0.0, f64::NAN].map(probability);
        assert_eq!(texts, [">99.9 %", ">99.9 %", "99.7 %", "50.0 %", "0.1 %", "<0.1 %", "?"]);
    }

    #[test]
    fn times_of_hours_are_told_in_hours() {
        assert_eq!(
            [42.0, 7199.0, 7260.0, f64::NAN].map(duration),
            ["42 s", "119 min 59 s", "2 h 01 min", "0.0 s"]
        );
    }

    #[test]
    fn one_of_something_is_not_called_many() {
        let ahead = |builds, boots| {
            let remaining = Some(Remaining { builds, boots, seconds: 60.0 });
            remaining_text(&Bisected { remaining, ..testdata::unfinished() })
        };
        assert_eq!(ahead(0.3, 1.0), "about 1 kernel, 1 boot, 60 s");
        assert_eq!(ahead(0.0, 1.2), "about 0 kernels, 2 boots, 60 s");
        let rate = Effect::Rate { old_failed: 0, old: 1, new_failed: 1, new: 1 };
        let question = testdata::pass_fail().question;
        let told = effect(&question, &rate);
        assert_eq!(told, "KASAN: use-after-free seen in 1 of 1 boot, without in 0 of 1");
        assert_eq!(undone(&question, &rate).as_deref(), Some("seen in 0 of 1 boot"));
        let needs = |boots| {
            let ending = Ending::NotReproduced { reason: String::new(), needs_boots: Some(boots) };
            ending_text(&Bisected { ending, ..testdata::not_reproduced() })
        };
        assert_eq!(needs(1), "about 1 boot a side would tell");
    }

    fn remaining_text(bisected: &Bisected) -> String {
        remaining(bisected).expect("something")
    }

    fn ending_text(bisected: &Bisected) -> String {
        ending(bisected).pop().expect("a sentence")
    }

    #[test]
    fn what_is_not_confirmed_is_called_no_culprit() {
        for it in [testdata::not_confirmed(), testdata::no_op()] {
            let told = claim(&it.question, &it.answers[0]);
            assert!(!told.contains("culprit"), "{told}");
            assert!(findings(&it.question, &it.answers[0]).is_empty());
            assert_ne!(outcome(&it), Outcome::Found);
        }
    }

    #[test]
    fn every_ending_has_words_of_its_own() {
        let mut lines: Vec<String> = testdata::all().iter().map(|(_, it)| headline(it)).collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all, "{lines:#?}");
    }

    #[test]
    fn a_bisection_goes_on_where_there_is_more_to_do() {
        let next = |it: &Bisected| resume(it).is_some();
        assert!(next(&testdata::unfinished()) && next(&testdata::budget_spent()));
        assert!(!next(&testdata::confirmed()) && !next(&testdata::not_reproduced()));
    }
}
