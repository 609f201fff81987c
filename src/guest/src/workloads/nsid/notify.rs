//! `nsid/notify`: everyone who has a number for a namespace hears once that it
//! was given and once that it ended, and nobody else hears anything.
//!
//! A watcher in a namespace of its own hears those of all others besides
//! (`NETLINK_LISTEN_ALL_NSID`): nothing escapes into a namespace where nobody
//! listens.

use kregress_wire::{ParamInfo, WorkloadInfo};

use super::ledger::{Fate, Line};
use super::marked::Marked;
use super::observer::Observer;
use super::{count, sample};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::netlink::{Reach, Route, nsid};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/notify",
    summary: "checks that namespaces hear of every id they gave exactly once that it ended",
    params: &[
        ParamInfo::Int {
            name: "survivors",
            summary: "namespaces that listen",
            min: 1,
            max: 1000,
            default: 4,
        },
        ParamInfo::Int {
            name: "dying",
            summary: "namespaces that die together",
            min: 1,
            max: 10_000,
            default: 10,
        },
        ParamInfo::Int { name: "rounds", summary: "how often they do", min: 1, max: 10_000, default: 3 },
        ParamInfo::Choice {
            name: "holding",
            summary: "for which of the dying a survivor has an id: all, or every other one",
            choices: &["all", "some"],
            default: "all",
        },
    ],
    metrics: &[
        count("given", "RTM_NEWNSID that the survivors hear in one round"),
        count("ended", "RTM_DELNSID that the survivors hear in one round"),
        count("watched", "notices that the watcher of all namespaces has to hear in one round"),
        time("drain_time", "from the drop of the dying to the end of their cleanup"),
    ],
    modules: &[],
};

/// Who has numbers for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    All,
    Some,
}

impl Holding {
    fn of(word: &str) -> Result<Self, Stop> {
        match word {
            "all" => Ok(Self::All),
            "some" => Ok(Self::Some),
            other => {
                Err(Stop::Error(format!("parameter `holding` is `{other}`, which is none of its choices")))
            }
        }
    }

    /// Whether this observer has a number for that victim.
    fn includes(self, observer: usize, victim: usize) -> bool {
        self == Self::All || (observer + victim).is_multiple_of(2)
    }
}

/// One that is to die, with the number that it has at each observer.
struct Dying {
    place: Marked,
    ids: Vec<Option<i32>>,
}

/// How many notices were heard.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// By the survivors.
    own: usize,
    /// By the watcher.
    watched: usize,
}

impl std::ops::Add for Heard {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { own: self.own + other.own, watched: self.watched + other.watched }
    }
}

/// Those who stay.
struct Stage {
    holding: Holding,
    /// The watcher is the first.
    observers: Vec<Observer>,
    /// Numbers of the other observers at the watcher.
    known_as: Vec<i32>,
    /// Has given no number, and has none.
    stranger: Observer,
}

/// Where the watcher stands among the observers.
const WATCHER: usize = 0;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (survivors, dying) = (ctx.count("survivors")?, ctx.count("dying")?);
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let holding = Holding::of(ctx.choice("holding")?)?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    let mut stage = Stage::set(ctx, &home, survivors, holding)?;
    let mut first = Dying { place: Marked::adopt(spare.fresh, &home)?, ids: vec![None; survivors + 1] };
    let mut carried = Heard::default();
    for done in 1..=rounds {
        let victims = stage.gather(ctx, &home, first, dying)?;
        let given = carried + stage.settle(ctx, "while numbers were given")?;
        let ids: Vec<Vec<Option<i32>>> = victims.iter().map(|victim| victim.ids.clone()).collect();
        stage.expect_ends(&ids);
        census.keep(survivors + 2);
        census.close()?;
        ctx.dither();
        let dropped_ns = clock::monotonic_ns();
        drop(victims);
        let gone = expect_all_gone(ctx, &mut census, dying)?;
        census.open()?;
        let ended = stage.settle(ctx, "when the others died")?;
        ctx.sample("drain_time", ns(gone.at_ns.saturating_sub(dropped_ns)))?;
        ctx.sample("given", sample(given.own))?;
        ctx.sample("ended", sample(ended.own))?;
        ctx.sample("watched", sample((given + ended).watched))?;
        (first, carried) = stage.expect_reusable(ctx, Marked::adopt(gone.fresh, &home)?, &ids)?;
        ctx.progress(done, rounds)?;
    }
    drop((stage, first));
    census.keep(0);
    expect_all_gone(ctx, &mut census, survivors + 3).map(drop)
}

impl Stage {
    fn set(ctx: &Context<'_>, home: &Home, survivors: usize, holding: Holding) -> Result<Self, Stop> {
        let mut observers = vec![Observer::create(home, "the watcher".into(), Reach::All)?];
        for nth in 1..=survivors {
            observers.push(Observer::create(home, format!("survivor {nth}"), Reach::Own)?);
        }
        let stranger = Observer::create(home, "a namespace without numbers".into(), Reach::Own)?;
        let mut stage = Self { holding, observers, known_as: Vec::new(), stranger };
        let Some((watcher, others)) = stage.observers.split_first_mut() else {
            return Err(Stop::Error("there is no observer".into()));
        };
        for other in others.iter() {
            stage.known_as.push(watcher.assign(ctx, &other.place, None)?);
        }
        // Numbers between survivors, which nothing may touch.
        for nth in 1..others.len() {
            if let [one, two, ..] = others.get_mut(nth - 1..).unwrap_or_default() {
                let id = one.assign(ctx, &two.place, Some(PERMANENT))?;
                let from = stage.known_as.get(nth - 1).copied();
                watcher.ledger.expect(Line { from, id }, Fate::Given);
            }
        }
        stage.settle(ctx, "in the beginning")?;
        Ok(stage)
    }

    /// Where the watcher hears what this one hears.
    fn seen_from(&self, observer: usize) -> Option<i32> {
        observer.checked_sub(1).and_then(|nth| self.known_as.get(nth).copied())
    }

    /// This observer and the watcher have to hear of it.
    fn expect(&mut self, observer: usize, id: i32, fate: Fate) {
        let from = self.seen_from(observer);
        if let Some(own) = self.observers.get_mut(observer) {
            own.ledger.expect(Line { from: None, id }, fate);
        }
        if let (Some(_), Some(watcher)) = (from, self.observers.get_mut(WATCHER)) {
            watcher.ledger.expect(Line { from, id }, fate);
        }
    }

    fn assign(
        &mut self,
        ctx: &Context<'_>,
        observer: usize,
        peer: &Marked,
        id: Option<i32>,
    ) -> Result<i32, Stop> {
        let from = self.seen_from(observer);
        let Some(own) = self.observers.get_mut(observer) else {
            return Err(Stop::Error(format!("there is no observer {observer}")));
        };
        // Which notes down what that one hears.
        let id = own.assign(ctx, peer, id)?;
        own.expect_leads_to(ctx, id, Some(peer))?;
        if let (Some(_), Some(watcher)) = (from, self.observers.get_mut(WATCHER)) {
            watcher.ledger.expect(Line { from, id }, Fate::Given);
        }
        Ok(id)
    }

    /// Makes the victims, of which one is there already, and gives them numbers:
    /// at the observers, and at each other.
    fn gather(
        &mut self,
        ctx: &Context<'_>,
        home: &Home,
        first: Dying,
        count: usize,
    ) -> Result<Vec<Dying>, Stop> {
        let mut victims = vec![first];
        while victims.len() < count {
            let place = Marked::create_away(home, victims.len())?;
            victims.push(Dying { place, ids: vec![None; self.observers.len()] });
        }
        for (nth, victim) in victims.iter_mut().enumerate() {
            for (observer, id) in victim.ids.iter_mut().enumerate() {
                if id.is_none() && self.holding.includes(observer, nth) {
                    // Every other number is of the kernel's choice.
                    let wish = i32::try_from(nth).ok().filter(|_| nth % 2 == 1).map(|nth| CHOSEN + nth);
                    *id = Some(self.assign(ctx, observer, &victim.place, wish)?);
                }
            }
        }
        // Numbers that end with the namespace in which they are valid: nobody
        // hears of their end, unless the one that it means is cleaned up in an
        // earlier round of `cleanup_net` than the one that gave it.
        for (nth, victim) in victims.iter().enumerate() {
            let Some(next) = victims.get((nth + 1) % count) else { continue };
            victim.place.enter()?;
            let mut route = Route::here()?;
            home.back()?;
            nsid::assign(&mut route, next.place.peer(), AMONG_VICTIMS)
                .map_err(|error| error.stop("RTM_NEWNSID in a namespace that is to die"))?;
            let known = victim.ids.get(WATCHER).copied().flatten();
            if let (Some(from), Some(watcher)) = (known, self.observers.get_mut(WATCHER)) {
                watcher.ledger.expect(Line { from: Some(from), id: AMONG_VICTIMS }, Fate::Given);
            }
        }
        Ok(victims)
    }

    fn expect_ends(&mut self, ids: &[Vec<Option<i32>>]) {
        for (observer, id) in ids.iter().flat_map(|ids| ids.iter().enumerate()) {
            if let Some(id) = id {
                self.expect(observer, *id, Fate::Ended);
            }
        }
        let known = ids.iter().filter_map(|ids| ids.get(WATCHER).copied().flatten());
        if let Some(watcher) = self.observers.get_mut(WATCHER) {
            for from in known {
                watcher.ledger.allow(Line { from: Some(from), id: AMONG_VICTIMS }, Fate::Ended);
            }
        }
    }

    /// Everybody heard what was expected of him.
    fn settle(&mut self, ctx: &Context<'_>, when: &str) -> Result<Heard, Stop> {
        let mut heard = Heard::default();
        for (nth, observer) in self.observers.iter_mut().enumerate() {
            match observer.settle(ctx, when)? {
                count if nth == WATCHER => heard.watched = count,
                count => heard.own += count,
            }
        }
        self.stranger.settle(ctx, when)?;
        Ok(heard)
    }

    /// The numbers of the dead are free, those of the living are as they were,
    /// and a number that is given again means the new one; that one, and how
    /// much was heard of it.
    fn expect_reusable(
        &mut self,
        ctx: &Context<'_>,
        heir: Marked,
        ids: &[Vec<Option<i32>>],
    ) -> Result<(Dying, Heard), Stop> {
        for ids in ids {
            for (id, observer) in ids.iter().zip(&mut self.observers) {
                if let Some(id) = id {
                    observer.expect_free(ctx, *id)?;
                }
            }
        }
        let last = self.observers.len().saturating_sub(1);
        for (nth, observer) in self.observers.iter_mut().enumerate() {
            let left = match nth {
                WATCHER => self.known_as.clone(),
                nth if nth < last => vec![PERMANENT],
                _ => vec![],
            };
            observer.expect_listed(ctx, left)?;
        }
        let inherited = ids.first().cloned().unwrap_or_default();
        for (nth, id) in inherited.iter().enumerate() {
            if let Some(id) = id {
                self.assign(ctx, nth, &heir, Some(*id))?;
            }
        }
        let heard = self.settle(ctx, "when numbers were given again")?;
        Ok((Dying { place: heir, ids: inherited }, heard))
    }
}

/// What a survivor calls the next one.
const PERMANENT: i32 = 1_000_000;

/// Numbers that the survivors choose begin here, above those that the kernel
/// chooses.
const CHOSEN: i32 = 100_000;

/// What a victim calls the next one. Also a number that observers use for others.
const AMONG_VICTIMS: i32 = CHOSEN + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_pairs_have_numbers_where_some_have() {
        let pairs = |holding: Holding| {
            (0..4)
                .flat_map(|one| (0..10).map(move |two| (one, two)))
                .filter(|(o, v)| holding.includes(*o, *v))
                .count()
        };
        assert_eq!((pairs(Holding::All), pairs(Holding::Some)), (40, 20));
        // Everybody has a number for somebody, and nobody for all.
        assert!((0..4).all(|o| (0..2).filter(|v| Holding::Some.includes(o, *v)).count() == 1));
    }

    #[test]
    fn a_word_that_is_no_choice_is_an_error() {
        assert_eq!(Holding::of("some"), Ok(Holding::Some));
        assert!(matches!(Holding::of("none"), Err(Stop::Error(_))));
    }
}
