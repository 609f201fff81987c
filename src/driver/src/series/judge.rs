//! What is wrong with a series, since which patch and until which: a pure function
//! of what became of each revision.
//!
//! A state is followed from the base to the tip. Where it turns bad, the patches
//! between the last revision that is known to be well and the first that is not are
//! the ones that may have done it: one, unless those between could not be tried.
//! What is bad on the base is the base's, and what a later patch takes away again is
//! a defect all the same, for nobody can bisect across it.

use super::checked::{
    Answer, Apply, Blame, Build, Defect, Found, Image, Outcome, Performance, Place, Revision, Since, Verdict,
    Warning, Warnings, What, booted,
};
use crate::results::Standing;

/// What is seen of a state at a revision.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    /// It is well.
    Well,
    /// It is not wrong, but nothing shows that it is well: a test was skipped.
    NotWrong,
    /// It is wrong.
    Wrong { message: String, place: Option<Place> },
    /// Nothing is known.
    Unknown,
}

/// A stretch of revisions where something is wrong.
#[derive(Debug, Clone, PartialEq)]
struct Spell {
    since: Since,
    until: Option<usize>,
    message: String,
    place: Option<Place>,
}

/// Follows a state from the base, which is the first, to the tip. Patches of `innocent`
/// change no kernel.
fn spells(row: &[Seen], innocent: &dyn Fn(usize) -> bool) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    let mut open: Option<Spell> = None;
    // The last revision where it was not wrong.
    let mut before: Option<usize> = None;
    for (at, seen) in row.iter().enumerate() {
        match seen {
            Seen::Unknown => {}
            Seen::NotWrong => {
                if open.is_none() {
                    before = Some(at);
                }
            }
            Seen::Well => {
                before = Some(at);
                if let Some(spell) = open.take() {
                    spells.push(Spell { until: Some(at), ..spell });
                }
            }
            Seen::Wrong { message, place } if open.is_none() => {
                let since = match before {
                    None if at == 0 => Since::Base,
                    None => Since::NotKnown {
                        reason: "nothing is known of the base, so that no patch can be blamed".to_owned(),
                    },
                    Some(well) => Since::Patches { revisions: between(well, at, innocent), probability: 1.0 },
                };
                open = Some(Spell { since, until: None, message: message.clone(), place: place.clone() });
            }
            Seen::Wrong { .. } => {}
        }
    }
    spells.extend(open);
    spells
}

/// Patches after a revision up to another one, without those that change no kernel,
/// unless there are no others.
fn between(well: usize, wrong: usize, innocent: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let all = well + 1..=wrong;
    let some: Vec<usize> = all.clone().filter(|at| !innocent(*at)).collect();
    if some.is_empty() { all.collect() } else { some }
}

/// Everything that is wrong, in the order of the patches that may have brought it.
#[must_use]
pub fn defects(revisions: &[Revision], performance: &Performance) -> Vec<Defect> {
    // A patch that boots what the one before it boots cannot have changed a boot.
    let same_image = |at: usize| match revisions[at].image {
        Image::SameAs { revision } => at > 0 && same_as_before(revisions, at, revision),
        Image::Own | Image::Missing => false,
    };
    let nobody = |_: usize| false;
    let mut defects = Vec::new();
    let mut add = |what: What, name: &str, spells: Vec<Spell>| {
        defects.extend(spells.into_iter().map(|Spell { since, until, message, place }| Defect {
            what,
            name: name.to_owned(),
            message,
            place,
            since,
            until,
        }));
    };
    let row = |seen: &dyn Fn(usize) -> Seen| -> Vec<Seen> { (0..revisions.len()).map(seen).collect() };
    add(What::Apply, "", spells(&row(&|at| applies(&revisions[at])), &nobody));
    add(What::Build, "", spells(&row(&|at| builds(&revisions[at])), &nobody));
    add(What::Boot, "", spells(&row(&|at| boots(booted(revisions, at))), &same_image));
    let mut tests: Vec<&String> = revisions.iter().flat_map(|it| it.tests.keys()).collect();
    tests.sort_unstable();
    tests.dedup();
    for test in tests {
        add(What::Test, test, spells(&row(&|at| passes(booted(revisions, at), test)), &same_image));
    }
    defects.extend(warned(revisions));
    defects.extend(slowed(performance));
    defects.sort_by_key(|defect| (first(&defect.since), defect.what));
    defects
}

/// Where a defect stands in a list: what the base has comes last.
fn first(since: &Since) -> usize {
    match since {
        Since::Patches { revisions, .. } => revisions.first().copied().unwrap_or(usize::MAX),
        Since::NotKnown { .. } => usize::MAX - 1,
        Since::Base => usize::MAX,
    }
}

/// Whether `at` boots what the last built revision before it boots.
fn same_as_before(revisions: &[Revision], at: usize, image: usize) -> bool {
    let before = revisions[..at].iter().rposition(Revision::is_built);
    before
        .is_some_and(|before| before == image || revisions[before].image == Image::SameAs { revision: image })
}

fn applies(revision: &Revision) -> Seen {
    match &revision.apply {
        Apply::Applies => Seen::Well,
        Apply::Refused { reason } => Seen::Wrong { message: reason.clone(), place: None },
        Apply::NotReached => Seen::Unknown,
    }
}

fn builds(revision: &Revision) -> Seen {
    match &revision.build {
        Build::Built { .. } | Build::Stored => Seen::Well,
        Build::Failed { reason, place, .. } => Seen::Wrong { message: reason.clone(), place: place.clone() },
        Build::NotTried | Build::NotKnown { .. } => Seen::Unknown,
    }
}

fn boots(revision: &Revision) -> Seen {
    if let Some(trouble) = revision.troubles.iter().find(|trouble| trouble.blame == Blame::Kernel) {
        return Seen::Wrong { message: trouble.message.clone(), place: None };
    }
    // Boots without a test say nothing, and those that the host spoilt neither.
    if revision.tests.is_empty() || !revision.troubles.is_empty() { Seen::Unknown } else { Seen::Well }
}

fn passes(revision: &Revision, test: &str) -> Seen {
    match revision.tests.get(test) {
        None => Seen::Unknown,
        Some(tested) => match tested.standing {
            Standing::Pass | Standing::Flaky => Seen::Well,
            Standing::Skip => Seen::NotWrong,
            Standing::Fail => Seen::Wrong { message: tested.message.clone(), place: None },
            Standing::Error => Seen::Unknown,
        },
    }
}

/// Warnings that a patch brought, until they are gone.
fn warned(revisions: &[Revision]) -> Vec<Defect> {
    let compared = |at: usize| match &revisions[at].warnings {
        Warnings::Compared { new, gone } => Some((new, gone)),
        Warnings::NoneToCompare | Warnings::NotKnown { .. } => None,
    };
    let mut defects = Vec::new();
    for at in 1..revisions.len() {
        let Some((new, _)) = compared(at) else { continue };
        let before = revisions[..at].iter().rposition(Revision::is_built).unwrap_or(0);
        for warning in new {
            let is_gone = |later: &usize| {
                compared(*later)
                    .is_some_and(|(_, gone)| gone.iter().any(|it| it.identity == warning.identity))
            };
            defects.push(Defect {
                what: What::Warning,
                name: place(warning),
                message: warning.message.clone(),
                place: warning.place.clone(),
                since: Since::Patches { revisions: (before + 1..=at).collect(), probability: 1.0 },
                until: (at + 1..revisions.len()).find(is_gone),
            });
        }
    }
    defects
}

fn place(warning: &Warning) -> String {
    match &warning.place {
        Some(Place { file, line: Some(line) }) => format!("{file}:{line}"),
        Some(Place { file, line: None }) => file.clone(),
        None => String::new(),
    }
}

/// Metrics that are worse on the tip, each with whoever did it.
fn slowed(performance: &Performance) -> Vec<Defect> {
    let Performance::Measured { changes, .. } = performance else { return Vec::new() };
    let found = |name: &str| changes.iter().find(|it| format!("{}:{}", it.test, it.metric) == name);
    let mut defects = Vec::new();
    for change in changes.iter().filter(|change| change.verdict == Verdict::Regressed) {
        let answer = match &change.found {
            Found::With { name } => found(name).map_or(&change.found, |it| &it.found),
            found => found,
        };
        let since = match answer {
            Found::Patches { answers } => answers.iter().map(blamed).collect(),
            Found::Nobody { reason } => vec![Since::NotKnown { reason: reason.clone() }],
            Found::NotSearched | Found::With { .. } => {
                vec![Since::NotKnown { reason: "nobody has looked which patch it was".to_owned() }]
            }
        };
        defects.extend(since.into_iter().map(|since| Defect {
            what: What::Metric,
            name: format!("{}:{}", change.test, change.metric),
            message: change.text.clone(),
            place: None,
            since,
            until: None,
        }));
    }
    defects
}

fn blamed(answer: &Answer) -> Since {
    Since::Patches { revisions: answer.revisions.clone(), probability: answer.probability }
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It came to its end.
    Whole,
    /// The user stopped it, or it goes on.
    Stopped,
    /// The host could not go on.
    Failed,
}

/// What all of it comes to.
#[must_use]
pub fn outcome(
    revisions: &[Revision],
    defects: &[Defect],
    performance: &Performance,
    course: Course,
) -> Outcome {
    if course == Course::Stopped {
        return Outcome::Interrupted;
    }
    let ours = || defects.iter().filter(|defect| defect.since != Since::Base);
    if ours().any(|defect| defect.until.is_none()) {
        return Outcome::Broken;
    }
    if ours().next().is_some() {
        return Outcome::Repaired;
    }
    let verdict = match performance {
        Performance::Measured { verdict, .. } => Some(*verdict),
        Performance::NotMeasured { .. } => Some(Verdict::NotMeasured),
        Performance::Undecided { .. } => Some(Verdict::Inconclusive),
        Performance::NotAsked | Performance::SameImage => None,
    };
    if course == Course::Failed
        || verdict == Some(Verdict::NotMeasured)
        || revisions.iter().any(is_in_the_dark)
    {
        return Outcome::NotKnown;
    }
    let standings = || revisions.iter().flat_map(|it| it.tests.values()).map(|it| it.standing);
    if verdict == Some(Verdict::Inconclusive) || !standings().any(|it| it != Standing::Skip) {
        return Outcome::Inconclusive;
    }
    Outcome::Good
}

/// Whether the harness or its host kept something of a revision from being known.
#[must_use]
pub fn is_in_the_dark(revision: &Revision) -> bool {
    let harness = |trouble: &super::checked::Trouble| trouble.blame == Blame::Harness;
    matches!(revision.build, Build::NotKnown { .. })
        || revision.troubles.iter().any(harness)
        || revision.tests.values().any(|tested| tested.standing == Standing::Error)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
