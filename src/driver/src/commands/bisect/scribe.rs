//! From what the engine tells of boots to lines of the record.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::analysis::{Boot, is_sound};
use crate::bisect::record::{Asked, BootLine, Line, Outcome, Phase, Question, Target};
use crate::bisect::session::Session;
use crate::commands::watch::Watch;
use crate::console::Finding;
use crate::model::{
    Accel, BootId, Failure, Observer, RunEvent, TestResult, TroubleKind, Verdict, first_line,
};

/// Writes down the boots of one request, and shows them.
pub(super) struct Scribe<'a> {
    session: &'a mut Session,
    watch: &'a mut Watch,
    asked: &'a Asked,
    accel: Accel,
    /// Boots that run at the same time, and share its cost.
    beside: usize,
    boots: BTreeMap<BootId, Seen>,
    fault: Option<HostFault>,
}

/// The host could not carry a boot: that is no word on any revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host could not carry a boot: {0}")]
pub(super) struct HostFault(String);

/// Whether a result says anything of the revision.
pub(super) enum Word {
    /// It does, if only that there is nothing to be had from it.
    OfRevision,
    /// The user ended the boot.
    Interrupted,
    /// The host is at fault.
    OfHost(HostFault),
}

/// Whether a verdict says anything of the revision.
pub(super) fn word(verdict: &Verdict) -> Word {
    let Verdict::Error(trouble) = verdict else { return Word::OfRevision };
    match trouble.kind {
        TroubleKind::Interrupted => Word::Interrupted,
        TroubleKind::Host => Word::OfHost(HostFault(first_line(&trouble.message))),
        TroubleKind::Workload
        | TroubleKind::Lost
        | TroubleKind::NotReached
        | TroubleKind::Protocol
        | TroubleKind::Unfinished => Word::OfRevision,
    }
}

/// What was seen of a boot that is not over.
#[derive(Default)]
struct Seen {
    result: Option<TestResult>,
    findings: Vec<Finding>,
    ended: Option<Duration>,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        asked: &'a Asked,
        accel: Accel,
        beside: usize,
        watch: &'a mut Watch,
    ) -> Self {
        Self { session, watch, asked, accel, beside, boots: BTreeMap::new(), fault: None }
    }

    /// Says whether the host carried the boots.
    ///
    /// # Errors
    ///
    /// Fails where it did not: then no revision is to blame.
    pub(super) fn finish(self) -> Result<(), HostFault> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Writes the line of a boot when everything is known of it.
    fn conclude(&mut self, boot: BootId) -> anyhow::Result<()> {
        let Some(seen) = self.boots.get(&boot) else { return Ok(()) };
        if seen.result.is_none() || seen.ended.is_none() {
            return Ok(());
        }
        let Some(Seen { result: Some(result), findings, ended }) = self.boots.remove(&boot) else {
            return Ok(());
        };
        self.write(&result, &findings, ended.unwrap_or_default())
    }

    fn write(&mut self, result: &TestResult, findings: &[Finding], elapsed: Duration) -> anyhow::Result<()> {
        match word(&result.verdict) {
            Word::OfRevision => {}
            // It is asked for again.
            Word::Interrupted => return Ok(()),
            Word::OfHost(fault) => {
                self.fault.get_or_insert(fault);
                return Ok(());
            }
        }
        let Some(target) = self.asked.targets.iter().find(|target| target.name() == result.kernel.0) else {
            return Ok(());
        };
        let target: Target = target.clone();
        let question = &self.session.state().plan.question;
        let line = BootLine {
            leg: self.asked.leg,
            phase: self.asked.phase,
            target,
            turn: result.turn.repeat,
            boot: result.boot.map(|boot| boot.0),
            accel: self.accel.name().to_owned(),
            seconds: elapsed.as_secs_f64() / self.beside as f64,
            outcome: match self.asked.phase {
                Phase::Profile => of_profile(result),
                Phase::Endpoints | Phase::Search | Phase::Confirm | Phase::Revert => {
                    outcome(question, result, findings)
                }
            },
            breakdown: match self.asked.phase {
                Phase::Profile => result.breakdown.clone(),
                Phase::Endpoints | Phase::Search | Phase::Confirm | Phase::Revert => None,
            },
        };
        self.session.write(Line::Boot(line))?;
        Ok(())
    }
}

impl Observer for Scribe<'_> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        self.watch.show(event);
        match event {
            RunEvent::TestFinished(result) => match result.boot {
                // What no boot reached has none to wait for.
                None => self.write(result, &[], Duration::ZERO),
                Some(boot) => {
                    self.boots.entry(boot).or_default().result = Some(result.clone());
                    self.conclude(boot)
                }
            },
            RunEvent::BootFinding { boot, finding } => {
                self.boots.entry(*boot).or_default().findings.push(finding.clone());
                Ok(())
            }
            RunEvent::BootFinished { boot, elapsed, .. } => {
                self.boots.entry(*boot).or_default().ended = Some(*elapsed);
                self.conclude(*boot)
            }
            _ => Ok(()),
        }
    }
}

/// What a boot says on the question.
pub(super) fn outcome(question: &Question, result: &TestResult, outside: &[Finding]) -> Outcome {
    match question {
        Question::Metric { metric, .. } => value(&metric.name, result),
        Question::Test { .. } => match &result.verdict {
            Verdict::Pass { .. } => Outcome::Clean,
            Verdict::Fail(failure) => {
                Outcome::Shows { message: first_line(&failure.message), class: class(failure) }
            }
            Verdict::Skip { .. } | Verdict::Error(_) => nothing(result),
        },
        Question::Finding { title, .. } => {
            let found = result.findings.iter().chain(outside).find(|it| it.title.contains(title.as_str()));
            match (found, &result.verdict) {
                (Some(finding), _) => {
                    Outcome::Shows { message: first_line(&finding.title), class: "finding".to_owned() }
                }
                (None, Verdict::Pass { .. }) => Outcome::Clean,
                (None, Verdict::Fail(_) | Verdict::Skip { .. } | Verdict::Error(_)) => nothing(result),
            }
        }
    }
}

/// What makes a failure this failure: its class and its first line, whatever numbers
/// and addresses are in it.
fn class(failure: &Failure) -> String {
    let mut text = format!("{}: ", failure.kind.name());
    let line = first_line(&failure.message);
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.contains(|c: char| c.is_ascii_digit()) {
            text.push('#');
            text.push_str(&word[bare.len()..]);
        } else {
            text.push_str(word);
        }
    }
    text
}

/// The value of a metric. After a warning, an oops or a hang there is none.
fn value(metric: &str, result: &TestResult) -> Outcome {
    let samples = result.samples.get(metric).map_or(&[][..], Vec::as_slice);
    match Boot::of(0, samples).filter(|_| is_sound(&result.verdict)) {
        Some(Boot { value, error }) => Outcome::Value {
            median: value.median,
            lowest: value.lowest,
            highest: value.highest,
            samples: value.samples,
            error,
        },
        None => nothing(result),
    }
}

fn of_profile(result: &TestResult) -> Outcome {
    match &result.verdict {
        Verdict::Pass { .. } => Outcome::Clean,
        Verdict::Fail(_) | Verdict::Skip { .. } | Verdict::Error(_) => nothing(result),
    }
}

/// Why a boot says nothing.
fn nothing(result: &TestResult) -> Outcome {
    let reason = match &result.verdict {
        Verdict::Pass { .. } => "the test passed and gave no number".to_owned(),
        Verdict::Fail(failure) => format!("{}: {}", failure.kind.name(), first_line(&failure.message)),
        Verdict::Skip { reason } => format!("skipped: {}", first_line(reason)),
        Verdict::Error(trouble) => format!("{}: {}", trouble.kind.name(), first_line(&trouble.message)),
    };
    Outcome::Nothing { reason }
}
