//! What is seen of a run while it goes on, on stderr. The only room that names
//! indicatif.
//!
//! On a terminal a line for every boot and every kernel that is being built;
//! elsewhere plain lines, one for the end of each test and few besides.

mod live;
mod plain;
mod status;

use std::io::{self, Write as _};

use self::live::Live;
use self::plain::Plain;
use super::look::{Look, Screen};
use crate::clock;
use crate::model::{Observer, RunEvent};

/// Shows a run while it goes on.
#[derive(Debug)]
pub struct Progress(Shown);

#[derive(Debug)]
enum Shown {
    Live(Live),
    Plain(Plain),
}

impl Progress {
    /// On stderr, which looks like this.
    #[must_use]
    pub fn new(look: Look) -> Self {
        Self(match look.screen {
            Screen::Live => Shown::Live(Live::new(look, indicatif::ProgressDrawTarget::stderr())),
            Screen::Lines => Shown::Plain(Plain::new(look, clock::now())),
        })
    }
}

impl Observer for Progress {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        match &mut self.0 {
            Shown::Live(live) => live.show(event),
            Shown::Plain(plain) => {
                let mut stderr = io::stderr().lock();
                for line in plain.lines(event, clock::now()) {
                    // Nobody who reads this is no reason to end the run.
                    let _ = writeln!(stderr, "{line}");
                }
            }
        }
        Ok(())
    }
}
