//! Where a run stands, in the words of a status line. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::model::{BootEnd, BootId, BuildEvent, KernelName, RunEvent, TestResult, Verdict};
use crate::report::cases::verdict_text;
use crate::report::look::{Look, verdict_style};
use crate::report::{quantity, text_safety};
use crate::results::{Counts, Standing, milliseconds};

/// What is going on.
#[derive(Debug, Default)]
pub(super) struct Status {
    planned: u64,
    /// Kernels that every test is measured on.
    sides: u64,
    /// Last turn that was asked for, by test, where they are asked for as it goes on.
    asked: HashMap<String, u32>,
    retries: u32,
    counts: Counts,
    /// Tests that did not pass, by kernel, name and boot asked for, while they may
    /// be tried again.
    missed: HashMap<(KernelName, String, u32), Standing>,
    /// Kernels that are being built, with what is seen of it.
    kernels: BTreeMap<KernelName, String>,
    boots: BTreeMap<BootId, BootStatus>,
}

#[derive(Debug)]
struct BootStatus {
    kernel: String,
    accel: &'static str,
    planned: usize,
    done: usize,
    now: String,
}

impl Status {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::RunStarted(info) => {
                let tests = info.tests.len() as u64 * info.kernels.len() as u64;
                self.planned = tests.saturating_mul(u64::from(info.boots));
                self.retries = info.retries;
                self.sides = info.kernels.len() as u64;
            }
            RunEvent::Build(BuildEvent::Step { kernel, what }) => {
                self.kernels.insert(kernel.clone(), text_safety::title(what));
            }
            RunEvent::Build(BuildEvent::Objects { kernel, done, estimated, line, .. }) => {
                let line = text_safety::title(line);
                self.kernels.insert(kernel.clone(), format!("{}  {line}", objects(*done, *estimated)));
            }
            RunEvent::Build(BuildEvent::Ready(info)) => {
                self.kernels.remove(&info.name);
            }
            RunEvent::KernelFailed { kernel, .. } => {
                self.kernels.remove(kernel);
            }
            RunEvent::BootStarted(info) => {
                let status = BootStatus {
                    kernel: text_safety::name(&info.kernel.0),
                    accel: info.accel.name(),
                    planned: info.tests.len(),
                    done: 0,
                    now: "booting".to_owned(),
                };
                self.boots.insert(info.id, status);
            }
            RunEvent::BootReady { boot, .. } => self.set(*boot, "up".to_owned()),
            RunEvent::TestStarted { boot, test } => self.set(*boot, text_safety::name(test.to_string())),
            RunEvent::TestProgress { boot, test, done, total } => {
                let test = text_safety::name(test.to_string());
                self.set(*boot, format!("{test}  {done}/{total}"));
            }
            RunEvent::TestFinished(result) => {
                self.count(result);
                if let Some(boot) = result.boot.and_then(|boot| self.boots.get_mut(&boot)) {
                    boot.done += 1;
                    boot.now.clear();
                }
            }
            RunEvent::BootFinished { boot, .. } => {
                self.boots.remove(boot);
            }
            RunEvent::TurnsAsked { tests, until, .. } => {
                for test in tests {
                    let asked = self.asked.entry(test.to_string()).or_insert(0);
                    let more = u64::from(until.saturating_sub(*asked)).saturating_mul(self.sides);
                    self.planned = self.planned.saturating_add(more);
                    *asked = (*asked).max(*until);
                }
            }
            RunEvent::Notice(_)
            | RunEvent::Compared(_)
            | RunEvent::BootFinding { .. }
            | RunEvent::BootEvidence { .. }
            | RunEvent::RunFinished { .. } => {}
        }
    }

    /// Counts a verdict; that of a later attempt in place of the one before it.
    fn count(&mut self, result: &TestResult) {
        let key = (result.kernel.clone(), result.test.to_string(), result.turn.repeat);
        let new = Standing::of(&result.verdict);
        let old = if result.turn.attempt > 1 { self.missed.remove(&key) } else { None };
        let standing = old.map_or(new, |old| old.then(new));
        if let Some(old) = old {
            self.counts.remove(old);
        }
        self.counts.add(standing);
        if self.retries > 0 && matches!(standing, Standing::Fail | Standing::Error) {
            self.missed.insert(key, standing);
        }
    }

    fn set(&mut self, boot: BootId, now: String) {
        if let Some(status) = self.boots.get_mut(&boot) {
            status.now = now;
        }
    }

    /// Kernels that are being built, with a line for each.
    pub(super) fn kernels(&self) -> impl Iterator<Item = (KernelName, String)> {
        self.kernels
            .iter()
            .map(|(kernel, what)| (kernel.clone(), format!("{}  {what}", text_safety::name(&kernel.0))))
    }

    /// Boots that run, with a line for each.
    pub(super) fn boots(&self) -> impl Iterator<Item = (BootId, String)> {
        self.boots.iter().map(|(id, boot)| {
            let count = format!("{}/{}", boot.done, boot.planned);
            (*id, format!("boot {id}  {} {}  {count}  {}", boot.kernel, boot.accel, boot.now))
        })
    }

    /// Verdicts so far, of all that are to come.
    pub(super) fn total(&self, look: Look) -> String {
        let mut text = format!("{}/{} tests", self.counts.total(), self.planned);
        for (word, shown, count) in [
            ("fail", "failed", self.counts.fail),
            ("error", "with errors", self.counts.error),
            ("flaky", "flaky", self.counts.flaky),
        ] {
            if count > 0 {
                text.push_str(", ");
                text.push_str(&look.paint(verdict_style(word), format!("{count} {shown}")));
            }
        }
        text
    }

    /// ` [3/36]`, behind lines that stand alone; nothing where nobody knows how many
    /// there will be.
    pub(super) fn position(&self) -> String {
        match self.planned {
            0 => String::new(),
            planned => format!(" [{}/{planned}]", self.counts.total()),
        }
    }
}

/// `420 of about 3100 objects`.
pub(super) fn objects(done: u64, estimated: u64) -> String {
    match estimated {
        0 if done == 1 => "1 object".to_owned(),
        0 => format!("{done} objects"),
        _ => format!("{done} of about {estimated} objects"),
    }
}

/// A verdict in one line, or in two when there is something to say.
pub(super) fn verdict_lines(result: &TestResult, look: Look) -> Vec<String> {
    let boot = result.boot.map_or("no boot".to_owned(), |boot| format!("boot {boot}"));
    let attempt = match result.turn.attempt {
        1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let line = format!(
        "{} {}  {boot}, {}{attempt}, {}",
        shown(result.verdict.word(), look),
        text_safety::name(result.test.to_string()),
        text_safety::name(&result.kernel.0),
        quantity::seconds(milliseconds(result.elapsed)),
    );
    let (_, text) = verdict_text(&result.verdict);
    match &result.verdict {
        Verdict::Pass { .. } => vec![line],
        Verdict::Fail(_) | Verdict::Skip { .. } | Verdict::Error(_) => {
            vec![line, format!("      {}", text_safety::title(text))]
        }
    }
}

/// What is said of an event for good, besides verdicts; one line, safe to print.
pub(super) fn remark(event: &RunEvent, look: Look) -> Option<String> {
    let (word, text) = match event {
        RunEvent::RunStarted(info) => {
            let count = |count: usize, what: &str| match count {
                1 => format!("1 {what}"),
                count => format!("{count} {what}s"),
            };
            let boots = match &info.comparison {
                Some(comparison) => comparison.looks.last().map_or(0, |boots| *boots),
                None => info.boots,
            };
            let up_to = if info.comparison.is_some() { "up to " } else { "" };
            let boots = count(usize::try_from(boots).unwrap_or(usize::MAX), "boot");
            let (kernels, boots) = (count(info.kernels.len(), "kernel"), format!("{up_to}{boots}"));
            let tests = count(info.tests.len(), "test");
            (None, format!("run {}: {kernels}, {boots}, {tests}, seed {}", info.id, info.seed))
        }
        RunEvent::Build(BuildEvent::Ready(info)) => {
            let release = info.release.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            (None, format!("kernel {} is ready{release}", info.name))
        }
        RunEvent::KernelFailed { kernel, reason } => {
            (Some("error"), format!("kernel {kernel} cannot be had: {reason}"))
        }
        RunEvent::Notice(text) => (None, format!("note: {text}")),
        RunEvent::TurnsAsked { why, .. } => (None, why.clone()),
        RunEvent::Compared(overall) => (None, format!("compared: {}", overall.name())),
        RunEvent::BootFinding { boot, finding } if finding.allowed.is_some() => {
            (None, format!("boot {boot}, outside of tests, allowed: {}", finding.title))
        }
        RunEvent::BootFinding { boot, finding } => {
            (Some("fail"), format!("boot {boot}, outside of tests: {}", finding.title))
        }
        RunEvent::BootFinished { boot, end, .. } => match end {
            BootEnd::Clean => return None,
            BootEnd::Panicked { title } => (None, format!("boot {boot} panicked: {title}")),
            BootEnd::Lost { reason } => (None, format!("boot {boot} was lost: {reason}")),
            BootEnd::Hung { reason } => (None, format!("boot {boot} hung: {reason}")),
            BootEnd::Killed { reason } => (None, format!("boot {boot} was killed: {reason}")),
            BootEnd::NotBooted { reason, .. } => (None, format!("boot {boot} never came up: {reason}")),
        },
        _ => return None,
    };
    let text = text_safety::title(text);
    Some(word.map_or(text.clone(), |word| format!("{} {text}", shown(word, look))))
}

/// The word of a verdict as it stands at the beginning of a line.
fn shown(word: &str, look: Look) -> String {
    let text = match word {
        "fail" => "FAIL",
        "error" => "ERROR",
        word => word,
    };
    look.paint(verdict_style(word), format!("{text:<5}"))
}
