//! A world without kernels: commits of which we know what they do, and boots that are
//! drawn. A boot depends on its kernel and its turn alone, so that a bisection that was
//! cut off meets the same world again.

use std::collections::{BTreeMap, BTreeSet};

use kregress_wire::{Better, Kind, Unit};

use crate::bisect::bisected::{Bisected, Commit};
use crate::bisect::record::{
    BootLine, Candidate, FixUse, KernelLine, KernelOutcome, Line, Outcome, Plan, Question, Target, Touched,
    VERSION,
};
use crate::bisect::{Budget, Next, State, next, outcome};
use crate::model::{AccelChoice, Backend, RootFs};
use crate::results::format::{Machine, Metric};

/// Steps after which a bisection is taken to go on for ever.
const STEPS: usize = 2_000;

/// What is true.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) question: Question,
    /// Parents of each commit within the range.
    pub(super) parents: Vec<Vec<usize>>,
    /// What each commit multiplies the metric by, or adds to the rate of failures.
    pub(super) does: BTreeMap<usize, f64>,
    /// Metric without any of them, or rate of failures.
    pub(super) base: f64,
    /// Standard deviation of a boot, as a share.
    pub(super) noise: f64,
    /// Commits that cannot be built.
    pub(super) unbuildable: BTreeSet<usize>,
    /// Commits whose kernels die.
    pub(super) dead: BTreeSet<usize>,
    /// Commits that change nothing in the image.
    pub(super) comments: BTreeSet<usize>,
    /// Commits that do not come out of the bad endpoint.
    pub(super) conflicts: BTreeSet<usize>,
    pub(super) accel: &'static str,
    pub(super) seed: u64,
}

pub(super) fn time() -> Question {
    metric(Kind::Time, Unit::Nanoseconds)
}

pub(super) fn metric(kind: Kind, unit: Unit) -> Question {
    let metric = Metric {
        name: "drain_time".to_owned(),
        summary: "from the last close to the end".to_owned(),
        unit,
        kind,
        better: Better::Lower,
    };
    Question::Metric { test: "netns-teardown/drain".to_owned(), metric }
}

/// A straight history of so many commits.
pub(super) fn line(commits: usize) -> World {
    World {
        question: time(),
        parents: (0..commits).map(|at| at.checked_sub(1).into_iter().collect()).collect(),
        does: BTreeMap::new(),
        base: 1e6,
        noise: 0.02,
        unbuildable: BTreeSet::new(),
        dead: BTreeSet::new(),
        comments: BTreeSet::new(),
        conflicts: BTreeSet::new(),
        accel: "tcg",
        seed: 1,
    }
}

pub(super) fn hash(commit: usize) -> String {
    format!("{:040x}", commit + 0x1000)
}

fn commit(hash: String, subject: &str) -> Commit {
    Commit {
        hash,
        subject: subject.to_owned(),
        author: "A U Thor <author@example.org>".to_owned(),
        date: "2026-11-01T12:00:00+00:00".to_owned(),
    }
}

impl World {
    pub(super) fn plan(&self) -> Plan {
        let last = self.parents.len() - 1;
        let candidate = |(at, parents): (usize, &Vec<usize>)| Candidate {
            commit: commit(hash(at), &format!("change {at}")),
            parents: parents.clone(),
            files: vec![format!("net/file{at}.c")],
        };
        Plan {
            version: VERSION,
            kregress: "0.1.0".to_owned(),
            id: "20261120-231502-k3f9".to_owned(),
            command: ["kregress", "bisect"].map(str::to_owned).to_vec(),
            started_unix: 1_795_216_502,
            tree: "linux".to_owned(),
            repository: "/src/linux".into(),
            fragments: vec!["base".to_owned()],
            machine: Machine {
                accel: AccelChoice::Auto,
                backend: Backend::Qemu,
                cpus: 2,
                memory_bytes: 1 << 30,
                rootfs: RootFs::Auto,
                root: None,
            },
            seed: self.seed,
            quiet_host: false,
            fix_build: None,
            question: self.question.clone(),
            profile: None,
            confidence: 0.95,
            floor: 0.05,
            layout_noise: 0.005,
            good: commit("0".repeat(40), "the good one"),
            others_good: Vec::new(),
            bad: commit(hash(last), &format!("change {last}")),
            paths: Vec::new(),
            commits: self.parents.iter().enumerate().map(candidate).collect(),
        }
    }

    /// Commits that a target contains.
    fn contents(&self, target: &Target) -> BTreeSet<usize> {
        let number = |hash: &str| usize::from_str_radix(hash, 16).expect("a hash").checked_sub(0x1000);
        let all = |from: usize| {
            let (mut seen, mut ahead) = (BTreeSet::new(), vec![from]);
            while let Some(commit) = ahead.pop() {
                if seen.insert(commit) {
                    ahead.extend(&self.parents[commit]);
                }
            }
            seen
        };
        match target {
            Target::Commit(hash) => number(hash).map(all).unwrap_or_default(),
            Target::Without(hash) => {
                let mut contents = all(self.parents.len() - 1);
                contents.remove(&number(hash).expect("a commit"));
                contents
            }
        }
    }

    fn number(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Commit(hash) => usize::from_str_radix(hash, 16).ok()?.checked_sub(0x1000),
            Target::Without(_) => None,
        }
    }

    fn kernel(&self, target: &Target) -> Line {
        if let Target::Without(culprit) = target
            && let Some(at) = self.number(&Target::Commit(culprit.clone()))
            && self.conflicts.contains(&at)
        {
            return Line::Conflicts { culprit: culprit.clone(), files: vec!["net/file.c".to_owned()] };
        }
        let is = |set: &BTreeSet<usize>| self.number(target).is_some_and(|at| set.contains(&at));
        let outcome = if is(&self.unbuildable) {
            let reason = "net/file.c:12: error\nmore".to_owned();
            KernelOutcome::Unbuildable { reason, failed_in: Some(30.0) }
        } else {
            let image: Vec<usize> =
                self.contents(target).into_iter().filter(|it| !self.comments.contains(it)).collect();
            KernelOutcome::Ready {
                identity: target.name(),
                image: Some(format!("{image:?}")),
                built_in: Some(100.0),
                lacks: Vec::new(),
                fix: FixUse::WhereItApplies,
            }
        };
        Line::Kernel(KernelLine { target: target.clone(), outcome })
    }

    fn outcome(&self, target: &Target, turn: u32) -> Outcome {
        if self.number(target).is_some_and(|at| self.dead.contains(&at)) {
            return Outcome::Nothing { reason: "panic: it died".to_owned() };
        }
        let does = self.contents(target).into_iter().filter_map(|it| self.does.get(&it));
        // FNV-1a, as good as any: what is drawn hangs on nothing but kernel and turn.
        let mut seed = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in format!("{target:?} {turn}").bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        match self.question {
            Question::Metric { .. } => {
                let level = does.fold(self.base, |level, factor| level * factor);
                let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
                let median = if self.accel == "icount" { level } else { level * (self.noise * normal).exp() };
                Outcome::Value { median, lowest: median, highest: median, samples: 5, error: 0.0 }
            }
            Question::Test { .. } | Question::Finding { .. } => {
                if rng.f64() < self.base + does.sum::<f64>() {
                    Outcome::Shows {
                        message: "expected 7, seen 57".to_owned(),
                        class: "assertion".to_owned(),
                    }
                } else {
                    Outcome::Clean
                }
            }
        }
    }

    fn boot(&self, state: &State, target: &Target, turn: u32, asked: &crate::bisect::record::Asked) -> Line {
        Line::Boot(BootLine {
            leg: asked.leg,
            phase: asked.phase,
            target: target.clone(),
            turn,
            boot: Some(state.last_boot() + 1),
            accel: self.accel.to_owned(),
            seconds: 10.0,
            outcome: self.outcome(target, turn),
            breakdown: None,
        })
    }

    /// Goes on from a state to the end. Gives the lines that were added.
    pub(super) fn go_on(&self, state: &mut State, budget: &Budget) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut tell = |state: &mut State, line: Line| {
            lines.push(line.clone());
            state.take(line);
        };
        for _ in 0..STEPS {
            match next(state, budget) {
                Next::Done => return lines,
                Next::Finish(missing) => {
                    for (target, turn) in &missing.boots {
                        let line = self.boot(state, target, *turn, &missing.asked);
                        tell(state, line);
                    }
                }
                Next::Boot(asked) => {
                    let mut missing = asked.targets.clone();
                    missing.retain(|target| state.kernel(target).is_none());
                    if missing.is_empty() && !state.knows_touches() {
                        let touches = vec![Touched::Elsewhere; self.parents.len()];
                        tell(state, Line::Touches { touches });
                    } else if missing.is_empty() {
                        tell(state, Line::Asked(asked));
                    }
                    for target in missing {
                        tell(state, self.kernel(&target));
                    }
                }
            }
        }
        panic!("it does not end: {:?}", next(state, budget));
    }

    /// A whole bisection: its lines and what it found.
    pub(super) fn bisect(&self) -> (Vec<Line>, Bisected) {
        let mut state = State::new(self.plan());
        let lines = self.go_on(&mut state, &Budget::default());
        (lines, self.outcome_of(&state, &Budget::default()))
    }

    pub(super) fn outcome_of(&self, state: &State, budget: &Budget) -> Bisected {
        outcome(state, budget, "/results/bisect/20261120-231502-k3f9")
    }
}

/// Numbers of the commits of the first answer.
pub(super) fn answer(found: &Bisected) -> Vec<usize> {
    let Some(answer) = found.answers.first() else { return Vec::new() };
    let number = |it: &Commit| usize::from_str_radix(&it.hash, 16).expect("a hash") - 0x1000;
    answer.commits.iter().map(number).collect()
}
