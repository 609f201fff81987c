//! From a record to what comes next, and to what is known: endpoints, search, fresh
//! boots of both sides of the answer, the answer undone on the bad endpoint, where the
//! time went; and once more for what the answer does not explain.
//!
//! Pure: the same record gives the same next step and the same outcome, whenever and
//! wherever it is read.

use std::collections::VecDeque;

use super::ahead;
use super::bisected::{Confirmation, Effect, Reverted};
use super::leg::Leg;
use super::pair::{self, Aim, Judge, Verdict, What};
use super::record::{Asked, KernelOutcome, Phase, Target};
use super::search::{self, Search, Step};
use super::state::{Missing, State};
use crate::analysis::bisect::{Class, Forecast};
use crate::model::{Accel, first_line};

/// Share of the difference between the endpoints that the answers have to explain; with
/// less there is another contributor.
const EXPLAINS: f64 = 0.6;

/// Searches at most. From experience with changes of hundreds of commits: what three
/// answers leave over is smaller than what a build adds by its layout.
const LEGS: usize = 4;

/// Part of the difference that has to lie on one side of an answer for another search
/// there.
const WORTH: f64 = 0.25;

/// Boots of a side for the breakdown where the clock is the host's; as in `compare`.
const PROFILES: u32 = 3;

/// What may be spent on a bisection.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Boots at most.
    pub boots: Option<u32>,
    /// Seconds of building and booting at most.
    pub seconds: Option<f64>,
}

impl Budget {
    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_spent(&self, state: &State) -> bool {
        let spent = state.spent();
        self.boots.is_some_and(|most| spent.boots >= most)
            || self.seconds.is_some_and(|most| spent.seconds >= most)
    }
}

/// What a user grants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grant {
    /// For the session, with all that was spent on it before.
    Whole(Budget),
    /// Beyond what was spent on it before.
    More(Budget),
}

impl Default for Grant {
    fn default() -> Self {
        Self::Whole(Budget::default())
    }
}

impl Grant {
    /// What that makes for a session that stands so.
    #[must_use]
    pub fn budget(self, state: &State) -> Budget {
        let spent = state.spent();
        match self {
            Self::Whole(budget) => budget,
            Self::More(Budget { boots, seconds }) => Budget {
                boots: boots.map(|more| spent.boots.saturating_add(more)),
                seconds: seconds.map(|more| spent.seconds + more),
            },
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Boots that were asked for and are not all there.
    Finish(Missing),
    /// Kernels of these, and then these boots. Asked again when a kernel is there or
    /// is known not to be.
    Boot(Asked),
    /// Nothing.
    Done,
}

/// What comes next in a bisection.
#[must_use]
pub fn next(state: &State, budget: &Budget) -> Next {
    if let Some(missing) = state.missing() {
        return Next::Finish(missing);
    }
    if budget.is_spent(state) {
        return Next::Done;
    }
    walk(state).wants.map_or(Next::Done, Next::Boot)
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// There are answers, or something is still wanted.
    Open,
    /// Every answer was found and looked at.
    Found,
    /// The endpoints do not differ.
    NotReproduced { reason: String, needs: Option<u32> },
    /// An endpoint cannot be built or says nothing.
    EndpointFailed { target: Target, reason: String },
    /// There is no single culprit.
    Contradiction(String),
    /// Nothing tells more.
    Exhausted,
}

/// An answer of a leg.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) class: Class,
    pub(super) before: Target,
    pub(super) after: Target,
    pub(super) confirmation: Confirmation,
    pub(super) reverted: Reverted,
    pub(super) explains: Option<f64>,
}

/// A leg as far as it got.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) leg: Leg,
    /// Its bad end against its good one.
    pub(super) ends: Option<Effect>,
    pub(super) judge: Option<Judge>,
    pub(super) search: Option<Search>,
    pub(super) found: Option<Found>,
}

/// Everything that the record says.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) legs: Vec<Walked>,
    pub(super) wants: Option<Asked>,
    pub(super) end: End,
    /// What is still to come where something is wanted.
    pub(super) remaining: Option<Forecast>,
}

/// Walks through the record.
pub(super) fn walk(state: &State) -> Walk {
    let mut walk = Walk { legs: Vec::new(), wants: None, end: End::Open, remaining: None };
    // The plan was made from a graph: a range that is none was refused.
    let mut ahead: VecDeque<Ahead> = VecDeque::from([Ahead::Whole]);
    while let Some(leg) = ahead.pop_front().and_then(|it| it.leg(state, &walk.legs)) {
        let is_first = leg.number == 0;
        let (walked, left) = Walker { state, leg }.walk(walk.legs.first().and_then(|it| it.ends));
        if let Left::Wants(asked) = &left {
            walk.remaining = Some(ahead::of(state, &walked, asked));
        }
        walk.legs.push(walked);
        match left {
            Left::Wants(asked) => {
                walk.wants = Some(asked);
                return walk;
            }
            Left::Ended(end) if is_first => {
                walk.end = end;
                return walk;
            }
            // What an answer leaves over need not be a step that can be seen.
            Left::Ended(_) => {}
            Left::Split(member) => {
                let of = walk.legs.len() - 1;
                ahead.extend([Ahead::Before { of, member }, Ahead::Behind { of, member }]);
            }
            Left::Done if ahead.is_empty() => ahead.extend(further(state, &walk.legs)),
            Left::Done => {}
        }
        if walk.legs.len() >= LEGS {
            break;
        }
    }
    let found = walk.legs.iter().any(|leg| leg.found.is_some());
    walk.end = if found { End::Found } else { End::Exhausted };
    walk
}

/// A search to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// Over the whole range.
    Whole,
    /// Over what lies before a member of a leg that was walked.
    Before { of: usize, member: usize },
    /// Over what lies behind it.
    Behind { of: usize, member: usize },
}

impl Ahead {
    fn leg(self, state: &State, walked: &[Walked]) -> Option<Leg> {
        let number = u32::try_from(walked.len()).ok()?;
        let leg = match self {
            Self::Whole => Leg::whole(state),
            Self::Before { of, member } => walked.get(of)?.leg.before(state, member, number),
            Self::Behind { of, member } => walked.get(of)?.leg.behind(state, member, number),
        };
        leg.ok()
    }
}

/// What is left of a leg to do.
enum Left {
    Wants(Asked),
    Ended(End),
    /// There is a change before this member and another one behind it.
    Split(usize),
    Done,
}

struct Walker<'a> {
    state: &'a State,
    leg: Leg,
}

impl Walker<'_> {
    /// Both sides in turns.
    fn pair(&self, phase: Phase, aim: Aim, known: Option<Judge>, [old, new]: [&Target; 2]) -> Verdict {
        let boots = |target| self.state.boots(self.leg.number, phase, target);
        pair::judge(What::of(&self.state.plan, known), aim, &boots(old), &boots(new))
    }

    fn ask(&self, phase: Phase, targets: Vec<Target>, until: u32, why: String) -> Asked {
        self.state.ask(self.leg.number, phase, targets, until, why)
    }

    fn unbuildable(&self, target: &Target) -> Option<&str> {
        match self.state.kernel(target)? {
            KernelOutcome::Unbuildable { reason, .. } => Some(reason),
            KernelOutcome::Ready { .. } => None,
        }
    }

    fn is_same_image(&self, one: &Target, other: &Target) -> bool {
        self.state.image(one).is_some_and(|image| self.state.image(other) == Some(image))
    }

    fn walk(self, whole: Option<Effect>) -> (Walked, Left) {
        let (good, bad) = (self.leg.good.clone(), self.leg.bad.clone());
        for target in [&good, &bad] {
            if let Some(reason) = self.unbuildable(target) {
                let end = End::EndpointFailed { target: target.clone(), reason: reason.to_owned() };
                return self.give(None, None, None, None, Left::Ended(end));
            }
        }
        if self.is_same_image(&good, &bad) {
            let reason = "both endpoints build to the same image".to_owned();
            let end = End::NotReproduced { reason, needs: None };
            return self.give(None, None, None, None, Left::Ended(end));
        }
        let (effect, judge) = match self.pair(Phase::Endpoints, Aim::Levels, None, [&good, &bad]) {
            Verdict::More { until, why } => {
                let asked = self.ask(Phase::Endpoints, vec![good, bad], until, why);
                return self.give(None, None, None, None, Left::Wants(asked));
            }
            Verdict::Changed { effect, judge } => (effect, judge),
            other => {
                let (effect, end) = self.no_difference(other, good, bad);
                return self.give(effect, None, None, None, Left::Ended(end));
            }
        };
        let search = search::look(self.state, &self.leg, judge);
        let left = match &search.step {
            Step::Boot { target, boots, why } => {
                let had = self.state.turns(self.leg.number, Phase::Search, target);
                let targets = vec![target.clone()];
                Left::Wants(self.ask(Phase::Search, targets, had + boots, why.clone()))
            }
            Step::Between(member) => Left::Split(*member),
            Step::Exhausted => Left::Ended(End::Exhausted),
            Step::Contradiction(reason) => Left::Ended(End::Contradiction(reason.clone())),
            Step::Found(class) => {
                let whole = whole.unwrap_or(effect);
                let (found, left) = self.answer(class.clone(), judge, [&effect, &whole]);
                return self.give(Some(effect), Some(judge), Some(search), Some(found), left);
            }
        };
        self.give(Some(effect), Some(judge), Some(search), None, left)
    }

    fn give(
        self,
        ends: Option<Effect>,
        judge: Option<Judge>,
        search: Option<Search>,
        found: Option<Found>,
        left: Left,
    ) -> (Walked, Left) {
        (Walked { leg: self.leg, ends, judge, search, found }, left)
    }

    fn no_difference(&self, verdict: Verdict, good: Target, bad: Target) -> (Option<Effect>, End) {
        match verdict {
            Verdict::Silent { side, reason } => {
                let target = if side == pair::Side::Old { good } else { bad };
                (None, End::EndpointFailed { target, reason })
            }
            Verdict::Unsure { effect, needs } => {
                let reason = "the endpoints may differ, but not surely".to_owned();
                (effect, End::NotReproduced { reason, needs })
            }
            Verdict::Unchanged { effect } => {
                let reason = "the endpoints do not differ".to_owned();
                (effect, End::NotReproduced { reason, needs: None })
            }
            Verdict::More { .. } | Verdict::Changed { .. } => (None, End::Open),
        }
    }

    /// What is looked at once there is an answer: by the difference of the ends of this
    /// search, and of the whole range.
    fn answer(&self, class: Class, judge: Judge, [ends, whole]: [&Effect; 2]) -> (Found, Left) {
        let before = self.leg.boundary(self.state, class.before);
        let after = self.leg.target(self.state, class.after);
        let mut found = Found {
            before,
            after,
            confirmation: Confirmation::Pending,
            reverted: Reverted::NotTried { reason: "there are no fresh boots yet".to_owned() },
            explains: None,
            class,
        };
        if let Some(asked) = self.confirm(&mut found, judge, ends) {
            return (found, Left::Wants(asked));
        }
        let Confirmation::Confirmed { effect } = found.confirmation else {
            let reason = "fresh boots do not confirm the answer".to_owned();
            found.reverted = Reverted::NotTried { reason };
            return (found, Left::Done);
        };
        found.explains = share(&effect, whole, judge);
        found.reverted = Reverted::NotTried { reason: "it is not done yet".to_owned() };
        if let Some(asked) = self.revert(&mut found, judge, &effect) {
            return (found, Left::Wants(asked));
        }
        if let Some(asked) = self.profile(&found) {
            return (found, Left::Wants(asked));
        }
        (found, Left::Done)
    }

    fn confirm(&self, found: &mut Found, judge: Judge, ends: &Effect) -> Option<Asked> {
        let (before, after) = (&found.before, &found.after);
        if self.is_same_image(before, after) {
            found.confirmation = Confirmation::NoOp;
            return None;
        }
        found.confirmation = match self.pair(Phase::Confirm, Aim::Verdict, Some(judge), [before, after]) {
            Verdict::More { until, .. } => {
                let why = "fresh boots of both sides of the answer".to_owned();
                return Some(self.ask(Phase::Confirm, vec![before.clone(), after.clone()], until, why));
            }
            Verdict::Changed { effect, .. } if is_alike(&effect, ends) => Confirmation::Confirmed { effect },
            Verdict::Changed { effect, .. } => Confirmation::NotConfirmed {
                effect: Some(effect),
                reason: "fresh boots differ the other way round".to_owned(),
            },
            Verdict::Unchanged { effect } => {
                Confirmation::NotConfirmed { effect, reason: "fresh boots show no difference".to_owned() }
            }
            Verdict::Unsure { effect, .. } => Confirmation::NotConfirmed {
                effect,
                reason: "fresh boots may differ, but not surely".to_owned(),
            },
            Verdict::Silent { reason, .. } => Confirmation::NotConfirmed {
                effect: None,
                reason: format!("fresh boots say nothing: {reason}"),
            },
        };
        None
    }

    fn revert(&self, found: &mut Found, judge: Judge, of_answer: &Effect) -> Option<Asked> {
        let [suspect] = found.class.suspects[..] else {
            let reason = "the answer is more than one commit".to_owned();
            found.reverted = Reverted::NotTried { reason };
            return None;
        };
        let commits = &self.state.plan.commits;
        let hash = &commits[self.leg.members[suspect]].commit.hash;
        if let Some(files) = self.state.conflicts(hash) {
            found.reverted = match files {
                [] => Reverted::NotTried { reason: "nothing of it is left in the bad endpoint".to_owned() },
                files => Reverted::Conflicts { files: files.to_vec() },
            };
            return None;
        }
        let without = Target::Without(hash.clone());
        let bad = Target::Commit(self.state.plan.bad.hash.clone());
        if let Some(reason) = self.unbuildable(&without) {
            found.reverted = Reverted::Failed { reason: first_line(reason) };
            return None;
        }
        found.reverted = match self.pair(Phase::Revert, Aim::Verdict, Some(judge), [&without, &bad]) {
            Verdict::More { until, .. } => {
                let why = "the bad endpoint with and without the answer".to_owned();
                return Some(self.ask(Phase::Revert, vec![without, bad], until, why));
            }
            Verdict::Changed { effect, .. } if is_alike(&effect, of_answer) => Reverted::Verified { effect },
            Verdict::Changed { effect, .. } => Reverted::StillBad { effect: Some(effect) },
            Verdict::Unchanged { effect } | Verdict::Unsure { effect, .. } => Reverted::StillBad { effect },
            Verdict::Silent { reason, .. } => Reverted::Failed { reason },
        };
        None
    }

    /// Where the time goes, once it is known that it changed.
    fn profile(&self, found: &Found) -> Option<Asked> {
        self.state.plan.profile.as_ref()?;
        let until = profiles(self.state);
        let had = self.state.turns(self.leg.number, Phase::Profile, &found.after);
        let why = "where the time goes on both sides".to_owned();
        let targets = vec![found.before.clone(), found.after.clone()];
        (had < until).then(|| self.ask(Phase::Profile, targets, until, why))
    }
}

/// Boots of a side for the breakdown.
pub(super) fn profiles(state: &State) -> u32 {
    if state.accel() == Some(Accel::Icount.name()) { 1 } else { PROFILES }
}

/// Whether two effects have the same direction. That of rates is always up: what shows
/// less often is not called a change.
fn is_alike(one: &Effect, other: &Effect) -> bool {
    let rises = |effect: &Effect| match effect {
        Effect::Level { old, new, .. } => new > old,
        Effect::Rate { .. } => true,
    };
    rises(one) == rises(other)
}

/// The part of the whole difference that an effect is, on the scale of the analysis.
fn share(effect: &Effect, whole: &Effect, judge: Judge) -> Option<f64> {
    let scale = match judge {
        Judge::Noisy(scale) => scale,
        Judge::Exact { .. } => pair::Scale::Plain,
        Judge::Rates => return None,
    };
    let distance = |effect: &Effect| match effect {
        Effect::Level { old, new, .. } => Some(scale.apply(*new) - scale.apply(*old)),
        Effect::Rate { .. } => None,
    };
    Some(distance(effect)? / distance(whole)?).filter(|share| share.is_finite())
}

/// The search for what the last answer does not explain; none where it explains enough,
/// or nothing is left on either side of it.
fn further(state: &State, legs: &[Walked]) -> Option<Ahead> {
    let explained: f64 = legs.iter().filter_map(|leg| leg.found.as_ref()?.explains).sum();
    let of = legs.len().checked_sub(1)?;
    let last = legs.get(of)?;
    let found = last.found.as_ref()?;
    found.explains?;
    if explained >= EXPLAINS {
        return None;
    }
    let judge = last.judge?;
    let level = |target: &Target| level(state, last.leg.number, target, judge);
    let (good, bad) = (level(&last.leg.good)?, level(&last.leg.bad)?);
    let before = level(&found.before)? - good;
    let behind = bad - level(&found.after)?;
    if before.abs().max(behind.abs()) < WORTH * (bad - good).abs() {
        return None;
    }
    if before.abs() >= behind.abs() {
        found.class.before.map(|member| Ahead::Before { of, member })
    } else {
        Some(Ahead::Behind { of, member: found.class.after })
    }
}

/// The level of a target by all of its boots up to a search, on the scale of the analysis.
fn level(state: &State, leg: u32, target: &Target, judge: Judge) -> Option<f64> {
    let boots = state.all_boots().iter().filter(|it| it.leg <= leg && it.target == *target);
    let boots: Vec<_> = boots.collect();
    let values: Vec<f64> = pair::values(&boots).iter().map(|boot| boot.value.median).collect();
    let median = crate::analysis::stats::median(&values)?;
    match judge {
        Judge::Noisy(scale) => Some(scale.apply(median)),
        Judge::Exact { .. } => Some(median),
        Judge::Rates => None,
    }
}
