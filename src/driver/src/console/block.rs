//! One report in the making: the lines from its headline to its end.
//!
//! Decides which lines belong to the report, which functions are its stack and
//! when it is complete. Does not know of other reports.

use std::ops::Range;

use super::line::Caller;
use super::rules::{CUT_OFF, Rule, Shape, Title, UNEXPLAINED};
use super::stack::{self, Frame};
use super::{Finding, FindingKind, Place, title};

/// Lines after which a report without an end is taken as it is.
const MAX_LINES: u32 = 600;

/// Frames that are kept; deeper ones are the entry from user space.
const MAX_FRAMES: usize = 64;

/// Lines for which a finished report still explains stack traces that follow
/// it: those of other CPUs, the registers after an oops. From experience.
const AFTERMATH: u32 = 100;

/// Longest headline and message that are kept, in characters.
const MAX_TEXT: usize = 1000;

/// Whether a line has ended the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More may come.
    Open,
    /// The line was the last one of the report.
    EndsHere,
    /// The report ended before this line.
    EndedBefore,
}

/// A report in the making, or the aftermath of one.
#[derive(Debug)]
pub(super) struct Block {
    /// Whose lines it takes: the caller of its headline, and those that an NMI
    /// made print.
    callers: Vec<Caller>,
    phase: Phase,
    /// Lines since it was opened, or since it became an aftermath.
    lines: u32,
}

#[derive(Debug)]
enum Phase {
    Collecting(Report),
    /// Swallows what still comes of a report that was handed out.
    Aftermath,
    /// Swallows traces that somebody asked for.
    AskedFor,
}

#[derive(Debug)]
struct Report {
    /// None until a headline follows `cut here`.
    rule: Option<&'static Rule>,
    headline: String,
    /// What the kernel says of a `WARN()`.
    message: Option<String>,
    /// Work function of the worker that prints.
    work: Option<String>,
    frames: Vec<String>,
    /// Places of the frames, in their order.
    places: Vec<Option<Place>>,
    trace: Trace,
    /// CPUs are asked to print their stacks.
    nmi: bool,
    span: Range<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// Not begun.
    Awaited,
    /// The next one is of the grace-period thread, which is not the culprit.
    Unwanted,
    /// Under way, without marks of its stacks (kernels before 5.18, arm64).
    Bare,
    /// Under way, between `<TASK>` and its like.
    Marked,
    /// Complete; further ones do not count.
    Done,
}

impl Block {
    /// Begins a report with its headline.
    pub(super) fn report(rule: &'static Rule, caller: Caller, headline: &str, span: Range<u64>) -> Self {
        let trace = if rule.pattern == UNEXPLAINED.pattern { Trace::Bare } else { Trace::Awaited };
        let report = Report { rule: Some(rule), headline: shortened(headline), ..Report::empty(span, trace) };
        Self { callers: vec![caller], phase: Phase::Collecting(report), lines: 0 }
    }

    /// Begins a report of which only `cut here` is known.
    pub(super) fn cut_here(caller: Caller, span: Range<u64>) -> Self {
        let report = Report::empty(span, Trace::Awaited);
        Self { callers: vec![caller], phase: Phase::Collecting(report), lines: 0 }
    }

    /// Something harmless that explains the stack traces that follow.
    pub(super) fn asked_for(caller: Caller) -> Self {
        Self { callers: vec![caller], phase: Phase::AskedFor, lines: 0 }
    }

    /// Bytes of text that it keeps.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let Phase::Collecting(report) = &self.phase else { return 0 };
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let frames: usize = report.frames.iter().map(String::capacity).sum();
        let place =
            |place: &Place| place.symbol.capacity() + place.module.as_ref().map_or(0, String::capacity);
        let frames = frames + report.places.iter().flatten().map(place).sum::<usize>();
        report.headline.capacity() + optional(&report.message) + optional(&report.work) + frames
    }

    /// Whether lines of this caller are its lines.
    pub(super) fn is_of(&self, caller: Caller) -> bool {
        self.callers.contains(&caller)
    }

    /// Whether it will give a finding when it ends.
    pub(super) fn is_collecting(&self) -> bool {
        matches!(self.phase, Phase::Collecting(_))
    }

    /// Whether it was never a report.
    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self.phase, Phase::AskedFor)
    }

    /// Whether it explains nothing any more.
    pub(super) fn is_stale(&self) -> bool {
        !self.is_collecting() && self.lines > AFTERMATH
    }

    /// Whether it waits for a CPU to print its stack; if so, that CPU's lines
    /// are taken from here on.
    pub(super) fn adopts(&mut self, caller: Caller) -> bool {
        // More CPUs than this say nothing new.
        const MAX_CALLERS: usize = 8;
        let adopts = matches!(&self.phase, Phase::Collecting(report) if report.nmi)
            && self.callers.len() < MAX_CALLERS;
        if adopts {
            self.callers.push(caller);
        }
        adopts
    }

    /// Whether the headline of another rule is only a further line of this
    /// report; takes it if so.
    pub(super) fn absorbs(&mut self, rule: &'static Rule, text: &str, span: &Range<u64>) -> bool {
        let Phase::Collecting(report) = &mut self.phase else { return false };
        let absorbs = match report.rule {
            // The message of a `WARN()` may look like a report of its own.
            None if rule.shape == Shape::Line => {
                report.note_message(text);
                true
            }
            None if rule.shape == Shape::EndTrace || rule.pattern.starts_with("UBSAN") => {
                report.rule = Some(rule);
                report.headline = shortened(text);
                true
            }
            None => false,
            // Kernels since 6.19 print the message behind the headline.
            Some(first) if first.title == Title::Warn && rule.shape == Shape::Line && self.lines == 0 => {
                report.note_message(text);
                true
            }
            // `BUG:` and `kernel BUG at` are followed by the `Oops:` they cause.
            Some(first) => {
                first.shape == Shape::EndTrace
                    && matches!(first.kind, FindingKind::Oops | FindingKind::Bug)
                    && first.title != Title::Trap
                    && rule.title == Title::Trap
            }
        };
        if absorbs {
            self.lines = 0;
            report.span.end = span.end;
        }
        absorbs
    }

    /// Takes a line that is no headline.
    pub(super) fn take(&mut self, text: &str, span: &Range<u64>) -> Step {
        self.lines += 1;
        let Phase::Collecting(report) = &mut self.phase else {
            if is_trace_line(text) {
                self.lines = 0;
            }
            return Step::Open;
        };
        let step = report.take(text, span.end, self.lines);
        if step == Step::Open && self.lines >= MAX_LINES { Step::EndedBefore } else { step }
    }

    /// Ends the report. What of it still comes is taken without a finding.
    pub(super) fn close(&mut self) -> Option<Finding> {
        if !self.is_collecting() {
            return None;
        }
        self.lines = 0;
        match std::mem::replace(&mut self.phase, Phase::Aftermath) {
            Phase::Collecting(report) => Some(report.finding()),
            Phase::Aftermath | Phase::AskedFor => None,
        }
    }
}

impl Report {
    fn empty(span: Range<u64>, trace: Trace) -> Self {
        Self {
            rule: None,
            headline: String::new(),
            message: None,
            work: None,
            frames: Vec::new(),
            places: Vec::new(),
            trace,
            nmi: false,
            span,
        }
    }

    fn shape(&self) -> Shape {
        self.rule.map_or(Shape::EndTrace, |rule| rule.shape)
    }

    fn note_message(&mut self, text: &str) {
        if self.message.is_none() {
            self.message = Some(shortened(text.trim()));
        }
    }

    fn take(&mut self, text: &str, end: u64, lines: u32) -> Step {
        let text = text.trim();
        if text.is_empty() {
            return Step::Open;
        }
        if text.starts_with("---[ end ") {
            self.span.end = end;
            return Step::EndsHere;
        }
        if text.starts_with("==========") {
            // A ruler also stands above the headline of the next report.
            return if self.shape() == Shape::Ruler {
                self.span.end = end;
                Step::EndsHere
            } else if self.trace == Trace::Done || self.trace == Trace::Bare {
                Step::EndedBefore
            } else {
                Step::Open
            };
        }
        let step = self.take_trace(text);
        if step != Step::EndedBefore && (is_trace_line(text) || step == Step::EndsHere) {
            self.span.end = end;
        }
        if step != Step::Open {
            return step;
        }
        self.take_detail(text, lines);
        match self.shape() {
            // Nothing but `cut here` for that long: the rest was lost.
            _ if self.rule.is_none() && lines > 10 => Step::EndedBefore,
            Shape::Trace(patience) if self.trace == Trace::Awaited && lines > patience => Step::EndedBefore,
            Shape::Frames if self.trace == Trace::Awaited && lines > 12 => Step::EndedBefore,
            _ => Step::Open,
        }
    }

    /// Follows the stack trace.
    fn take_trace(&mut self, text: &str) -> Step {
        if let Some(function) = stack::instruction_pointer(text) {
            // Registers stand above the trace; the place is its first frame.
            if matches!(self.trace, Trace::Awaited | Trace::Bare | Trace::Marked) {
                self.push_frame(function, stack::pointed_place(text));
            }
            return Step::Open;
        }
        if text.eq_ignore_ascii_case("call trace:") {
            self.trace = match self.trace {
                Trace::Awaited => Trace::Bare,
                Trace::Unwanted => Trace::Awaited,
                other => other,
            };
            return Step::Open;
        }
        if is_stack_mark(text) {
            return match self.trace {
                Trace::Bare | Trace::Marked if text == "</TASK>" => {
                    self.trace = Trace::Done;
                    self.after_trace(Step::EndsHere)
                }
                Trace::Bare | Trace::Marked => {
                    self.trace = Trace::Marked;
                    Step::Open
                }
                _ => Step::Open,
            };
        }
        match (stack::frame(text), self.trace) {
            (Some(frame), Trace::Bare | Trace::Marked) => {
                if let Frame::Reliable(function) = frame {
                    self.push_frame(function, stack::frame_place(text));
                }
                Step::Open
            }
            (Some(Frame::Reliable(function)), Trace::Awaited)
                if matches!(self.shape(), Shape::Ruler | Shape::Frames) =>
            {
                self.trace = Trace::Bare;
                self.push_frame(function, stack::frame_place(text));
                Step::Open
            }
            // Between marks there may be registers; without marks the first
            // other line ends the trace.
            (None, Trace::Bare) if !self.frames.is_empty() && !is_trace_line(text) => {
                self.trace = Trace::Done;
                self.after_trace(Step::EndedBefore)
            }
            _ => Step::Open,
        }
    }

    /// What the end of the first trace means for the report.
    fn after_trace(&self, ended: Step) -> Step {
        match self.shape() {
            Shape::Trace(_) | Shape::Frames => ended,
            Shape::EndTrace | Shape::Ruler | Shape::Panic | Shape::Line => Step::Open,
        }
    }

    /// Lines that say more about the cause.
    fn take_detail(&mut self, text: &str, lines: u32) {
        let is_warning = self.rule.is_none_or(|rule| rule.title == Title::Warn);
        if let Some(work) = text.strip_prefix("Workqueue: ") {
            if self.work.is_none() {
                self.work = Some(shortened(work));
            }
        } else if text.contains("grace-period kthread stack dump") {
            self.trace = if self.trace == Trace::Awaited { Trace::Unwanted } else { self.trace };
        } else if text.starts_with("Sending NMI from CPU ") {
            self.nmi = true;
        } else if is_warning && lines == 1 && !is_trace_line(text) {
            self.note_message(text);
        }
    }

    fn push_frame(&mut self, function: &str, place: Option<Place>) {
        if self.frames.len() < MAX_FRAMES {
            self.frames.push(function.to_owned());
            self.places.push(place);
        }
    }

    fn finding(mut self) -> Finding {
        let machinery = stack::without_machinery(&mut self.frames);
        let rule = self.rule.unwrap_or(&CUT_OFF);
        let headline = super::rules::without_subsystem(self.headline.trim());
        let title = title::of(rule.title, headline, self.message.as_deref(), &self.frames);
        let is_of_worker = rule.kind == FindingKind::Hang || rule.pattern.starts_with("BUG: workqueue ");
        let title = match (&self.work, is_of_worker, &self.message, self.rule) {
            // Which work a worker is stuck in is the first question.
            (Some(work), true, ..) => format!("{title} (work {})", title::normalise(work)),
            (_, _, Some(message), None) => format!("{title}: {}", title::normalise(message)),
            _ => title,
        };
        let kind = match rule.title {
            Title::Warn => warning_kind(headline, self.message.as_deref()),
            _ => rule.kind,
        };
        let places = self.places.into_iter().skip(machinery);
        let frames = places.map(|place| super::Frame { place, lines: Vec::new() }).collect();
        let (stack, span) = (self.frames, self.span);
        Finding { kind, title, stack, frames, start: span.start, end: span.end, allowed: None }
    }
}

/// What kind of wrong a `WARN()` reports, by its message and its file.
fn warning_kind(headline: &str, message: Option<&str>) -> FindingKind {
    const MESSAGES: &[(&str, FindingKind)] = &[
        ("refcount_t: saturated; leaking memory", FindingKind::Leak),
        ("refcount_t: decrement hit 0; leaking memory", FindingKind::Leak),
        ("refcount_t: ", FindingKind::Bug),
        ("ODEBUG: ", FindingKind::Bug),
        ("list_", FindingKind::Bug),
        ("DEBUG_LOCKS_WARN_ON(", FindingKind::Lockdep),
        ("RTNL: assertion failed", FindingKind::Lockdep),
        ("kmem_cache_destroy ", FindingKind::Leak),
    ];
    const FILES: &[(&str, FindingKind)] = &[
        ("lib/ref_tracker.c:", FindingKind::Leak),
        ("kernel/locking/", FindingKind::Lockdep),
        ("lib/list_debug.c:", FindingKind::Bug),
        ("lib/debugobjects.c:", FindingKind::Bug),
    ];
    // A reference that is given back twice is no leak.
    if headline.contains(" ref_tracker_free+0x") {
        return FindingKind::Bug;
    }
    let find = |table: &[(&str, FindingKind)], text: Option<&str>| {
        let text = text?;
        table.iter().find(|(beginning, _)| text.starts_with(beginning)).map(|(_, kind)| *kind)
    };
    find(MESSAGES, message).or_else(|| find(FILES, title::file_of(headline))).unwrap_or(FindingKind::Warning)
}

/// `<TASK>`, `</IRQ>` and their like.
fn is_stack_mark(text: &str) -> bool {
    const STACKS: &[&str] =
        &["TASK", "IRQ", "SOFTIRQ", "NMI", "ENTRY_TRAMPOLINE", "#DF", "#DB", "#MC", "#VC", "#VC2"];
    let name = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    name.is_some_and(|name| STACKS.contains(&name.strip_prefix('/').unwrap_or(name)))
}

/// Whether a line is one of those that show registers or a stack.
pub(super) fn is_trace_line(text: &str) -> bool {
    const BEGINNINGS: &[&str] = &[
        "CPU: ",
        "Call Trace:",
        "Call trace:",
        "Code: ",
        "CR2: ",
        "CS: ",
        "DR0: ",
        "DR3: ",
        "FS: ",
        "Hardware name: ",
        "Modules linked in:",
        "ORIG_RAX: ",
        "PKRU: ",
        "R10: ",
        "R13: ",
        "RAX: ",
        "RBP: ",
        "RDX: ",
        "RIP: ",
        "RSP: ",
        "Tainted: ",
        "Workqueue: ",
        "irq event stamp: ",
        "hardirqs last ",
        "softirqs last ",
        "lr : ",
        "pc : ",
        "sp : ",
    ];
    let text = text.trim_start();
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        || is_stack_mark(text)
        || stack::frame(text).is_some()
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
