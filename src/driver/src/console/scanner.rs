//! Follows the console of one boot and says what it holds.
//!
//! Sorts lines to the reports they belong to, also when several CPUs print at
//! once, and keeps memory and output bounded whatever the guest prints.

use std::collections::HashSet;
use std::ops::Range;

use kregress_wire::MARKER;

use super::block::{Block, Step, is_trace_line};
use super::line::{Beginning, Caller, Line, Splitter, pieces, prefix};
use super::rules::{CUT_HERE, Headline, Rule, Shape, UNEXPLAINED, headline, without_subsystem};
use super::{Finding, FindingKind, Item, Marker, title, virtme};

/// Reports that may be under way at once. More callers than this only print at
/// once when all CPUs dump their stacks, and then the first ones matter.
const MAX_BLOCKS: usize = 16;

/// Different findings of one kind between two markers; a test is not made
/// redder by more.
const MAX_FINDINGS: usize = 64;

/// Longest marker text that is kept, in characters.
const MAX_MARKER: usize = 500;

/// Reads console bytes as they come and hands out markers and findings in the
/// order in which they are complete.
///
/// A finding always comes out before the next marker, so that it belongs to the
/// test whose markers enclose its beginning. Between two markers, a finding with
/// the kind, title and fingerprint of an earlier one is left out. The result does not depend on how
/// the bytes are cut into chunks. Memory is bounded as long as [`Self::drain`]
/// is called after each chunk.
#[derive(Debug, Default)]
pub struct Scanner {
    splitter: Splitter,
    log: Log,
}

/// Everything behind the splitter.
#[derive(Debug, Default)]
struct Log {
    blocks: Vec<Block>,
    section: Section,
    /// The kernel has introduced itself.
    booted: bool,
    /// A line had a time stamp, so those without are not the kernel's.
    stamped: bool,
    /// Where a `CPU: ` line stands that may be the head of a stack trace of
    /// which nothing else is known.
    dump: Option<(Caller, u64)>,
    virtme: virtme::Init,
    items: Vec<Item>,
}

/// What was found since the last marker.
#[derive(Debug, Default)]
struct Section {
    counts: [usize; FindingKind::ALL.len()],
    /// Titles and fingerprints of what was handed out: the kernel repeats itself
    /// every few seconds.
    seen: HashSet<(FindingKind, String, String)>,
}

impl Scanner {
    /// Starts at offset 0 of a console log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log.
    pub fn push(&mut self, bytes: &[u8]) {
        let log = &mut self.log;
        self.splitter.push(bytes, |line| log.line(&line));
    }

    /// Ends every report that is under way, for a guest that has fallen silent.
    /// What of it still comes belongs to it and is no new finding. A line that
    /// is not complete stays.
    pub fn settle(&mut self) {
        self.log.close_all();
    }

    /// Ends the log: takes a last line without an end, and every report as far
    /// as it came.
    pub fn finish(&mut self) {
        let log = &mut self.log;
        self.splitter.finish(|line| log.line(&line));
        log.close_all();
    }

    /// Bytes of text that are kept from call to call.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let seen = self.log.section.seen.iter().map(|(_, title, print)| title.len() + print.len());
        self.splitter.held() + self.log.blocks.iter().map(Block::held).sum::<usize>() + seen.sum::<usize>()
    }

    /// What is complete and was not handed out before.
    #[must_use]
    pub fn drain(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.log.items)
    }
}

impl Log {
    fn line(&mut self, line: &Line<'_>) {
        for (at, piece) in pieces(line.text).enumerate() {
            match prefix(piece) {
                Some((caller, text)) => {
                    self.stamped = true;
                    self.message(caller, text, &line.span);
                }
                // The middle of an endless line begins nothing.
                None if at > 0 || line.beginning == Beginning::Middle => {}
                None if self.stamped => self.foreign(piece, &line.span),
                None => self.message(Caller::Unknown, piece, &line.span),
            }
        }
    }

    /// A line that is not the kernel's, unless its stamp was lost: it may begin
    /// a report, to miss none, but it is no part of one and no marker.
    fn foreign(&mut self, text: &str, span: &Range<u64>) {
        let text = text.trim();
        self.items.extend(self.virtme.foreign(text).map(Item::GaveUp));
        if let Some(Headline::Finding(rule)) = headline(text) {
            let own = self.blocks.iter().position(|block| block.is_of(Caller::Unknown));
            self.headline(rule, own, Caller::Unknown, text, span);
        }
    }

    fn message(&mut self, caller: Caller, text: &str, span: &Range<u64>) {
        let message = text.trim();
        if message.is_empty() {
            return;
        }
        if let Some(marker) = message.strip_prefix(MARKER) {
            let marker = marker_of(marker, span);
            if !matches!(marker, Marker::Other(_)) {
                self.next_section();
            }
            self.items.push(Item::Marker(marker));
            return;
        }
        self.virtme.message(message);
        self.watch_for_reboot(message, span);
        let own = self.blocks.iter().position(|block| block.is_of(caller));
        let is_collecting = own.is_some_and(|own| self.blocks[own].is_collecting());
        if message == CUT_HERE {
            self.open(own, Block::cut_here(caller, span.clone()));
            return;
        }
        match headline(message) {
            Some(Headline::Finding(rule)) => self.headline(rule, own, caller, message, span),
            Some(Headline::Expected) if !is_collecting => self.expected(own, caller, message),
            _ => self.other(own, caller, message, span),
        }
    }

    fn headline(
        &mut self,
        rule: &'static Rule,
        own: Option<usize>,
        caller: Caller,
        text: &str,
        span: &Range<u64>,
    ) {
        if own.is_some_and(|own| self.blocks[own].absorbs(rule, text, span)) {
            return;
        }
        if rule.shape == Shape::Line {
            // A report that is under way goes on after it.
            self.line_finding(rule, text, span);
        } else {
            self.open(own, Block::report(rule, caller, text, span.clone()));
        }
    }

    /// Opens what explains the traces to come, unless it is the stack of a CPU
    /// that a report under way asked for.
    fn expected(&mut self, own: Option<usize>, caller: Caller, text: &str) {
        if let Some(own) = own {
            self.blocks.remove(own);
        }
        let is_answer = text.starts_with("NMI backtrace for cpu ");
        if !(is_answer && self.blocks.iter_mut().any(|block| block.adopts(caller))) {
            self.open(None, Block::asked_for(caller));
        }
    }

    fn line_finding(&mut self, rule: &'static Rule, text: &str, span: &Range<u64>) {
        let title = title::of(rule.title, without_subsystem(text), None, &[]);
        self.emit(Finding {
            kind: rule.kind,
            title,
            stack: vec![],
            frames: vec![],
            start: span.start,
            end: span.end,
            allowed: None,
        });
    }

    fn other(&mut self, own: Option<usize>, caller: Caller, text: &str, span: &Range<u64>) {
        let Some(own) = own else {
            self.ownerless(caller, text, span);
            return;
        };
        match self.blocks[own].take(text, span) {
            Step::Open => {}
            Step::EndsHere => self.close(own),
            Step::EndedBefore => {
                self.close(own);
                if !is_trace_line(text) {
                    return;
                }
                // Counts as aftermath of what just ended.
                let _ = self.blocks[own].take(text, span);
            }
        }
        if self.blocks[own].is_stale() {
            self.blocks.remove(own);
        }
    }

    /// Looks for stack traces that nobody announced.
    fn ownerless(&mut self, caller: Caller, text: &str, span: &Range<u64>) {
        if text.starts_with("CPU: ") {
            self.dump = Some((caller, span.start));
        } else if text.eq_ignore_ascii_case("call trace:") {
            let dump = self.dump.take().filter(|(whose, _)| *whose == caller);
            let start = dump.map_or(span.start, |(_, start)| start);
            self.open(None, Block::report(&UNEXPLAINED, caller, text, start..span.end));
        } else if self.dump.is_some_and(|(whose, _)| whose == caller) && !is_trace_line(text) {
            self.dump = None;
        }
    }

    /// Puts a block in place of the caller's old one.
    fn open(&mut self, own: Option<usize>, block: Block) {
        if let Some(own) = own {
            self.close(own);
            self.blocks.remove(own);
        } else if self.blocks.len() == MAX_BLOCKS {
            let victim = self.blocks.iter().position(|block| !block.is_collecting()).unwrap_or(0);
            self.close(victim);
            self.blocks.remove(victim);
        }
        self.blocks.push(block);
    }

    fn close(&mut self, at: usize) {
        if let Some(finding) = self.blocks[at].close() {
            self.emit(finding);
        }
    }

    fn close_all(&mut self) {
        for at in 0..self.blocks.len() {
            self.close(at);
        }
    }

    /// Begins to count anew. Reports under way end here, so that they come out
    /// on this side of the marker; what is left of them explains itself in the
    /// next section, what was complete does not.
    fn next_section(&mut self) {
        self.blocks.retain(|block| block.is_collecting() || block.is_asked_for());
        self.close_all();
        self.section = Section::default();
    }

    fn emit(&mut self, finding: Finding) {
        let count = &mut self.section.counts[finding.kind as usize];
        let identity = (finding.kind, finding.title.clone(), finding.fingerprint());
        if *count < MAX_FINDINGS && self.section.seen.insert(identity) {
            *count += 1;
            self.items.push(Item::Finding(finding));
        }
    }

    /// A kernel introduces itself once.
    fn watch_for_reboot(&mut self, text: &str, span: &Range<u64>) {
        if !text.starts_with("Linux version ") {
            return;
        }
        if std::mem::replace(&mut self.booted, true) {
            self.close_all();
            self.emit(Finding {
                kind: FindingKind::Reboot,
                title: "the kernel started again".to_owned(),
                stack: vec![],
                frames: vec![],
                start: span.start,
                end: span.end,
                allowed: None,
            });
        }
    }
}

/// Reads what stands behind [`MARKER`]: `begin ID NAME`, `end ID WORD`, or
/// something else.
fn marker_of(text: &str, span: &Range<u64>) -> Marker {
    let text: String = text.trim().chars().take(MAX_MARKER).collect();
    let mut words = text.splitn(3, ' ');
    let head = words.next();
    let id = words.next().and_then(|word| word.parse().ok());
    let rest = words.next().map(|rest| rest.trim().to_owned()).filter(|rest| !rest.is_empty());
    match (head, id, rest) {
        (Some("begin"), Some(id), Some(name)) => Marker::Begin { id, name, at: span.end },
        (Some("end"), Some(id), Some(word)) => Marker::End { id, word, at: span.start },
        _ => Marker::Other(text),
    }
}
