//! The page of a bisection. Pure.

use maud::{Markup, html};

use super::{ROWS, breakdown, history, left_out, sentence};
use crate::analysis::BreakdownChange;
use crate::bisect::bisected::{Answer, Bisected, Question};
use crate::report::bisected::course::{self, Part, Standing, Step};
use crate::report::bisected::words::{self, Outcome};
use crate::report::text_safety;

/// Commits of a class, and suspects, that are named.
const SUSPECTS: usize = 40;
/// Facts of the environment.
const FACTS: usize = 100;

pub(super) fn page(bisected: &Bisected) -> Markup {
    let headline = words::headline(bisected);
    super::page(
        &headline,
        &html! {
            (header(bisected, &headline))
            (plots(bisected))
            (commits(bisected))
            (suspects(bisected))
            (breakdowns(bisected))
            (costs(bisected))
            (environment(bisected))
            (repeat(bisected))
        },
    )
}

/// What the numbers were taken with.
fn badge(bisected: &Bisected) -> Markup {
    let accel = bisected.environment.iter().find(|(name, _)| name.starts_with("accel"));
    html! { @if let Some((_, accel)) = accel { (super::badge(&text_safety::name(accel))) } }
}

fn header(bisected: &Bisected, headline: &str) -> Markup {
    let (tone, sign) = match words::outcome(bisected) {
        Outcome::Found => ("good", "✓"),
        Outcome::Open => ("open", "?"),
        Outcome::Unfinished => ("same", "…"),
    };
    let (word, what) = headline.split_once(": ").unwrap_or((headline, ""));
    html! {
        header {
            p.over { "kregress bisect, session " (text_safety::name(&bisected.session)) }
            h1.verdict.(tone) {
                span.sign aria-hidden="true" { (sign) }
                span { (sentence(word)) }
            }
            @if bisected.answers.is_empty() { p.lead { (sentence(what)) "." } }
            @for answer in &bisected.answers { (of_answer(bisected, answer)) }
            @for line in words::ending(bisected) { p { (sentence(&line)) "." } }
            p.faint.small style="margin-top:.75rem" { (words::question(bisected)) }
            div.sides {
                @for (class, name, commit) in [("of-base", "good", &bisected.good), ("of-head", "bad", &bisected.bad)] {
                    div.side.(class) {
                        p.faint.small { (name) }
                        p { code { (words::short(&commit.hash)) } " " (text_safety::title(&commit.subject)) }
                        p.faint.small { (words::byline(commit)) }
                    }
                }
            }
            @if let Some(effect) = words::endpoints(bisected) { p.small style="margin-top:.75rem" { (sentence(&effect)) "." } }
        }
    }
}

fn of_answer(bisected: &Bisected, answer: &Answer) -> Markup {
    html! {
        div.answer.sure[words::is_confirmed(answer)] {
            @if let Some(class) = words::class(answer) { p { (sentence(&class)) } }
            @for commit in answer.commits.iter().take(SUSPECTS) {
                p.lead { code { (words::short(&commit.hash)) } " " b { (text_safety::title(&commit.subject)) } }
                p.faint.small { (words::byline(commit)) }
            }
            (left_out(answer.commits.len(), SUSPECTS, "commit"))
            p { (words::claim(&bisected.question, answer)) "." }
            @for line in words::findings(&bisected.question, answer) { p { (sentence(&line)) "." } }
            @if !answer.files.is_empty() {
                details {
                    summary { (super::count(answer.files.len(), "file")) " changed" }
                    ul { @for file in answer.files.iter().take(ROWS) { li { code { (text_safety::name(file)) } } } }
                    (left_out(answer.files.len(), ROWS, "file"))
                }
            }
        }
    }
}

fn plots(bisected: &Bisected) -> Markup {
    let (what, point) = match &bisected.question {
        Question::Metric { metric, .. } => (text_safety::name(&metric.name), "a boot"),
        Question::Test { .. } | Question::Finding { .. } => {
            ("share of boots that fail".to_owned(), "what the boots of a commit came to")
        }
    };
    let unit = history::unit(bisected);
    let nearby = history::nearby(bisected);
    html! {
        section.long {
            h2 { "Commit by commit " (badge(bisected)) }
            p.faint.small {
                "Commits from good (0) to bad, parents before children. A point is " (point) ", a short line the median of a commit, "
                "a cross a commit that could not be measured; long lines are the levels of good and bad. "
                "Below: how probable each commit is the culprit" (searches(bisected)) "."
            }
            p {
                span.key.of-base { i.dot {} "without" }
                span.key.of-head { i.dot {} "with" }
            }
            (history::figure(bisected, history::whole(bisected), &what, unit))
            @if let Some(nearby) = nearby {
                h3 { "Around the most probable commit" }
                (history::figure(bisected, nearby, &what, unit))
            }
        }
    }
}

/// By which search, where there is more than one.
fn searches(bisected: &Bisected) -> String {
    match bisected.later.len() {
        0 => String::new(),
        later => format!(", by the last of {} searches that went over it", later + 1),
    }
}

fn commits(bisected: &Bisected) -> Markup {
    let (steps, more) = course::steps(bisected, ROWS);
    html! {
        @if !steps.is_empty() {
            section.long {
                h2 { "Commits that were measured " (badge(bisected)) }
                div.scroll {
                    table.cards {
                        thead {
                            tr {
                                th { "commit" } th.number { "boots" } th.number { "came to" }
                                th.number { "probable" } th { "side" }
                            }
                        }
                        tbody { @for step in &steps { (row(step)) } }
                    }
                }
                (left_out(steps.len() + more, steps.len(), "commit farther from it"))
            }
        }
    }
}

fn row(step: &Step) -> Markup {
    let (tone, side) = match (step.boots.is_empty(), step.standing) {
        (true, _) => ("same", ""),
        (false, Standing::Without) => ("good", "without"),
        (false, Standing::With) => ("bad", "with"),
        (false, Standing::Open) => ("open", "open"),
    };
    html! {
        tr.answers[step.part == Part::Answer] {
            th.name scope="row" {
                code { (step.hash) } " " (step.subject)
                @if let Some(reason) = &step.reason { span.why { (reason) } }
            }
            td.number data-label="boots" { (step.boots) }
            td.number data-label="came to" { (step.outcome) }
            td.number data-label="probable" { (step.probability) }
            td data-label=[(!side.is_empty()).then_some("side")] { span.word.(tone) { (side) } }
        }
    }
}

fn suspects(bisected: &Bisected) -> Markup {
    html! {
        @if !bisected.suspects.is_empty() {
            section.long {
                h2 { "Suspects" }
                table.facts.one {
                    tbody {
                        @for it in bisected.suspects.iter().take(SUSPECTS) {
                            tr {
                                th scope="row" { (words::probability(it.probability)) }
                                td { code { (words::short(&it.commit.hash)) } " " (text_safety::title(&it.commit.subject)) }
                            }
                        }
                    }
                }
                (left_out(bisected.suspects.len(), SUSPECTS, "suspect"))
            }
        }
    }
}

fn breakdowns(bisected: &Bisected) -> Markup {
    let all: Vec<&BreakdownChange> = bisected.answers.iter().filter_map(|it| it.breakdown.as_ref()).collect();
    breakdown::changes(&all, &badge(bisected), "Base is the commit before the answer, head the one after it.")
}

fn costs(bisected: &Bisected) -> Markup {
    html! {
        section {
            h2 { "How, and what it cost" }
            p { (words::method(bisected)) }
            p { (sentence(&words::cost(&bisected.spent))) "." }
            @if let Some(more) = words::remaining(bisected) { p { "Still to come: " (more) "." } }
            (super::notes("To know:", &bisected.notes))
        }
    }
}

fn environment(bisected: &Bisected) -> Markup {
    let facts = &bisected.environment;
    html! {
        section.long {
            h2 { "Environment" }
            table.facts.one {
                tbody {
                    tr { th scope="row" { "tree" } td { (text_safety::verbatim(&bisected.tree)) } }
                    @for (name, value) in facts.iter().take(FACTS) {
                        tr { th scope="row" { (text_safety::name(name)) } td { (text_safety::verbatim(value)) } }
                    }
                    tr { th scope="row" { "directory" } td { (text_safety::verbatim(&bisected.directory)) } }
                }
            }
            (left_out(facts.len(), FACTS, "fact"))
        }
    }
}

fn repeat(bisected: &Bisected) -> Markup {
    html! {
        @if let Some(command) = words::resume(bisected) {
            section {
                h2 { "Go on with" }
                pre.wrap { (command) }
            }
        }
        section {
            h2 { "Reproduce with" }
            pre.wrap { (words::command(bisected)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bisected::testdata;

    fn shown(bisected: &Bisected) -> String {
        page(bisected).into_string()
    }

    #[test]
    fn the_answer_stands_above_every_plot_and_table() {
        let page = shown(&testdata::confirmed());
        let body = page.split_once("<h1").expect("a heading").1;
        let answer = body.find("is the culprit with 99.7 %").expect("the answer");
        assert!(
            answer < body.find("<svg").expect("a plot") && answer < body.find("<table").expect("a table")
        );
    }

    #[test]
    fn no_page_calls_a_culprit_what_was_not_confirmed() {
        for it in [testdata::not_confirmed(), testdata::no_op()] {
            let page = shown(&it);
            let header = page.split("</header>").next().expect("a header");
            let header = header.split("<header>").nth(1).expect("a header");
            assert!(!header.contains("culprit with") && !header.contains("answer sure"), "{header}");
        }
    }

    #[test]
    fn a_bisection_of_ten_thousand_commits_is_a_page_of_bounded_size() {
        let page = shown(&testdata::long(10_000));
        assert!(page.len() < 300 << 10, "{} bytes", page.len());
        assert!(page.contains("Around the most probable commit"));
    }

    #[test]
    fn of_several_searches_the_page_says_which_of_them_it_shows() {
        assert!(shown(&testdata::two()).contains("by the last of 2 searches that went over it."));
        assert!(shown(&testdata::confirmed()).contains("is the culprit.<"));
    }

    #[test]
    fn the_breakdown_says_what_its_sides_are() {
        let page = shown(&testdata::confirmed());
        assert!(page.contains("Base is the commit before the answer") && page.contains("xfrm_net_exit"));
        assert!(!shown(&testdata::exact()).contains("Base is the commit before"));
    }
}
