//! From lines to a tree of results: what is nested in what.
//!
//! A group of results is announced by a version, a `# Subtest:` or a plan in its
//! column, and belongs to the next result further to the left.

use std::collections::VecDeque;

use super::group::{Closed, Group, Node, Opening};
use super::line::{Kind, Line, Prefix, Said};
use super::lines::Length;
use super::{Ending, MAX_SUBTESTS, time};
use crate::model::SubtestVerdict;

/// Groups within each other. From experience: KUnit has three, kselftest four.
const MAX_DEPTH: usize = 16;

/// Diagnostics of one result, of one that passed, and of all of them, in bytes.
const DIAGNOSTICS: usize = 4 << 10;
const OF_A_PASS: usize = 512;
const OF_ALL: usize = 1 << 20;

/// Name of the error that stands for what was not heard.
pub(super) const CUT_OFF: &str = "(output)";

#[derive(Debug)]
pub(super) struct Tree {
    /// From the left to the right.
    stack: Vec<Group>,
    roots: Vec<Node>,
    skipped: Option<String>,
    pending: Pending,
    /// Column of the result to which the lines of a YAML block belong (TAP 13).
    block: Option<usize>,
    /// The line before was a result.
    after_result: bool,
    kept: usize,
    /// Bytes of diagnostics that may still be kept.
    room: usize,
    beyond: Beyond,
}

/// Results that are only counted.
#[derive(Debug, Default)]
struct Beyond {
    results: u64,
    failed: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            stack: Vec::new(),
            roots: Vec::new(),
            skipped: None,
            pending: Pending::default(),
            block: None,
            after_result: false,
            kept: 0,
            room: OF_ALL,
            beyond: Beyond::default(),
        }
    }
}

impl Tree {
    pub(super) fn take(&mut self, line: &Line, length: Length) {
        if self.take_block(line) {
            return;
        }
        self.after_result = false;
        match &line.kind {
            Kind::Version => self.announce(line, None),
            Kind::Subtest(name) => self.announce(line, Some(name.clone())),
            Kind::Plan { count, skip } => self.plan(line, *count, skip.clone()),
            Kind::Result(said) => self.result(line, said.clone(), length),
            Kind::BailOut(reason) => self.bail_out(line, reason.clone()),
            Kind::Text => self.pending.push(&line.text),
        }
    }

    /// Lines from `---` to `...` below a result. True where it was one of them.
    fn take_block(&mut self, line: &Line) -> bool {
        let Some(column) = self.block else {
            let below = self.stack.last().map(|group| group.column).filter(|column| line.column > *column);
            let begins = line.text == "---" && line.prefix == Prefix::Spaces && self.after_result;
            self.block = below.filter(|_| begins);
            return self.block.is_some();
        };
        if line.column <= column || line.text == "..." {
            self.block = None;
            return line.column > column;
        }
        if let Some(node) = self.stack.last_mut().and_then(Group::newest) {
            node.elapsed = node.elapsed.or_else(|| time::behind_a_key(&line.text));
            let more = line.text.len() + 1;
            if more <= self.room && node.diagnostics.len() + more <= DIAGNOSTICS {
                self.room -= more;
                node.diagnostics.push_str(&line.text);
                node.diagnostics.push('\n');
            }
        }
        true
    }

    /// A version or the name of a group in this column.
    fn announce(&mut self, line: &Line, name: Option<String>) {
        self.close_above(line.column);
        if let Some(group) = self.stack.last_mut().filter(|group| group.column == line.column) {
            if group.is_fresh() {
                return group.announce(name);
            }
            if name.is_some() {
                // TAP 14 names what follows in a comment of what holds it.
                return self.pending.push(&line.text);
            }
            self.close_last();
        }
        if let Some(group) = self.open(line, Opening::Announced) {
            group.announce(name);
        }
    }

    fn plan(&mut self, line: &Line, count: u64, skip: Option<String>) {
        let Some(group) = self.group_at(line, Opening::Announced) else { return };
        if group.is_complete() {
            // Another program, which prints no version of its own.
            self.close_last();
            if let Some(group) = self.open(line, Opening::Announced) {
                group.plan(count, skip);
            }
        } else {
            group.plan(count, skip);
        }
    }

    fn result(&mut self, line: &Line, said: Said, length: Length) {
        let is_full = self.kept >= MAX_SUBTESTS;
        let failed = !matches!(said.verdict, SubtestVerdict::Pass | SubtestVerdict::Skip);
        let is_pass = said.verdict == SubtestVerdict::Pass;
        let Some(group) = self.group_at(line, Opening::Guessed) else { return };
        if is_full {
            group.pass_over();
            self.beyond.results += 1;
            self.beyond.failed += u64::from(failed);
            return self.pending.clear();
        }
        group.keep_words(&line.text);
        let limit = match is_pass {
            true if self.room < OF_ALL / 2 => 0,
            true => OF_A_PASS,
            false => DIAGNOSTICS,
        };
        let diagnostics = self.pending.take(limit.min(self.room));
        self.room -= diagnostics.len();
        if let Some(group) = self.stack.last_mut() {
            group.result(said, length, diagnostics);
        }
        self.kept += 1;
        self.after_result = true;
    }

    fn bail_out(&mut self, line: &Line, reason: String) {
        if let Some(group) = self.group_at(line, Opening::Announced) {
            group.bail_out(reason);
        }
    }

    /// The group of this line, opened where there is none; none where nothing can
    /// be opened, and the line is text.
    fn group_at(&mut self, line: &Line, opening: Opening) -> Option<&mut Group> {
        let column = line.column;
        if self.stack.iter().any(|group| group.column == column) {
            self.close_above(column);
            return self.stack.last_mut();
        }
        let is_left_of_all = self.stack.first().is_none_or(|first| column < first.column);
        let is_right_of_all = self.stack.last().is_none_or(|last| column > last.column);
        if !is_left_of_all && !is_right_of_all {
            self.pending.push(&line.text);
            return None;
        }
        let mut held = Vec::new();
        if is_left_of_all {
            while let Some(mut group) = self.stack.pop() {
                group.take_words().iter().for_each(|line| self.pending.push(line));
                let closed = group.close();
                match self.stack.last_mut() {
                    Some(outer) => outer.hold(closed),
                    None => held = closed,
                }
            }
        }
        let group = self.open(line, opening)?;
        group.hold(held);
        Some(group)
    }

    fn open(&mut self, line: &Line, opening: Opening) -> Option<&mut Group> {
        if self.stack.len() >= MAX_DEPTH {
            self.pending.push(&line.text);
            return None;
        }
        self.stack.push(Group::new(line.column, opening));
        self.stack.last_mut()
    }

    fn close_above(&mut self, column: usize) {
        while self.stack.last().is_some_and(|group| group.column > column) {
            self.close_last();
        }
    }

    fn close_last(&mut self) {
        let Some(mut group) = self.stack.pop() else { return };
        group.take_words().iter().for_each(|line| self.pending.push(line));
        let mut closed = group.close();
        // What is missing of a group counts as well, or a flood of plans would be kept.
        self.kept += closed.len();
        if self.kept > MAX_SUBTESTS + MAX_DEPTH {
            self.beyond.results += closed.len() as u64;
            closed.clear();
        }
        match self.stack.last_mut() {
            Some(outer) => outer.hold(closed),
            None => closed.into_iter().for_each(|group| self.root(group)),
        }
    }

    fn root(&mut self, group: Closed) {
        self.roots.extend(group.nodes);
        self.skipped = group.skip.or(self.skipped.take());
    }

    /// The tree, and why all of it was skipped.
    pub(super) fn finish(mut self, ending: Ending) -> (Vec<Node>, Option<String>) {
        while !self.stack.is_empty() {
            self.close_last();
        }
        let Beyond { results, failed } = self.beyond;
        if results > 0 {
            let reason = format!("{results} more results are not kept, {failed} of them not ok");
            let mut rest = Node::error("(the rest)", reason);
            if failed > 0 {
                rest.verdict = SubtestVerdict::Fail;
            }
            self.roots.push(rest);
        }
        if ending == Ending::CutOff {
            self.roots.push(Node::error(CUT_OFF, "it was cut off"));
        }
        (self.roots, self.skipped)
    }
}

/// Lines that may explain the next result; the last of them.
#[derive(Debug, Default)]
struct Pending {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, line: &str) {
        let line = line.trim_end();
        if line.trim_start().is_empty() {
            return;
        }
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > DIAGNOSTICS {
            let Some(dropped) = self.lines.pop_front() else { break };
            self.bytes -= dropped.len() + 1;
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last whole lines of at most so many bytes.
    fn take(&mut self, limit: usize) -> String {
        let Self { mut lines, mut bytes } = std::mem::take(self);
        while bytes > limit {
            let Some(dropped) = lines.pop_front() else { break };
            bytes -= dropped.len() + 1;
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}
