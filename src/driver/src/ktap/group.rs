//! Results of one column between a version, or whatever announces them, and the
//! result that they belong to; and what does not add up about them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::line::Said;
use super::lines::Length;
use crate::model::SubtestVerdict;

/// A result with what is nested in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    number: Option<u64>,
    pub(super) verdict: SubtestVerdict,
    pub(super) reason: String,
    pub(super) elapsed: Option<Duration>,
    pub(super) diagnostics: String,
    pub(super) children: Vec<Node>,
}

impl Node {
    /// Something that does not add up.
    pub(super) fn error(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            number: None,
            verdict: SubtestVerdict::Error,
            reason: reason.into(),
            elapsed: None,
            diagnostics: String::new(),
            children: Vec::new(),
        }
    }

    /// What is wrong with it; a failure stays one.
    fn discredit(&mut self, reason: String) {
        if self.verdict != SubtestVerdict::Fail {
            self.verdict = SubtestVerdict::Error;
            self.reason = reason;
        }
    }
}

/// Whether results are known to be KTAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// They look like it, and nothing said so yet.
    Guessed,
    Announced,
}

/// Whether numbers may be missing at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ordinary,
    /// It gave up and said so, or has more results than are kept.
    Explained,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) column: usize,
    name: Option<String>,
    opening: Opening,
    plan: Option<u64>,
    skip: Option<String>,
    nodes: Vec<Node>,
    numbers: BTreeSet<u64>,
    last: u64,
    /// Groups that wait for the result that they belong to.
    held: Vec<Closed>,
    fate: Fate,
    /// Its lines, as long as they may be no results.
    words: Vec<String>,
}

/// Bytes that are kept of the lines of a guessed group.
const MAX_WORDS: usize = 4 << 10;

/// A group to which nothing is added any more.
#[derive(Debug)]
pub(super) struct Closed {
    name: Option<String>,
    pub(super) nodes: Vec<Node>,
    /// Why nothing was planned.
    pub(super) skip: Option<String>,
}

impl Closed {
    fn says_nothing(&self) -> bool {
        self.nodes.is_empty() && self.skip.is_none()
    }
}

impl Group {
    pub(super) fn new(column: usize, opening: Opening) -> Self {
        Self {
            column,
            name: None,
            opening,
            plan: None,
            skip: None,
            nodes: Vec::new(),
            numbers: BTreeSet::new(),
            last: 0,
            held: Vec::new(),
            fate: Fate::Ordinary,
            words: Vec::new(),
        }
    }

    pub(super) fn announce(&mut self, name: Option<String>) {
        self.opening = Opening::Announced;
        self.name = name.or(self.name.take());
    }

    pub(super) fn is_guessed(&self) -> bool {
        self.opening == Opening::Guessed
    }

    /// Keeps a line of a group that may be none.
    pub(super) fn keep_words(&mut self, line: &str) {
        let kept: usize = self.words.iter().map(String::len).sum();
        if self.is_guessed() && kept + line.len() <= MAX_WORDS {
            self.words.push(line.to_owned());
        }
    }

    /// The lines of a group that nobody announced: it was none.
    pub(super) fn take_words(&mut self) -> Vec<String> {
        let words = std::mem::take(&mut self.words);
        if self.is_guessed() { words } else { Vec::new() }
    }

    /// Whether it has been opened and no more.
    pub(super) fn is_fresh(&self) -> bool {
        self.nodes.is_empty() && self.plan.is_none() && self.held.is_empty()
    }

    /// Whether everything that it planned was reported.
    pub(super) fn is_complete(&self) -> bool {
        let planned = |plan: u64| self.numbers.len() as u64 == plan && self.last == plan;
        self.plan.is_some_and(planned)
    }

    pub(super) fn plan(&mut self, count: u64, skip: Option<String>) {
        self.opening = Opening::Announced;
        match self.plan {
            None => (self.plan, self.skip) = (Some(count), skip),
            Some(first) if first == count => {}
            Some(first) => {
                let reason = format!("a second plan of {count}, the first was of {first}");
                self.nodes.push(Node::error("(plan)", reason));
            }
        }
    }

    /// Keeps groups for the next result. Those that are known to be KTAP make what
    /// holds them known as well.
    pub(super) fn hold(&mut self, groups: Vec<Closed>) {
        if !groups.is_empty() {
            self.opening = Opening::Announced;
        }
        self.held.extend(groups.into_iter().filter(|group| !group.says_nothing()));
    }

    pub(super) fn result(&mut self, said: Said, length: Length, diagnostics: String) {
        let number = said.number.unwrap_or(self.last.saturating_add(1));
        let held = std::mem::take(&mut self.held);
        let skip = held.iter().find_map(|group| group.skip.clone());
        let children: Vec<Node> = held.into_iter().flat_map(|group| group.nodes).collect();
        let name = if said.name.is_empty() { number.to_string() } else { said.name };
        let mut node = Node {
            name,
            number: Some(number),
            verdict: said.verdict,
            reason: said.reason,
            elapsed: said.elapsed,
            diagnostics,
            children,
        };
        if let Some(skip) = skip.filter(|_| node.children.is_empty()) {
            // Whatever it says of itself, nothing of it was run.
            if node.verdict == SubtestVerdict::Pass {
                node.verdict = SubtestVerdict::Skip;
            }
            if node.reason.is_empty() {
                node.reason = skip;
            }
        }
        if length == Length::Cut {
            node.discredit("its line is too long to know what it says".to_owned());
        }
        if !self.numbers.insert(number) {
            node.discredit(format!("number {number} was reported before"));
        }
        self.last = number;
        self.nodes.push(node);
    }

    /// A result that is not kept.
    pub(super) fn pass_over(&mut self) {
        self.held.clear();
        self.fate = Fate::Explained;
    }

    pub(super) fn bail_out(&mut self, reason: String) {
        self.opening = Opening::Announced;
        self.fate = Fate::Explained;
        self.nodes.push(Node::error("Bail out!", reason));
    }

    pub(super) fn newest(&mut self) -> Option<&mut Node> {
        self.nodes.last_mut()
    }

    /// What came of it; of one that nobody announced, what is nested in it.
    pub(super) fn close(mut self) -> Vec<Closed> {
        let held = std::mem::take(&mut self.held);
        if self.opening == Opening::Guessed {
            return held;
        }
        for group in held {
            let name = group.name.unwrap_or_else(|| "(unnamed)".to_owned());
            let mut orphan = Node::error(name, "its own result was not reported");
            orphan.children = group.nodes;
            self.nodes.push(orphan);
        }
        if let Some(plan) = self.plan {
            for node in &mut self.nodes {
                if let Some(number) = node.number.filter(|number| *number > plan) {
                    node.discredit(format!("number {number} is beyond the plan of {plan}"));
                }
            }
        }
        if self.fate == Fate::Ordinary {
            self.nodes.extend(self.missing());
        }
        let skip = self.skip.filter(|_| self.plan == Some(0));
        vec![Closed { name: self.name, nodes: self.nodes, skip }]
    }

    /// An error for each row of numbers that nobody reported.
    fn missing(&self) -> Vec<Node> {
        let mut missing = Vec::new();
        let mut row = |from: u64, to: u64| {
            let name = if from == to { from.to_string() } else { format!("{from}..{to}") };
            let planned = self.plan.is_some_and(|plan| to <= plan);
            let reason = if planned { "planned, and not reported" } else { "not reported" };
            missing.push(Node::error(name, reason));
        };
        let mut next = 1;
        for number in self.numbers.iter().copied() {
            if number > next {
                row(next, number - 1);
            }
            next = next.max(number.saturating_add(1));
        }
        if let Some(plan) = self.plan.filter(|plan| *plan >= next && *plan > 0) {
            row(next, plan);
        }
        missing
    }
}
