//! Many namespaces that have numbers for many others, which then die together.

use std::time::Duration;

use super::ledger::{Fate, Line};
use super::marked::Marked;
use super::observer::Observer;
use crate::context::{Context, Stop};
use crate::netlink::{Notice, Reach};
use crate::netns::Home;
use crate::ucount::{Census, Gone};

/// How long it is quiet before somebody looks whether there is more to come.
const LOOK: Duration = Duration::from_millis(200);

/// Those who live on.
#[derive(Debug)]
pub(super) struct Crowd {
    observers: Vec<Observer>,
}

impl Crowd {
    /// Makes so many. The last one is the last in the kernel's list too.
    pub(super) fn gather(ctx: &Context<'_>, home: &Home, live: usize) -> Result<Self, Stop> {
        let mut observers = Vec::with_capacity(live);
        for nth in 0..live {
            observers.push(Observer::create(home, format!("live namespace {nth}"), Reach::Own)?);
            // A report of life, not of how far it is.
            ctx.progress(0, 1)?;
        }
        Ok(Self { observers })
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.observers.len()
    }

    /// Makes `dying` namespaces, the given one included, of which each one of
    /// the crowd gets numbers for the first `ids`. They die when they are dropped.
    pub(super) fn face(
        &mut self,
        ctx: &Context<'_>,
        home: &Home,
        first: Marked,
        (dying, ids): (usize, usize),
    ) -> Result<Vec<Marked>, Stop> {
        let mut victims = vec![first];
        while victims.len() < dying {
            victims.push(Marked::create_away(home, victims.len())?);
            ctx.progress(0, 1)?;
        }
        for observer in &mut self.observers {
            let given = victims.iter().take(ids).map(|victim| observer.assign(ctx, victim, None));
            let given: Vec<i32> = given.collect::<Result<_, _>>()?;
            observer.settle(ctx, "when numbers were given")?;
            for id in given {
                observer.ledger.expect(Line { from: None, id }, Fate::Ended);
            }
            ctx.progress(0, 1)?;
        }
        Ok(victims)
    }

    /// Waits until the last one has heard so many notices, or the cleanup is over
    /// without them: what they are, and what the census found in that case.
    pub(super) fn hear_last(
        &mut self,
        ctx: &Context<'_>,
        census: &mut Census,
        expected: usize,
    ) -> Result<(Vec<Notice>, Option<Gone>), Stop> {
        let mut heard = Vec::new();
        let Some(last) = self.observers.last_mut() else { return Ok((heard, None)) };
        while heard.len() < expected && !ctx.remaining().is_zero() {
            // Looking at the census costs more than being woken, so it is rare.
            let came = last.listener.wait(LOOK.min(ctx.remaining()));
            if came.map_err(|error| error.stop("poll of a netlink socket"))? {
                heard.append(&mut last.take()?);
            } else if let Some(gone) = census.wait(Duration::ZERO)? {
                return Ok((heard, Some(gone)));
            }
            // A report of life, not of how far it is.
            ctx.progress(0, 1)?;
        }
        Ok((heard, None))
    }

    /// Everybody heard of every end exactly once, the last one's `heard` included,
    /// and has no number left; how many notices they were.
    pub(super) fn settle(&mut self, ctx: &Context<'_>, mut heard: Vec<Notice>) -> Result<usize, Stop> {
        let mut sum = 0;
        let last = self.observers.len().saturating_sub(1);
        for (nth, observer) in self.observers.iter_mut().enumerate() {
            let mut notices = if nth == last { std::mem::take(&mut heard) } else { Vec::new() };
            notices.append(&mut observer.take()?);
            sum += observer.settle_with(ctx, &notices, "when the others died")?;
            observer.expect_listed(ctx, vec![])?;
        }
        Ok(sum)
    }
}
