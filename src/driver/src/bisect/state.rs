//! Where a bisection stands: its record, folded. Pure, and a function of the lines
//! alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::bisected::Spent;
use super::record::{Asked, BootLine, KernelOutcome, Line, Outcome, Phase, Plan, Question, Target, Touched};
use crate::analysis::stats::median;

/// Seconds that a build is taken to need before there was one. From experience: a small
/// change of a minimal kernel on two processors.
const BUILD_SECONDS: f64 = 60.0;

/// Seconds that a boot is taken to need before there was one.
const BOOT_SECONDS: f64 = 15.0;

/// Builds from which the cost of the next one is told: the latest. The first of all
/// compiles everything.
const LATEST: usize = 5;

/// Turns of different purposes begin so far apart, so that the boots of one purpose
/// draw other numbers than those of another, and both sides of a pair the same.
const TURNS_OF_PHASE: u32 = 1_000;

/// The same for searches.
const TURNS_OF_LEG: u32 = 10_000;

/// The record of a bisection, by what it is about.
#[derive(Debug, Clone)]
pub struct State {
    /// What is searched for, and where.
    pub plan: Plan,
    kernels: BTreeMap<Target, KernelOutcome>,
    /// Targets of which there is a kernel line, in the order of the record, with the search
    /// that was under way.
    built: Vec<(u32, Target)>,
    touches: Option<Vec<Touched>>,
    stored: BTreeSet<usize>,
    asked: Vec<Asked>,
    boots: Vec<BootLine>,
    conflicts: BTreeMap<String, Vec<String>>,
    /// Class of the failure that is searched for.
    failure: Option<String>,
    place: Vec<(String, String)>,
    by_hash: HashMap<String, usize>,
}

/// Boots that were asked for and have no line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What was asked for.
    pub asked: Asked,
    /// Target and turn of each.
    pub boots: Vec<(Target, u32)>,
}

impl State {
    /// A bisection of which nothing is known but its plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let hashes = plan.commits.iter().enumerate();
        let by_hash = hashes.map(|(at, it)| (it.commit.hash.clone(), at)).collect();
        Self {
            plan,
            kernels: BTreeMap::new(),
            built: Vec::new(),
            touches: None,
            stored: BTreeSet::new(),
            asked: Vec::new(),
            boots: Vec::new(),
            conflicts: BTreeMap::new(),
            failure: None,
            place: Vec::new(),
            by_hash,
        }
    }

    /// The same boots under another plan of the same commits: with another confidence,
    /// or another layout noise.
    #[must_use]
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Takes the next line of the record.
    pub fn take(&mut self, line: Line) {
        match line {
            // There is one, at the beginning.
            Line::Plan(_) => {}
            Line::Kernel(line) => {
                let leg = self.asked.last().map_or(0, |asked| asked.leg);
                self.built.push((leg, line.target.clone()));
                self.kernels.insert(line.target, line.outcome);
            }
            Line::Touches { touches } => self.touches = Some(touches),
            Line::Place { facts } => self.place = facts,
            Line::Stored { commits } => self.stored.extend(commits),
            Line::Asked(asked) => self.asked.push(asked),
            Line::Boot(boot) => {
                let boot = self.understood(boot);
                self.boots.push(boot);
            }
            Line::Conflicts { culprit, files } => {
                self.conflicts.insert(culprit, files);
            }
        }
    }

    /// A boot in the light of those before: what is searched for is the failure that the
    /// bad endpoint showed first, and another failure is not this failure.
    fn understood(&mut self, boot: BootLine) -> BootLine {
        let Question::Test { .. } = self.plan.question else { return boot };
        let Outcome::Shows { class, .. } = &boot.outcome else { return boot };
        match &self.failure {
            None if boot.target == Target::Commit(self.plan.bad.hash.clone()) => {
                let failure = class.clone();
                // Those of the good endpoint that came before.
                let before = std::mem::take(&mut self.boots);
                self.boots = before.into_iter().map(|it| in_the_light_of(&failure, it)).collect();
                self.failure = Some(failure);
                boot
            }
            None => boot,
            Some(failure) => in_the_light_of(failure, boot),
        }
    }

    /// Boots that were asked for last and are not all there.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        let asked = self.asked.last()?;
        let there: BTreeSet<(&Target, u32)> = self
            .boots
            .iter()
            .filter(|boot| boot.leg == asked.leg && boot.phase == asked.phase)
            .map(|boot| (&boot.target, boot.turn))
            .collect();
        let all = (asked.from..=asked.until)
            .flat_map(|turn| asked.targets.iter().map(move |target| (target, turn)));
        let boots: Vec<_> =
            all.filter(|it| !there.contains(it)).map(|(target, turn)| (target.clone(), turn)).collect();
        (!boots.is_empty()).then(|| Missing { asked: asked.clone(), boots })
    }

    /// Asks for boots of these targets up to the `until`th of this phase, from 1.
    #[must_use]
    pub fn ask(&self, leg: u32, phase: Phase, targets: Vec<Target>, until: u32, why: String) -> Asked {
        let base = first_turn(leg, phase);
        let had = targets.iter().map(|target| self.turns(leg, phase, target)).max().unwrap_or(0);
        Asked { leg, phase, from: base + had, until: base + until.max(had + 1) - 1, targets, why }
    }

    /// Turns of a target that were asked for so far.
    #[must_use]
    pub fn turns(&self, leg: u32, phase: Phase, target: &Target) -> u32 {
        let asked = self.asked.iter().filter(|it| it.leg == leg && it.phase == phase);
        let last = asked.filter(|it| it.targets.contains(target)).map(|it| it.until).max();
        last.map_or(0, |last| last - first_turn(leg, phase) + 1)
    }

    /// Boots of a target for one purpose, in the order of their turns.
    #[must_use]
    pub fn boots(&self, leg: u32, phase: Phase, target: &Target) -> Vec<&BootLine> {
        let mut boots: Vec<&BootLine> = self
            .boots
            .iter()
            .filter(|it| it.leg == leg && it.phase == phase && it.target == *target)
            .collect();
        boots.sort_by_key(|boot| boot.turn);
        boots
    }

    /// Boots of a target that a search may use. Those for answers must stay fresh, and
    /// those of later searches came when this one was over: what it found stays found.
    #[must_use]
    pub fn boots_to_search(&self, leg: u32, target: &Target) -> Vec<&BootLine> {
        self.boots_of_searches(target).into_iter().filter(|it| it.leg <= leg).collect()
    }

    /// Boots of a target for any search.
    #[must_use]
    pub fn boots_of_searches(&self, target: &Target) -> Vec<&BootLine> {
        let of =
            |it: &&BootLine| matches!(it.phase, Phase::Endpoints | Phase::Search) && it.target == *target;
        self.boots.iter().filter(of).collect()
    }

    /// What became of a kernel.
    #[must_use]
    pub fn kernel(&self, target: &Target) -> Option<&KernelOutcome> {
        self.kernels.get(target)
    }

    /// Hash of the image of a kernel, where it is known.
    #[must_use]
    pub fn image(&self, target: &Target) -> Option<&str> {
        match self.kernels.get(target)? {
            KernelOutcome::Ready { image, .. } => image.as_deref(),
            KernelOutcome::Unbuildable { .. } => None,
        }
    }

    /// Kernels with their targets, in the order in which they came.
    pub fn kernels(&self) -> impl Iterator<Item = (&Target, &KernelOutcome)> {
        self.kernels_to_search(u32::MAX)
    }

    /// Those that there were when a search was over.
    pub fn kernels_to_search(&self, leg: u32) -> impl Iterator<Item = (&Target, &KernelOutcome)> {
        let built = self.built.iter().filter(move |(of, _)| *of <= leg);
        built.filter_map(|(_, target)| Some((target, self.kernels.get(target)?)))
    }

    /// How a commit touches what is measured.
    #[must_use]
    pub fn touched(&self, commit: usize) -> Touched {
        self.touches.as_ref().and_then(|all| all.get(commit)).copied().unwrap_or(Touched::Elsewhere)
    }

    /// Whether it is known how the commits touch what is measured.
    #[must_use]
    pub fn knows_touches(&self) -> bool {
        self.touches.is_some()
    }

    /// Whether the kernel of a commit was in the store when the search began.
    #[must_use]
    pub fn was_stored(&self, commit: usize) -> bool {
        self.stored.contains(&commit)
    }

    /// Files in conflict when a commit was taken out of the bad endpoint; none where
    /// that was not tried or came out cleanly.
    #[must_use]
    pub fn conflicts(&self, culprit: &str) -> Option<&[String]> {
        self.conflicts.get(culprit).map(Vec::as_slice)
    }

    /// Number of a commit among the candidates.
    #[must_use]
    pub fn candidate(&self, hash: &str) -> Option<usize> {
        self.by_hash.get(hash).copied()
    }

    /// The accelerator of all boots; none before the first.
    #[must_use]
    pub fn accel(&self) -> Option<&str> {
        self.boots.first().map(|boot| boot.accel.as_str())
    }

    /// Facts about machine, host and compiler; the accelerator first.
    #[must_use]
    pub fn place(&self) -> Vec<(String, String)> {
        let accel = self.accel().map(|accel| ("accelerator".to_owned(), accel.to_owned()));
        accel.into_iter().chain(self.place.iter().cloned()).collect()
    }

    /// Number of the last boot.
    #[must_use]
    pub fn last_boot(&self) -> u32 {
        self.boots.iter().filter_map(|boot| boot.boot).max().unwrap_or(0)
    }

    /// Every boot, in the order of the record.
    #[must_use]
    pub fn all_boots(&self) -> &[BootLine] {
        &self.boots
    }

    /// What it has cost so far.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let mut spent = Spent { boots: count(self.boots.len()), ..Spent::default() };
        spent.seconds = self.boots.iter().map(|boot| boot.seconds).sum();
        for outcome in self.kernels.values() {
            match outcome {
                KernelOutcome::Ready { built_in: Some(seconds), .. } => {
                    spent.builds += 1;
                    spent.seconds += seconds;
                }
                KernelOutcome::Ready { built_in: None, .. } => spent.cached += 1,
                KernelOutcome::Unbuildable { failed_in, .. } => {
                    spent.failed_builds += 1;
                    spent.seconds += failed_in.unwrap_or(0.0);
                }
            }
        }
        // More boots of an endpoint are no step.
        let ends = [&self.plan.good.hash, &self.plan.bad.hash].map(|hash| Target::Commit(hash.clone()));
        let searched = self.boots.iter().filter(|it| it.phase == Phase::Search).map(|it| &it.target);
        let steps: BTreeSet<&Target> = searched.filter(|target| !ends.contains(target)).collect();
        spent.steps = count(steps.len());
        spent
    }

    /// Seconds that the next build will take, by the latest ones.
    #[must_use]
    pub fn build_seconds(&self) -> f64 {
        let mut seconds: Vec<f64> = self
            .kernels()
            .filter_map(|(_, outcome)| match outcome {
                KernelOutcome::Ready { built_in, .. } => *built_in,
                KernelOutcome::Unbuildable { .. } => None,
            })
            .collect();
        if seconds.len() > 1 {
            seconds.remove(0);
        }
        let latest = seconds.len().saturating_sub(LATEST);
        median(&seconds[latest..]).unwrap_or(BUILD_SECONDS)
    }

    /// Seconds that the next boot will take, by all there were.
    #[must_use]
    pub fn boot_seconds(&self) -> f64 {
        let told = self.boots.iter().filter(|it| !matches!(it.outcome, Outcome::Nothing { .. }));
        let seconds: Vec<f64> = told.map(|it| it.seconds).collect();
        median(&seconds).filter(|it| *it > 0.0).unwrap_or(BOOT_SECONDS)
    }
}

/// A boot where this is the failure that is searched for: another one says nothing.
fn in_the_light_of(failure: &str, mut boot: BootLine) -> BootLine {
    if let Outcome::Shows { message, class } = &boot.outcome
        && class != failure
    {
        boot.outcome = Outcome::Nothing { reason: format!("it failed in another way: {message}") };
    }
    boot
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The first turn of a purpose. Endpoints and search share theirs: what they draw is
/// the same, so that virtual time compares by its values.
fn first_turn(leg: u32, phase: Phase) -> u32 {
    let phase = match phase {
        Phase::Endpoints | Phase::Search => 0,
        Phase::Confirm => 1,
        Phase::Revert => 2,
        Phase::Profile => 3,
    };
    1 + leg.saturating_mul(TURNS_OF_LEG) + phase * TURNS_OF_PHASE
}
