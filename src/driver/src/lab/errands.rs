//! What is still to be booted, in which order, and what follows from how a boot
//! ended. Pure: it starts nothing and tells nobody.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::share::Share;
use super::slots::{Need, Purpose, Slots};
use crate::model::{BootEnd, BootId, TroubleKind, Turn};

/// Launches in a row that give no verdict at all before the rest of the tests
/// is given up.
const FRUITLESS: u32 = 2;

/// Tests of one measurement that are to run in one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Errand {
    /// Index of the measurement.
    pub(super) measurement: usize,
    /// Which of its boots, and which attempt.
    pub(super) turn: Turn,
    /// Indices of its tests, in their order.
    pub(super) tests: Vec<usize>,
    /// What the boot takes of the host.
    pub(super) need: Need,
    /// What its tests are expected to take.
    estimate: Duration,
    /// Launches in a row that gave no verdict.
    fruitless: u32,
}

impl Errand {
    /// Gives up some of its tests.
    fn give_up(&self, tests: Vec<usize>, boot: Option<BootId>, kind: TroubleKind, reason: &str) -> GivenUp {
        let Self { measurement, turn, .. } = *self;
        GivenUp { measurement, turn, tests, boot, kind, reason: reason.to_owned() }
    }
}

/// Name of an errand that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Launch this.
    Go(Ticket, Errand),
    /// Nothing may start before something ends.
    Wait,
    /// Nothing is left, and nothing is under way that could add to it.
    Done,
}

/// How the launch of an errand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// The boot, if there was one.
    pub(super) boot: Option<BootId>,
    /// Tests without a verdict, in their order.
    pub(super) left: Vec<usize>,
    /// Tests that did not pass and may be tried again.
    pub(super) missed: Vec<usize>,
    /// How it came to its end.
    pub(super) how: How,
}

/// How a launch came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// The boot ended.
    Booted(BootEnd),
    /// The host could not start the machine.
    Impossible(String),
    /// The whole run is to end: the user or the record says so.
    Stopped(TroubleKind, String),
}

/// Tests that no boot will reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) measurement: usize,
    pub(super) turn: Turn,
    pub(super) tests: Vec<usize>,
    pub(super) boot: Option<BootId>,
    pub(super) kind: TroubleKind,
    pub(super) reason: String,
}

/// What a measurement wants.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) shares: Vec<Share>,
    pub(super) turns: RangeInclusive<u32>,
    pub(super) retries: u32,
    pub(super) cpus: usize,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Errands {
    slots: Slots,
    /// Retries granted to each measurement.
    retries: Vec<u32>,
    waiting: VecDeque<Errand>,
    running: Vec<(Ticket, Need)>,
    tickets: u64,
}

impl Errands {
    /// Queues everything that is wanted. Boots that measure times come first, those
    /// of the measurements in turns and every second time backwards (ABBA), so that
    /// a slow minute or a host that warms up does not fall on one of them alone.
    /// The others follow, the longest first.
    pub(super) fn new(wanted: &[Wanted], slots: Slots) -> Self {
        let first = wanted.iter().map(|wanted| *wanted.turns.start()).min().unwrap_or(1);
        let last = wanted.iter().map(|wanted| *wanted.turns.end()).max().unwrap_or(0);
        let mut errands = Vec::new();
        for repeat in first..=last {
            let mut order: Vec<usize> = (0..wanted.len()).collect();
            if repeat % 2 == 0 {
                order.reverse();
            }
            for measurement in order.into_iter().filter(|at| wanted[*at].turns.contains(&repeat)) {
                let Wanted { shares, cpus, .. } = &wanted[measurement];
                errands.extend(shares.iter().map(|share| Errand {
                    measurement,
                    turn: Turn::first(repeat),
                    tests: share.tests.clone(),
                    need: Need { cpus: *cpus, purpose: share.purpose },
                    estimate: share.estimate,
                    fruitless: 0,
                }));
            }
        }
        if slots.side_by_side > 1 {
            // Stable: equals stay in turns.
            errands.sort_by_key(|errand| match errand.need.purpose {
                Purpose::Timing => (Purpose::Timing, std::cmp::Reverse(Duration::ZERO)),
                Purpose::Function => (Purpose::Function, std::cmp::Reverse(errand.estimate)),
            });
        }
        let retries = wanted.iter().map(|wanted| wanted.retries).collect();
        Self { slots, retries, waiting: errands.into(), running: Vec::new(), tickets: 0 }
    }

    /// The next errand that may start beside those under way.
    pub(super) fn next(&mut self) -> Next {
        let running: Vec<Need> = self.running.iter().map(|(_, need)| *need).collect();
        let Some(first) = self.waiting.front() else {
            return if running.is_empty() { Next::Done } else { Next::Wait };
        };
        // A boot that measures times is not overtaken for ever by those that may
        // start at once: what stands behind it waits with it.
        if !self.slots.admit(&running, first.need) {
            return Next::Wait;
        }
        let Some(errand) = self.waiting.pop_front() else { return Next::Wait };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.running.push((ticket, errand.need));
        Next::Go(ticket, errand)
    }

    /// Takes the end of an errand; what remains of it is queued again or given up.
    pub(super) fn ended(&mut self, ticket: Ticket, errand: Errand, ended: Ended) -> Vec<GivenUp> {
        self.running.retain(|(running, _)| *running != ticket);
        let Ended { boot, left, missed, how } = ended;
        let fruitless = if left.len() < errand.tests.len() { 0 } else { errand.fruitless + 1 };
        let mut given_up = Vec::new();
        match how {
            How::Stopped(kind, reason) => {
                given_up.push(errand.give_up(left, None, kind, &reason));
                given_up.extend(self.stop(kind, &reason));
                // Nothing is tried again.
                given_up.retain(|it| !it.tests.is_empty());
                return given_up;
            }
            _ if left.is_empty() => {}
            How::Impossible(reason) => {
                given_up.push(errand.give_up(left, None, TroubleKind::Host, &reason));
            }
            How::Booted(BootEnd::NotBooted { reason, .. }) => {
                let reason = format!("the kernel did not boot: {reason}");
                given_up.push(errand.give_up(left, boot, TroubleKind::NotReached, &reason));
                given_up.extend(self.hopeless(&errand, boot, &reason));
            }
            How::Booted(_) if fruitless < FRUITLESS => {
                self.waiting.push_front(Errand { tests: left, fruitless, ..errand.clone() });
            }
            How::Booted(end) => {
                let last = end.reason().map_or(String::new(), |reason| format!(", the last: {reason}"));
                let reason = format!("{FRUITLESS} boots in a row ended before a test had a verdict{last}");
                given_up.push(errand.give_up(left, boot, TroubleKind::NotReached, &reason));
            }
        }
        if !missed.is_empty() && errand.turn.attempt <= self.retries[errand.measurement] {
            let turn = errand.turn.again();
            self.waiting.push_front(Errand { tests: missed, turn, fruitless: 0, ..errand });
        }
        given_up
    }

    /// A kernel that did not boot this time will not do so for the other tests of
    /// this turn either. The next turn tries again.
    fn hopeless(&mut self, errand: &Errand, boot: Option<BootId>, reason: &str) -> Vec<GivenUp> {
        let same = |other: &Errand| {
            (other.measurement, other.turn.repeat) == (errand.measurement, errand.turn.repeat)
        };
        let (hopeless, waiting): (VecDeque<Errand>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(same);
        self.waiting = waiting;
        let give_up =
            |errand: Errand| errand.give_up(errand.tests.clone(), boot, TroubleKind::NotReached, reason);
        hopeless.into_iter().map(give_up).collect()
    }

    /// Gives up everything that waits.
    pub(super) fn stop(&mut self, kind: TroubleKind, reason: &str) -> Vec<GivenUp> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|errand| errand.give_up(errand.tests.clone(), None, kind, reason)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lab::slots::Quiet;
    use crate::model::BootFault;

    fn share(tests: &[usize], purpose: Purpose, seconds: u64) -> Share {
        Share { tests: tests.to_vec(), purpose, estimate: Duration::from_secs(seconds) }
    }

    fn wanted(shares: Vec<Share>, boots: u32, retries: u32) -> Wanted {
        Wanted { shares, turns: 1..=boots, retries, cpus: 2 }
    }

    fn slots(side_by_side: usize) -> Slots {
        Slots { side_by_side, cores: 2, quiet: Quiet::Shared }
    }

    fn clean(left: &[usize], missed: &[usize]) -> Ended {
        let how = How::Booted(BootEnd::Clean);
        Ended { boot: Some(BootId(1)), left: left.to_vec(), missed: missed.to_vec(), how }
    }

    fn lost(left: &[usize], missed: &[usize]) -> Ended {
        Ended { how: How::Booted(BootEnd::Lost { reason: "x".into() }), ..clean(left, missed) }
    }

    fn go(errands: &mut Errands) -> (Ticket, Errand) {
        match errands.next() {
            Next::Go(ticket, errand) => (ticket, errand),
            other => panic!("{other:?}"),
        }
    }

    /// Runs everything one after the other, each boot to a clean end.
    fn order(errands: &mut Errands) -> Vec<(usize, u32, Vec<usize>)> {
        let mut order = Vec::new();
        while let Next::Go(ticket, errand) = errands.next() {
            order.push((errand.measurement, errand.turn.repeat, errand.tests.clone()));
            assert_eq!(errands.ended(ticket, errand, clean(&[], &[])), []);
        }
        assert_eq!(errands.next(), Next::Done);
        order
    }

    #[test]
    fn kernels_take_turns_and_every_second_time_backwards() {
        let one = wanted(vec![share(&[0], Purpose::Timing, 9)], 3, 0);
        let mut errands = Errands::new(&[one.clone(), one], slots(1));
        let kernels: Vec<usize> = order(&mut errands).iter().map(|it| it.0).collect();
        assert_eq!(kernels, [0, 1, 1, 0, 0, 1]);
    }

    #[test]
    fn later_turns_go_on_in_the_same_order() {
        let one = Wanted { turns: 4..=6, ..wanted(vec![share(&[0], Purpose::Timing, 9)], 3, 0) };
        let mut errands = Errands::new(&[one.clone(), one], slots(1));
        let turns: Vec<(usize, u32)> = order(&mut errands).iter().map(|it| (it.0, it.1)).collect();
        assert_eq!(turns, [(1, 4), (0, 4), (0, 5), (1, 5), (1, 6), (0, 6)]);
    }

    #[test]
    fn timing_comes_first_and_then_the_longest() {
        let shares = vec![
            share(&[0], Purpose::Function, 5),
            share(&[1], Purpose::Function, 50),
            share(&[2], Purpose::Timing, 1),
        ];
        let mut errands = Errands::new(&[wanted(shares, 1, 0)], slots(2));
        let tests: Vec<Vec<usize>> = order(&mut errands).into_iter().map(|it| it.2).collect();
        assert_eq!(tests, [vec![2], vec![1], vec![0]]);
    }

    #[test]
    fn what_a_dead_guest_never_reached_runs_in_a_fresh_boot_of_the_same_turn() {
        let mut errands =
            Errands::new(&[wanted(vec![share(&[0, 1, 2], Purpose::Function, 1)], 1, 0)], slots(1));
        let (ticket, errand) = go(&mut errands);
        assert_eq!(errands.ended(ticket, errand, lost(&[2], &[1])), []);
        let (_, next) = go(&mut errands);
        assert_eq!((next.tests, next.turn), (vec![2], Turn::first(1)));
    }

    #[test]
    fn two_boots_in_a_row_without_a_verdict_are_enough() {
        let mut errands = Errands::new(&[wanted(vec![share(&[0, 1], Purpose::Function, 1)], 1, 0)], slots(1));
        let (ticket, errand) = go(&mut errands);
        assert_eq!(errands.ended(ticket, errand, lost(&[0, 1], &[])), []);
        let (ticket, errand) = go(&mut errands);
        let given_up = errands.ended(ticket, errand, lost(&[0, 1], &[]));
        assert_eq!(given_up.len(), 1);
        assert_eq!((given_up[0].kind, &given_up[0].tests[..]), (TroubleKind::NotReached, &[0, 1][..]));
        assert_eq!(errands.next(), Next::Done);
    }

    #[test]
    fn a_verdict_in_between_starts_the_count_anew() {
        let mut errands = Errands::new(&[wanted(vec![share(&[0, 1], Purpose::Function, 1)], 1, 0)], slots(1));
        for left in [&[0, 1][..], &[1], &[1]] {
            let (ticket, errand) = go(&mut errands);
            assert_eq!(errands.ended(ticket, errand, lost(left, &[])), []);
        }
        let (ticket, errand) = go(&mut errands);
        assert_eq!(errands.ended(ticket, errand, lost(&[1], &[])).len(), 1);
    }

    #[test]
    fn a_kernel_that_does_not_boot_is_not_tried_for_the_other_tests_of_the_turn() {
        let shares = vec![share(&[0], Purpose::Function, 1), share(&[1], Purpose::Function, 1)];
        let mut errands = Errands::new(&[wanted(shares, 2, 0)], slots(1));
        let (ticket, errand) = go(&mut errands);
        let how = How::Booted(BootEnd::NotBooted { reason: "no init".into(), fault: BootFault::Unknown });
        let given_up = errands.ended(ticket, errand, Ended { how, ..clean(&[0], &[]) });
        let tests: Vec<&[usize]> = given_up.iter().map(|it| &it.tests[..]).collect();
        assert_eq!(tests, [[0], [1]]);
        assert!(given_up.iter().all(|it| it.reason == "the kernel did not boot: no init"));
        assert_eq!(go(&mut errands).1.turn, Turn::first(2));
    }

    #[test]
    fn a_test_that_did_not_pass_is_tried_again_as_often_as_granted() {
        let mut errands = Errands::new(&[wanted(vec![share(&[0, 1], Purpose::Function, 1)], 1, 2)], slots(1));
        for attempt in 1..=3 {
            let (ticket, errand) = go(&mut errands);
            assert_eq!(errand.turn, Turn { repeat: 1, attempt });
            assert_eq!(errands.ended(ticket, errand, clean(&[], &[1])), []);
        }
        assert_eq!(errands.next(), Next::Done);
    }

    #[test]
    fn without_retries_a_failure_stands() {
        let mut errands = Errands::new(&[wanted(vec![share(&[0], Purpose::Function, 1)], 1, 0)], slots(1));
        let (ticket, errand) = go(&mut errands);
        assert_eq!(errands.ended(ticket, errand, clean(&[], &[0])), []);
        assert_eq!(errands.next(), Next::Done);
    }

    #[test]
    fn a_stop_gives_up_everything_that_waits() {
        let shares = vec![share(&[0], Purpose::Function, 1), share(&[1], Purpose::Function, 1)];
        let mut errands = Errands::new(&[wanted(shares, 2, 3)], slots(1));
        let (ticket, errand) = go(&mut errands);
        let how = How::Stopped(TroubleKind::Interrupted, "interrupted by the user".into());
        let given_up = errands.ended(ticket, errand, Ended { how, ..clean(&[], &[0]) });
        assert_eq!(given_up.len(), 3);
        assert_eq!(errands.next(), Next::Done);
    }

    #[test]
    fn nothing_overtakes_a_timing_boot_that_waits_for_processors() {
        let shares = vec![share(&[0], Purpose::Timing, 1), share(&[1], Purpose::Function, 1)];
        let mut errands = Errands::new(&[wanted(shares, 2, 0)], slots(4));
        let (ticket, errand) = go(&mut errands);
        assert_eq!(errands.next(), Next::Wait);
        errands.ended(ticket, errand, clean(&[], &[]));
        assert_eq!(go(&mut errands).1.need.purpose, Purpose::Timing);
        assert_eq!(errands.next(), Next::Wait);
    }

    proptest! {
        #[test]
        fn every_test_has_each_of_its_turns_judged_or_given_up_once(
            boots in 1_u32..4,
            retries in 0_u32..3,
            side_by_side in 1_usize..5,
            fates in proptest::collection::vec(0_u8..6, 1..200),
        ) {
            let shares = vec![share(&[0, 1, 2], Purpose::Function, 3), share(&[3, 4], Purpose::Timing, 2)];
            let mut errands = Errands::new(&[wanted(shares, boots, retries)], slots(side_by_side));
            let mut fates = fates.into_iter().cycle();
            let mut seen = std::collections::BTreeMap::new();
            let mut running = Vec::new();
            let mut launches = 0;
            loop {
                match errands.next() {
                    Next::Go(ticket, errand) => running.push((ticket, errand)),
                    Next::Done => break,
                    Next::Wait => {
                        launches += 1;
                        prop_assert!(launches < 1000, "it does not end");
                        let (ticket, errand) = running.remove(0);
                        let mut count = |tests: &[usize], turn: Turn| {
                            for test in tests {
                                *seen.entry((*test, turn)).or_insert(0) += 1;
                            }
                        };
                        let (tests, turn) = (errand.tests.clone(), errand.turn);
                        let (done, left) = tests.split_at(tests.len() / 2);
                        let ended = match fates.next().expect("endless") {
                            0 | 1 => { count(&tests, turn); clean(&[], &[]) }
                            2 => { count(&tests, turn); clean(&[], &tests) }
                            3 => { count(done, turn); lost(left, done) }
                            4 => lost(&tests, &[]),
                            _ => Ended {
                                how: How::Booted(BootEnd::NotBooted { reason: String::new(), fault: BootFault::Unknown }),
                                ..clean(&tests, &[])
                            },
                        };
                        for given_up in errands.ended(ticket, errand, ended) {
                            count(&given_up.tests, given_up.turn);
                        }
                    }
                }
            }
            prop_assert!(running.is_empty());
            for test in 0..5 {
                for repeat in 1..=boots {
                    prop_assert_eq!(seen.get(&(test, Turn::first(repeat))), Some(&1));
                }
            }
            prop_assert!(seen.iter().all(|((_, turn), n)| *n == 1 && turn.attempt <= retries + 1), "{:?}", seen);
        }
    }
}
