//! What is seen of a bisection or of a series while it goes on.

use crate::commands::MessageFormat;
use crate::model::{Observer, RunEvent};
use crate::report::json::JsonEvents;
use crate::report::look::Look;
use crate::report::progress::Progress;

/// Shows what happens, to people and, if asked for, to programs.
pub(super) struct Watch {
    progress: Progress,
    events: Option<JsonEvents<std::io::Stdout>>,
}

impl Watch {
    pub(super) fn new(messages: MessageFormat) -> Self {
        Self {
            progress: Progress::new(Look::of_stderr()),
            events: (messages == MessageFormat::Json).then(|| JsonEvents::new(std::io::stdout())),
        }
    }

    /// Shows an event. Nobody who reads this is no reason to end: what counts is
    /// in the record.
    pub(super) fn show(&mut self, event: &RunEvent) {
        let _ = self.progress.observe(event);
        if let Some(events) = &mut self.events {
            let _ = events.observe(event);
        }
    }

    /// Says what comes next, or what something came to. To programs that is a notice: the
    /// event of turns that are asked for speaks of every kernel.
    pub(super) fn say(&mut self, why: String) {
        if let Some(events) = &mut self.events {
            let _ = events.observe(&RunEvent::Notice(why.clone()));
        }
        let _ = self.progress.observe(&RunEvent::TurnsAsked { tests: Vec::new(), until: 0, why });
    }
}
