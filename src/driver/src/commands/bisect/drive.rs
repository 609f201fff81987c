//! The loop of a bisection: asks what is next, does it, and says what it came to.

use super::kernels::Shop;
use crate::bisect::bisected::Bisected;
use crate::bisect::record::{Asked, Line};
use crate::bisect::session::Session;
use crate::bisect::{self, Budget, Next};
use crate::commands::Context;
use crate::commands::watch::Watch;
use crate::interrupt;
use crate::model::RunEvent;
use crate::report::bisected as report;

/// Why a bisection stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Stopped {
    /// There is nothing more to do, or nothing left to spend.
    Done,
    /// The user asked for it.
    Interrupted,
}

/// Goes on until nothing is left to do.
///
/// # Errors
///
/// Fails when the host cannot build or boot, or the record cannot be written.
pub(super) fn drive(
    context: &Context,
    session: &mut Session,
    shop: &mut Shop,
    budget: &Budget,
) -> anyhow::Result<Stopped> {
    let mut watch = Watch::new(context.messages);
    for notice in shop.notices() {
        watch.show(&RunEvent::Notice(notice));
    }
    watch.say(format!("session {}", session.path().display()));
    watch.say(report::begins(&told(session, budget)));
    loop {
        if interrupt::requested() {
            return Ok(Stopped::Interrupted);
        }
        match bisect::next(session.state(), budget) {
            Next::Done => return Ok(Stopped::Done),
            Next::Finish(missing) => match shop.boot(session, &missing, &mut watch) {
                Ok(()) => watch.say(report::stands(&told(session, budget))),
                Err(_) if interrupt::requested() => return Ok(Stopped::Interrupted),
                Err(error) => return Err(error),
            },
            Next::Boot(asked) => {
                if prepare(session, shop, &asked, &mut watch)? {
                    watch.say(asked.why.clone());
                    session.write(Line::Asked(asked))?;
                }
            }
        }
    }
}

/// What is known, for the lines between.
fn told(session: &Session, budget: &Budget) -> Bisected {
    bisect::outcome(session.state(), budget, "")
}

/// Builds what is missing for boots. Whether they can be made: where something new is
/// known, what is next may be something else.
fn prepare(session: &mut Session, shop: &mut Shop, asked: &Asked, watch: &mut Watch) -> anyhow::Result<bool> {
    let mut built = false;
    for target in &asked.targets {
        if session.state().kernel(target).is_some() {
            continue;
        }
        let line = match shop.build(&session.state().plan, target, watch) {
            Ok(line) => line,
            Err(_) if interrupt::requested() => return Ok(false),
            Err(error) => return Err(error),
        };
        session.write(line)?;
        built = true;
    }
    if built {
        return Ok(false);
    }
    if !session.state().knows_touches() {
        let touches = match shop.touches(session.state(), watch) {
            Ok(line) => line,
            Err(_) if interrupt::requested() => return Ok(false),
            Err(error) => return Err(error),
        };
        session.write(Line::Place { facts: shop.place() })?;
        watch.say("looking which kernels are in the store".to_owned());
        let stored = shop.stored(&session.state().plan);
        session.write(stored)?;
        // The last of the three: while it is not there, all of them are asked for again.
        session.write(touches)?;
    }
    Ok(true)
}
