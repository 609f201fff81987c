//! What a session knows of one test. Pure; everything the guest can make grow
//! has a bound.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kregress_wire::{Breakdown, ExecResult, Outcome};

use super::exchange::SessionTest;
use super::exec;
use super::verdict::{valid, verdict};
use crate::console::Finding;
use crate::ktap::{self, Dialect, Ending, Parser};
use crate::model::{Evidence, Subtest, Verdict};

/// Bounds on what one test may make the host remember: with all of them reached,
/// about 3 MB. From experience: the largest honest test reports 100 000 samples
/// and a dozen notes.
const MAX_SAMPLES: usize = 250_000;
/// Most functions of a breakdown: pernet operations are a hundred, and their helpers
/// as many.
const MAX_ROWS: usize = 1024;
const MAX_NOTES: usize = 200;
const MAX_NOTE_BYTES: usize = 16 << 10;
/// Most bytes of all notes of a test.
const MAX_NOTES_BYTES: usize = 256 << 10;
const MAX_LOG_BYTES: usize = 64 << 10;

/// A test with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Number in the plan.
    pub id: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// Host time from start to report.
    pub elapsed: Duration,
    /// Samples by metric.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// Facts about how it ran.
    pub notes: BTreeMap<String, String>,
    /// Where the time went, if the workload found out.
    pub breakdown: Option<Breakdown>,
    /// What it reported of its parts.
    pub subtests: Vec<Subtest>,
    /// Findings between its markers.
    pub findings: Vec<Finding>,
    /// What was found out about the guest when a limit had passed.
    pub evidence: Vec<Evidence>,
    /// Last part of its kernel log and raw output.
    pub log: String,
}

/// Keeps the last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    dropped: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = if bytes.len() > MAX_LOG_BYTES {
            self.dropped = true;
            &bytes[bytes.len() - MAX_LOG_BYTES..]
        } else {
            bytes
        };
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(MAX_LOG_BYTES);
        if excess > 0 {
            self.dropped = true;
            self.bytes.drain(..excess);
        }
        self.bytes.extend(bytes);
    }

    fn take(&mut self) -> String {
        let bytes: Vec<u8> = std::mem::take(&mut self.bytes).into();
        let text = String::from_utf8_lossy(&bytes);
        if self.dropped {
            format!("[... the beginning is in the boot's logs ...]\n{text}")
        } else {
            text.into_owned()
        }
    }
}

#[derive(Debug)]
enum State {
    Planned,
    Running { since: Duration },
    Reported { since: Duration, at: Duration, outcome: Outcome },
    Judged,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) test: SessionTest,
    state: State,
    samples: BTreeMap<String, Vec<f64>>,
    sample_count: usize,
    notes: BTreeMap<String, String>,
    note_bytes: usize,
    breakdown: Option<Breakdown>,
    pub(super) findings: Vec<Finding>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) log: Tail,
    /// A detector of the kernel was off when it began; the finding that says so.
    pub(super) blinded: Option<String>,
    /// The end marker stood in the kernel log.
    pub(super) console_ended: bool,
    output: Output,
}

/// What is read of the output of a test.
#[derive(Debug)]
enum Output {
    /// Nothing.
    Unread,
    /// KTAP, so far.
    Ktap(Box<Parser>),
    /// KTAP of its part of the kernel log, so far.
    Log(Box<Parser>),
    /// What came of it.
    Read(ktap::Report),
}

impl Record {
    pub(super) fn new(test: SessionTest) -> Self {
        let output = match test.exec {
            Some(ExecResult::Ktap) => Output::Ktap(Box::new(Parser::new(Dialect::Output))),
            Some(ExecResult::Selftest) => Output::Ktap(Box::new(Parser::new(Dialect::Selftest))),
            Some(ExecResult::KernelLog) => Output::Log(Box::new(Parser::new(Dialect::KernelLog))),
            Some(ExecResult::ExitCode) | None => Output::Unread,
        };
        Self {
            output,
            test,
            state: State::Planned,
            samples: BTreeMap::new(),
            sample_count: 0,
            notes: BTreeMap::new(),
            note_bytes: 0,
            breakdown: None,
            findings: Vec::new(),
            evidence: Vec::new(),
            log: Tail::default(),
            blinded: None,
            console_ended: false,
        }
    }

    pub(super) fn is_planned(&self) -> bool {
        matches!(self.state, State::Planned)
    }

    pub(super) fn is_reported(&self) -> bool {
        matches!(self.state, State::Reported { .. })
    }

    pub(super) fn is_judged(&self) -> bool {
        matches!(self.state, State::Judged)
    }

    pub(super) fn start(&mut self, at: Duration) {
        self.state = State::Running { since: at };
    }

    /// Until when a reported test waits for the end of its kernel log, and of its
    /// output where that is read.
    pub(super) fn wait_for_logs(&self, console: Duration, output: Duration) -> Option<Duration> {
        let State::Reported { at, .. } = self.state else { return None };
        let console = (!self.console_ended).then_some(at + console);
        let output = matches!(self.output, Output::Ktap(_)).then_some(at + output);
        console.max(output)
    }

    /// Takes what it printed.
    pub(super) fn printed(&mut self, bytes: &[u8]) {
        self.log.push(bytes);
        if let Output::Ktap(parser) = &mut self.output {
            parser.push(bytes);
        }
    }

    /// Takes what the kernel logged meanwhile.
    pub(super) fn logged(&mut self, bytes: &[u8]) {
        self.log.push(bytes);
        if let Output::Log(parser) = &mut self.output {
            parser.push(bytes);
        }
    }

    /// Nothing more of its output comes, or is waited for.
    pub(super) fn output_ends(&mut self, ending: Ending) {
        self.output = match std::mem::replace(&mut self.output, Output::Unread) {
            Output::Ktap(parser) => Output::Read(parser.finish(ending)),
            other => other,
        };
    }

    /// Its part of the kernel log is complete.
    pub(super) fn log_ends(&mut self) {
        self.console_ended = true;
        self.read_log(Ending::Complete);
    }

    fn read_log(&mut self, ending: Ending) {
        self.output = match std::mem::replace(&mut self.output, Output::Unread) {
            Output::Log(parser) => Output::Read(parser.finish(ending)),
            other => other,
        };
    }

    pub(super) fn report(&mut self, at: Duration, outcome: Outcome) {
        let since = match self.state {
            State::Running { since } => since,
            _ => at,
        };
        self.state = State::Reported { since, at, outcome };
    }

    pub(super) fn add_samples(&mut self, metric: &str, values: Vec<f64>) -> Result<(), String> {
        if !self.test.known_metrics.iter().any(|known| known == metric) {
            return Err(format!(
                "it reported the metric `{}`, which its workload does not have",
                shown(metric)
            ));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format!("it reported a sample of `{metric}` that is no number"));
        }
        self.sample_count += values.len();
        if self.sample_count > MAX_SAMPLES {
            return Err(format!("it reported more than {MAX_SAMPLES} samples in one test"));
        }
        self.samples.entry(metric.to_owned()).or_default().extend(values);
        Ok(())
    }

    pub(super) fn add_note(&mut self, key: String, value: String) -> Result<(), String> {
        if self.notes.len() >= MAX_NOTES || key.len() + value.len() > MAX_NOTE_BYTES {
            let limit = format!("{MAX_NOTES} notes of {MAX_NOTE_BYTES} bytes");
            return Err(format!("it reported more than {limit} in one test"));
        }
        self.note_bytes += key.len() + value.len();
        if self.note_bytes > MAX_NOTES_BYTES {
            return Err(format!("it reported more than {MAX_NOTES_BYTES} bytes of notes in one test"));
        }
        self.notes.insert(key, value);
        Ok(())
    }

    pub(super) fn set_breakdown(&mut self, breakdown: Breakdown) -> Result<(), String> {
        if breakdown.rows.len() > MAX_ROWS {
            return Err(format!("it reported a breakdown of more than {MAX_ROWS} functions"));
        }
        if self.breakdown.replace(breakdown).is_some() {
            return Err("it reported two breakdowns in one test".to_owned());
        }
        Ok(())
    }

    /// What was not complete until now is cut off.
    fn nothing_more_comes(&mut self) {
        self.output_ends(Ending::CutOff);
        self.read_log(Ending::CutOff);
    }

    /// Verdict of a test that reported; none of one that did not.
    pub(super) fn judge(&mut self) -> Option<Judged> {
        if !self.is_reported() {
            return None;
        }
        self.nothing_more_comes();
        let State::Reported { since, at, outcome } = &self.state else { return None };
        let elapsed = at.saturating_sub(*since);
        let outcome = match (&self.output, self.test.exec) {
            (Output::Read(report), Some(result)) => &exec::outcome(outcome, result, report),
            _ => outcome,
        };
        let verdict = verdict(outcome, &self.findings, &self.test.required_metrics, &self.samples);
        let verdict = valid(verdict, self.blinded.as_deref());
        self.state = State::Judged;
        Some(self.judged(elapsed, verdict))
    }

    /// Verdict of a test that did not report.
    pub(super) fn judge_as(&mut self, at: Duration, verdict: Verdict) -> Judged {
        let since = match std::mem::replace(&mut self.state, State::Judged) {
            State::Running { since } | State::Reported { since, .. } => since,
            State::Planned | State::Judged => at,
        };
        self.judged(at.saturating_sub(since), verdict)
    }

    fn judged(&mut self, elapsed: Duration, verdict: Verdict) -> Judged {
        self.nothing_more_comes();
        let subtests = match std::mem::replace(&mut self.output, Output::Unread) {
            Output::Read(report) => report.subtests,
            Output::Unread | Output::Ktap(_) | Output::Log(_) => Vec::new(),
        };
        Judged {
            subtests,
            id: self.test.id,
            verdict,
            elapsed,
            samples: std::mem::take(&mut self.samples),
            notes: std::mem::take(&mut self.notes),
            breakdown: self.breakdown.take(),
            findings: std::mem::take(&mut self.findings),
            evidence: std::mem::take(&mut self.evidence),
            log: self.log.take(),
        }
    }
}

/// A name from the guest, fit for a message.
fn shown(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_end_and_says_what_it_dropped() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; MAX_LOG_BYTES]);
        tail.push(b"the end");
        let text = tail.take();
        assert!(text.starts_with("[... the beginning"), "{}", &text[..40]);
        assert!(text.ends_with("athe end"));
        assert_eq!(text.lines().last().map(str::len), Some(MAX_LOG_BYTES));
    }

    #[test]
    fn one_push_above_the_bound_keeps_its_end() {
        let mut tail = Tail::default();
        tail.push(b"old");
        let mut long = vec![b'x'; MAX_LOG_BYTES];
        long.extend(b"end");
        tail.push(&long);
        assert!(tail.take().ends_with("xend"));
    }
}
