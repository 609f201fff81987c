//! Progress on a terminal: a line for each kernel that is being built and each
//! boot that runs, drawn again and again, and above them whatever should stay.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::status::{Status, remark, verdict_lines};
use crate::model::{BootId, KernelName, RunEvent, Verdict};
use crate::report::look::Look;

/// How often the elapsed time is drawn when nothing else happens.
const TICK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Live {
    look: Look,
    status: Status,
    screen: MultiProgress,
    total: ProgressBar,
    kernels: BTreeMap<KernelName, ProgressBar>,
    boots: BTreeMap<BootId, ProgressBar>,
}

impl Live {
    pub(super) fn new(look: Look, target: ProgressDrawTarget) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let total = screen.add(bar());
        let (kernels, boots) = (BTreeMap::new(), BTreeMap::new());
        Self { look, status: Status::default(), screen, total, kernels, boots }
    }

    pub(super) fn show(&mut self, event: &RunEvent) {
        self.status.take(event);
        // A terminal that went away is no reason to end the run.
        for line in self.lasting(event) {
            let _ = self.screen.println(line);
        }
        update(&self.screen, &self.total, &mut self.kernels, self.status.kernels());
        update(&self.screen, &self.total, &mut self.boots, self.status.boots());
        self.total.set_message(self.status.total(self.look));
        if matches!(event, RunEvent::RunFinished { .. }) {
            self.total.finish_and_clear();
            let _ = self.screen.clear();
        }
    }

    /// Lines that stay. Passed tests are only counted: there may be thousands,
    /// and all are in the table at the end.
    fn lasting(&self, event: &RunEvent) -> Vec<String> {
        match event {
            RunEvent::TestFinished(result) => match result.verdict {
                Verdict::Pass { .. } => Vec::new(),
                Verdict::Fail(_) | Verdict::Skip { .. } | Verdict::Error(_) => {
                    verdict_lines(result, self.look)
                }
            },
            other => remark(other, self.look).into_iter().collect(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A run that ended without its last event leaves no bars behind.
        let _ = self.screen.clear();
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>4}");
    // The template is a constant that the tests draw.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// Makes the bars those of `lines`, above the total.
fn update<K: Ord>(
    screen: &MultiProgress,
    total: &ProgressBar,
    bars: &mut BTreeMap<K, ProgressBar>,
    lines: impl Iterator<Item = (K, String)>,
) {
    let lines: BTreeMap<K, String> = lines.collect();
    bars.retain(|key, bar| {
        let stays = lines.contains_key(key);
        if !stays {
            bar.finish_and_clear();
            screen.remove(bar);
        }
        stays
    });
    for (key, line) in lines {
        let bar = bars.entry(key).or_insert_with(|| screen.insert_before(total, bar()));
        bar.set_message(line);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::model::BootEnd;
    use crate::report::columns;
    use crate::results::testing;

    /// A terminal that remembers every text that was written to it.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn text(&self) -> String {
            self.0.lock().expect("lock").join("\n")
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            60
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("lock").push(text.to_owned());
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(events: &[RunEvent]) -> String {
        let screen = Screen::default();
        let mut live = Live::new(Look::PLAIN, ProgressDrawTarget::term_like(Box::new(screen.clone())));
        for event in events {
            live.show(event);
        }
        drop(live);
        screen.text()
    }

    #[test]
    fn boots_tests_and_counts_are_on_the_screen() {
        let mut events = testing::started(&["stable"], &["smoke/a", "smoke/b"], 1);
        events.extend([
            testing::boot(1, "stable"),
            testing::begun(1, "smoke/a"),
            RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)),
            testing::begun(1, "smoke/b"),
            RunEvent::TestFinished(testing::fail("smoke/b", "stable", 1, "expected 7, seen 57")),
            testing::ended(1, BootEnd::Clean),
            testing::finished(),
        ]);
        let text = shown(&events);
        for part in [
            "boot 1  stable tcg  0/0  booting",
            "boot 1  stable tcg  0/0  smoke/a",
            "1/2 tests",
            "FAIL  smoke/b  boot 1, stable, 1.5 s",
            "      expected 7, seen 57",
            "2/2 tests, 1 failed",
        ] {
            assert!(text.contains(part), "`{part}` is missing in:\n{text}");
        }
        assert!(!text.contains("pass"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_acts_on_it() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([testing::boot(1, "stable"), testing::begun(1, "smoke/a")]);
        events.push(RunEvent::Build(crate::model::BuildEvent::Objects {
            kernel: testing::kernel("内核"),
            done: 1,
            estimated: 2,
            elapsed: Duration::from_secs(1),
            line: format!("\x1b[31m{}\x07", "内".repeat(200)),
        }));
        events.push(RunEvent::TestFinished(testing::fail(
            "smoke/a",
            "stable",
            1,
            "\x1b[2J\x1b]0;x\x07{msg}",
        )));
        let text = shown(&events);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("{msg}"), "{text}");
        for line in text.lines().filter(|line| line.contains('内')) {
            assert!(columns::width(line) <= 60, "{line}");
        }
    }
}
