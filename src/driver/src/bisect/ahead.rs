//! What a bisection still costs: the ends of a search, the steps between them, and what
//! is looked at once there is an answer. Pure. Of what nobody knows yet the least is
//! told: a verdict may take more boots, and there may be another search.

use super::pair::{self, What};
use super::record::{Asked, Phase, Target};
use super::search;
use super::state::State;
use super::walk::{Walked, profiles};
use crate::analysis::bisect::Forecast;
use crate::model::Accel;

/// What is still to come of the search in which this is asked for.
pub(super) fn of(state: &State, walked: &Walked, asked: &Asked) -> Forecast {
    // What a boot that is under way shows may ask for something else.
    let under_way = state.missing();
    let (asked, boots) = match &under_way {
        Some(missing) => (&missing.asked, missing.boots.len()),
        None => (asked, asked.targets.len() * (asked.until - asked.from + 1) as usize),
    };
    let ahead = Ahead { state, walked, turns: turns(state, walked) };
    let builds = asked.targets.iter().filter(|target| state.kernel(target).is_none()).count();
    let now = Work { builds: builds as f64, boots: boots as f64 };
    let own = match asked.phase {
        Phase::Endpoints => ahead.ends(now),
        Phase::Search => ahead.search(now),
        Phase::Confirm | Phase::Revert | Phase::Profile => now,
    };
    let later = [
        (Phase::Search, ahead.search(Work::default())),
        (Phase::Confirm, Work { builds: 0.0, boots: ahead.pair() }),
        (Phase::Revert, ahead.revert()),
        (Phase::Profile, ahead.profile()),
    ];
    let later = later.into_iter().filter(|(phase, _)| *phase > asked.phase).map(|(_, work)| work);
    let Work { builds, boots } = later.fold(own, Work::and);
    Forecast { builds, boots, seconds: builds * state.build_seconds() + boots * state.boot_seconds() }
}

/// Turns that a verdict on two kernels takes at least.
fn turns(state: &State, walked: &Walked) -> u32 {
    match state.accel() {
        Some(accel) if accel == Accel::Icount.name() => 1,
        _ => pair::least(What::of(&state.plan, walked.judge)),
    }
}

/// Kernels to build, and boots.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    builds: f64,
    boots: f64,
}

impl Work {
    fn and(self, other: Self) -> Self {
        Self { builds: self.builds + other.builds, boots: self.boots + other.boots }
    }

    fn at_least(self, least: Self) -> Self {
        Self { builds: self.builds.max(least.builds), boots: self.boots.max(least.boots) }
    }
}

struct Ahead<'a> {
    state: &'a State,
    walked: &'a Walked,
    turns: u32,
}

impl Ahead<'_> {
    /// Boots of two kernels until there is a verdict.
    fn pair(&self) -> f64 {
        2.0 * f64::from(self.turns)
    }

    fn ends(&self, now: Work) -> Work {
        let leg = &self.walked.leg;
        let had = [&leg.good, &leg.bad].map(|end| self.state.boots(leg.number, Phase::Endpoints, end).len());
        let boots = (self.pair() - had.iter().sum::<usize>() as f64).max(0.0);
        now.at_least(Work { builds: 0.0, boots })
    }

    fn search(&self, now: Work) -> Work {
        let known = self.walked.search.as_ref().and_then(|it| it.remaining);
        let Forecast { builds, boots, .. } =
            known.unwrap_or_else(|| search::before_the_first_boot(self.state, &self.walked.leg));
        now.at_least(Work { builds, boots })
    }

    /// The bad end without the answer, which is one commit unless it is known to be more.
    fn revert(&self) -> Work {
        let once = Work { builds: 1.0, boots: self.pair() };
        let Some(found) = &self.walked.found else { return once };
        let [suspect] = found.class.suspects[..] else { return Work::default() };
        let hash = &self.state.plan.commits[self.walked.leg.members[suspect]].commit.hash;
        if self.state.conflicts(hash).is_some() {
            return Work::default();
        }
        match self.state.kernel(&Target::Without(hash.clone())) {
            Some(_) => Work { builds: 0.0, ..once },
            None => once,
        }
    }

    fn profile(&self) -> Work {
        let turns = self.state.plan.profile.as_ref().map_or(0, |_| profiles(self.state));
        Work { builds: 0.0, boots: 2.0 * f64::from(turns) }
    }
}
