//! What is done about a guest over its limit, step by step, and what comes of
//! it: stacks by its agent, registers, an NMI, SIGTERM, SIGKILL.
//!
//! Pure. Each step has a limit of its own, and the first that settles the
//! matter ends the climb: a guest that answers is looked at no further.

use std::time::Duration;

use kregress_wire::stacks::{self, Motion};

use super::qmp::{Answer, Query};
use super::registers;
use super::watchdog::Limits;
use crate::console::{Finding, FindingKind};
use crate::model::{Evidence, EvidenceSource};

/// Time between two looks at the registers. A CPU that gets on takes an
/// interrupt in far less.
const PAUSE: Duration = Duration::from_millis(300);

/// What the kernel panics with on an NMI, with `unknown_nmi_panic=1`
/// (`unknown_nmi_error`, arch/x86/kernel/nmi.c).
const NMI_PANIC: &str = "NMI: Not continuing";

/// Longest part of the kernel log that is searched for what sysrq-w printed.
const SEARCHED: usize = 256 << 10;

/// Who is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A guest that has said hello: it has an agent.
    Guest,
    /// One that has not.
    Booting,
}

/// What is to be done next, and for how long its effect is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) order: Order,
    pub(super) limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    AskAgent,
    AskMonitor(Query),
    Wait,
    Terminate,
    Kill,
}

/// The step under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Agent,
    Status,
    FirstLook,
    Pause { first: String },
    SecondLook { first: String },
    Nmi,
    Backtrace,
    Terminate,
    Over,
}

/// What is known of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// It answers, and nothing in its kernel is seen to be stuck.
    Alive {
        /// What `cleanup_net` is doing, if it is at work.
        cleanup: Option<String>,
    },
    /// A worker is inside `cleanup_net` and does not get on; innermost function first.
    CleanupStuck(Vec<String>),
    /// It does not answer, though its machine runs.
    Frozen {
        /// Where, if that is known.
        place: Option<String>,
        /// A CPU stands still inside the kernel.
        in_kernel: bool,
    },
    /// The machine itself does not answer, or does not let the guest run.
    Machine(String),
    /// There was no way, or no time, to find out.
    Unknown,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Ladder {
    limits: Limits,
    step: Step,
    /// By source; the last word on a source counts.
    evidence: Vec<Evidence>,
    /// Answer of the agent.
    report: Option<String>,
    /// The guest gave another sign that it lives on.
    alive: bool,
    /// An NMI was asked for: a panic may be our doing.
    nmi: bool,
    /// What the kernel printed while the agent was asked.
    printed: Vec<u8>,
    /// What is wrong with the machine itself.
    machine: Option<String>,
    /// The monitor was there and the guest was let run.
    ran: bool,
    stuck: Vec<(usize, u64)>,
    backtrace: Option<Vec<String>>,
}

impl Ladder {
    /// Begins the climb.
    pub(super) fn begin(subject: Subject, limits: Limits) -> (Self, Next) {
        let mut ladder = Self {
            limits,
            step: Step::Agent,
            evidence: Vec::new(),
            report: None,
            alive: false,
            nmi: false,
            printed: Vec::new(),
            machine: None,
            ran: false,
            stuck: Vec::new(),
            backtrace: None,
        };
        let next = match (subject, limits.diagnosis) {
            (Subject::Guest, Some(limit)) => Next { order: Order::AskAgent, limit },
            (Subject::Guest, None) => {
                let text = "this machine has no way to ask its agent: its clock would show it";
                ladder.note(EvidenceSource::Agent, text.to_owned());
                ladder.look()
            }
            (Subject::Booting, _) => ladder.look(),
        };
        (ladder, next)
    }

    fn note(&mut self, source: EvidenceSource, text: String) {
        self.evidence.retain(|evidence| evidence.source != source);
        self.evidence.push(Evidence { source, text });
    }

    /// From the agent to the monitor, or past it where there is none.
    fn look(&mut self) -> Next {
        match self.limits.monitor {
            Some(limit) => {
                self.step = Step::Status;
                Next { order: Order::AskMonitor(Query::Status), limit }
            }
            None => self.terminate(),
        }
    }

    fn inject(&mut self, limit: Duration) -> Next {
        self.step = Step::Nmi;
        self.nmi = true;
        Next { order: Order::AskMonitor(Query::Nmi), limit }
    }

    fn terminate(&mut self) -> Next {
        if self.limits.terminate.is_zero() {
            return self.kill();
        }
        self.step = Step::Terminate;
        Next { order: Order::Terminate, limit: self.limits.terminate }
    }

    fn kill(&mut self) -> Next {
        self.step = Step::Over;
        Next { order: Order::Kill, limit: Duration::ZERO }
    }

    /// The limit of the step under way passed.
    pub(super) fn limit_passed(&mut self) -> Next {
        let monitor = self.limits.monitor.unwrap_or_default();
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Agent => {
                let limit = self.limits.diagnosis.unwrap_or_default();
                let text = format!("the agent did not answer within {limit:.0?}");
                self.note(EvidenceSource::Agent, text);
                self.look()
            }
            Step::Pause { first } => {
                self.step = Step::SecondLook { first };
                Next { order: Order::AskMonitor(Query::Registers), limit: monitor }
            }
            Step::Status => {
                let text = format!("QEMU's monitor did not answer within {monitor:.1?}");
                self.machine = Some(text.clone());
                self.note(EvidenceSource::Registers, text);
                self.terminate()
            }
            // It answered before: it may yet pass on the NMI.
            Step::FirstLook | Step::SecondLook { .. } => {
                let text = format!("QEMU's monitor did not show the registers within {monitor:.1?}");
                self.note(EvidenceSource::Registers, text);
                self.inject(monitor)
            }
            Step::Nmi => {
                let text = format!("QEMU's monitor did not confirm the NMI within {monitor:.1?}");
                self.note(EvidenceSource::Nmi, text);
                self.terminate()
            }
            Step::Backtrace => {
                let text = format!("the machine was still there {:.0?} after the NMI", self.limits.backtrace);
                self.note(EvidenceSource::Nmi, text);
                self.terminate()
            }
            Step::Terminate => {
                let text = format!("the machine did not end within {:.0?} of SIGTERM", self.limits.terminate);
                self.note(EvidenceSource::Sigterm, text);
                self.note(EvidenceSource::Sigkill, "only SIGKILL ended the machine".to_owned());
                self.kill()
            }
            Step::Over => self.kill(),
        }
    }

    /// The agent answered, at whatever step: the guest is alive.
    pub(super) fn agent_said(&mut self, report: String) -> Next {
        self.report = Some(report);
        self.kill()
    }

    /// The monitor answered what was asked last.
    pub(super) fn monitor_said(&mut self, answer: Answer) -> Option<Next> {
        let monitor = self.limits.monitor?;
        let next = match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Status, Answer::Said(status)) if status == "running" => {
                self.ran = true;
                self.step = Step::FirstLook;
                Next { order: Order::AskMonitor(Query::Registers), limit: monitor }
            }
            (Step::Status, Answer::Said(status)) => {
                let text = format!("QEMU does not let the guest run: its state is `{status}`");
                self.machine = Some(text.clone());
                self.note(EvidenceSource::Registers, text);
                self.terminate()
            }
            (Step::Status, Answer::Gone(reason)) => {
                let text = format!("QEMU's monitor cannot be asked: {reason}");
                self.machine = Some(text.clone());
                self.note(EvidenceSource::Registers, text);
                self.terminate()
            }
            // A monitor that refuses one thing may do another.
            (Step::Status, Answer::Refused(reason)) => {
                self.note(EvidenceSource::Registers, format!("QEMU's monitor refused: {reason}"));
                self.ran = true;
                self.inject(monitor)
            }
            (Step::FirstLook, Answer::Said(first)) => {
                self.step = Step::Pause { first };
                Next { order: Order::Wait, limit: PAUSE }
            }
            (Step::SecondLook { first }, Answer::Said(second)) => {
                match registers::compare(&first, &second) {
                    Some(motion) => {
                        self.stuck = motion.stuck;
                        self.note(EvidenceSource::Registers, motion.text);
                    }
                    None => {
                        let text = "QEMU's monitor showed no registers that can be read";
                        self.note(EvidenceSource::Registers, text.to_owned());
                    }
                }
                self.inject(monitor)
            }
            (Step::FirstLook | Step::SecondLook { .. }, Answer::Refused(reason)) => {
                self.note(EvidenceSource::Registers, format!("QEMU's monitor refused: {reason}"));
                self.inject(monitor)
            }
            (Step::FirstLook | Step::SecondLook { .. }, Answer::Gone(reason)) => {
                self.note(EvidenceSource::Registers, format!("QEMU's monitor went away: {reason}"));
                self.terminate()
            }
            (Step::Nmi, Answer::Said(_)) => {
                self.step = Step::Backtrace;
                Next { order: Order::Wait, limit: self.limits.backtrace }
            }
            (Step::Nmi, Answer::Refused(reason)) => {
                self.note(EvidenceSource::Nmi, format!("QEMU's monitor refused: {reason}"));
                self.terminate()
            }
            (Step::Nmi, Answer::Gone(reason)) => {
                self.note(EvidenceSource::Nmi, format!("QEMU's monitor went away: {reason}"));
                self.terminate()
            }
            // A connection that ends with the machine, or an answer too late.
            (step, _) => {
                self.step = step;
                return None;
            }
        };
        Some(next)
    }

    /// The machine is gone, of our doing or by itself.
    pub(super) fn machine_ended(&mut self, status: Option<&str>) {
        let status = status.map_or(String::new(), |status| format!(": {status}"));
        match self.step {
            Step::Agent => self.agent_was_cut("the machine ended", &status),
            Step::Status | Step::FirstLook | Step::Pause { .. } | Step::SecondLook { .. } => {
                self.note(
                    EvidenceSource::Registers,
                    format!("the machine ended before they were read{status}"),
                );
            }
            Step::Nmi | Step::Backtrace => {
                self.note(EvidenceSource::Nmi, format!("the machine ended after the NMI{status}"));
            }
            Step::Terminate => {
                self.note(EvidenceSource::Sigterm, format!("the machine ended on SIGTERM{status}"));
            }
            Step::Over => {}
        }
        self.step = Step::Over;
    }

    /// The guest said what it was expected to say, too late.
    pub(super) fn heard(&mut self, what: &str) {
        self.alive = true;
        self.cut(what);
    }

    /// The climb ends before its end.
    pub(super) fn cut(&mut self, why: &str) {
        if self.step == Step::Agent {
            self.agent_was_cut(why, "");
        }
        self.step = Step::Over;
    }

    fn agent_was_cut(&mut self, why: &str, status: &str) {
        self.note(EvidenceSource::Agent, format!("{why} before the agent had answered{status}"));
    }

    /// Takes the kernel log, for what sysrq-w prints into it.
    pub(super) fn console(&mut self, bytes: &[u8]) {
        if self.step == Step::Agent {
            let room = SEARCHED - self.printed.len();
            self.printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Whether the finding is the panic that we asked for; keeps its stack if so.
    pub(super) fn is_ours(&mut self, finding: &Finding) -> bool {
        let ours = self.nmi && finding.kind == FindingKind::Panic && finding.title.contains(NMI_PANIC);
        if ours {
            self.backtrace = Some(below_nmi(&finding.stack).to_vec());
        }
        ours
    }

    /// What is known in the end.
    pub(super) fn conclusion(&self) -> Conclusion {
        if let Some(report) = &self.report {
            return match stacks::cleanup(report) {
                Some(found) if found.motion == Motion::Still => {
                    Conclusion::CleanupStuck(found.functions.into_iter().map(str::to_owned).collect())
                }
                Some(found) => Conclusion::Alive { cleanup: Some(stacks::chain(&found.functions)) },
                None => {
                    Conclusion::Alive { cleanup: self.blocked_cleanup().map(|stack| stacks::chain(&stack)) }
                }
            };
        }
        if self.alive {
            return Conclusion::Alive { cleanup: None };
        }
        if let Some(machine) = &self.machine {
            return Conclusion::Machine(machine.clone());
        }
        if !self.ran {
            return Conclusion::Unknown;
        }
        let of_nmi = self.backtrace.clone().filter(|stack| stacks::is_cleanup(stack));
        if let Some(stack) = of_nmi.or_else(|| self.blocked_cleanup()) {
            return Conclusion::CleanupStuck(stack);
        }
        let place = match (&self.backtrace, self.stuck.first()) {
            (Some(stack), _) if !stack.is_empty() => Some(format!("in {}", stacks::chain(stack))),
            (_, Some((cpu, place))) => Some(format!("CPU {cpu} stands still at {place:016x}")),
            _ => None,
        };
        Conclusion::Frozen { place, in_kernel: !self.stuck.is_empty() }
    }

    fn blocked_cleanup(&self) -> Option<Vec<String>> {
        blocked_cleanup(&String::from_utf8_lossy(&self.printed))
    }

    /// Everything that was found out, in the order of the steps.
    pub(super) fn into_evidence(mut self) -> Vec<Evidence> {
        if let Some(report) = self.report.take() {
            let sum = match stacks::cleanup(&report) {
                Some(found) if found.motion == Motion::Still => {
                    format!("cleanup_net does not get on, it sits in {}", stacks::chain(&found.functions))
                }
                Some(found) => format!("cleanup_net is at work in {}", stacks::chain(&found.functions)),
                None => stacks::brief(&report).unwrap_or_else(|| "no task has a stack to show".to_owned()),
            };
            self.note(EvidenceSource::Agent, format!("the agent answered: {sum}\n{}", report.trim_end()));
        }
        if let Some(stack) = self.backtrace.take() {
            let after = self.evidence.iter().find(|evidence| evidence.source == EvidenceSource::Nmi);
            let after = after.map(|evidence| format!("\n{}", evidence.text)).unwrap_or_default();
            let frames: String = stack.iter().map(|function| format!("\n    {function}")).collect();
            let sum = if stack.is_empty() { "without a stack".to_owned() } else { stacks::chain(&stack) };
            self.note(EvidenceSource::Nmi, format!("the kernel answered the NMI: {sum}{frames}{after}"));
        }
        self.evidence.sort_by_key(|evidence| evidence.source);
        self.evidence
    }
}

/// The stack that the NMI interrupted.
fn below_nmi(stack: &[String]) -> &[String] {
    const ENTRY: [&str; 5] = ["nmi_panic", "unknown_nmi_error", "exc_nmi", "asm_exc_nmi", "end_repeat_nmi"];
    let last = stack.iter().rposition(|function| ENTRY.contains(&function.as_str()));
    &stack[last.map_or(0, |at| at + 1)..]
}

/// The stack of the worker inside `cleanup_net` in what sysrq-w prints of
/// blocked tasks (`sched_show_task`, kernel/sched/core.c).
fn blocked_cleanup(log: &str) -> Option<Vec<String>> {
    const WORKER: &str = "Workqueue: netns cleanup_net";
    // How every task that sleeps went to sleep.
    const SLEEP: [&str; 5] =
        ["__schedule", "schedule", "schedule_timeout", "schedule_preempt_disabled", "__wait_for_common"];
    let mut lines = log.lines();
    lines.find(|line| line.trim_end().ends_with(WORKER))?;
    let mut stack = Vec::new();
    for line in lines {
        if line.contains("task:") {
            return None;
        }
        let Some(frame) = line.split_whitespace().find(|word| word.contains("+0x")) else { continue };
        let Some((function, _)) = frame.split_once('+') else { continue };
        if line.contains(" ? ") || (stack.is_empty() && SLEEP.contains(&function)) {
            continue;
        }
        stack.push(function.to_owned());
        if stacks::is_cleanup(&stack[stack.len() - 1..]) {
            return Some(stack);
        }
    }
    None
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
