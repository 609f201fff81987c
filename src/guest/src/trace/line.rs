//! Lines of `trace_pipe`, and which of them tell of `cleanup_net`.

/// The work whose rounds are of interest.
pub(super) const FUNCTION: &str = "cleanup_net";

/// One event of the cleanup of network namespaces, times in nanoseconds of the
/// monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Work was queued: the first namespace of a round has died.
    Queued(u64),
    /// A worker begins with a round.
    Started {
        /// When.
        at: u64,
        /// Its process id.
        worker: i32,
    },
    /// The round is over, its last grace period included.
    Ended(u64),
    /// The buffer was too small: events are missing from here on.
    Lost,
}

/// The points of whole lines.
pub(super) fn points_of(lines: &str) -> Vec<Point> {
    lines.lines().filter_map(parse).collect()
}

/// `comm-pid [cpu] flags seconds.micros: event: details`. The name of the task
/// may hold anything, so the event is looked for and the time read before it.
pub(super) fn parse(line: &str) -> Option<Point> {
    if line.starts_with("CPU:") && line.contains("LOST") {
        return Some(Point::Lost);
    }
    let (time, event) = stamp(line, "workqueue_")?;
    let (event, details) = event.split_once(": ")?;
    // `function=cleanup_net` when queued, `function cleanup_net` afterwards.
    let function = details.split_once("function")?.1.strip_prefix(['=', ' '])?;
    let function = function.split([' ', '\n']).next()?;
    // A module's function would be followed by its name in brackets, a function
    // that the compiler changed by a dot.
    if function.split('.').next()? != FUNCTION {
        return None;
    }
    match event {
        "queue_work" => Some(Point::Queued(time)),
        "execute_start" => Some(Point::Started { at: time, worker: task(line)? }),
        "execute_end" => Some(Point::Ended(time)),
        _ => None,
    }
}

/// Process id of the task whose event a line tells: `comm-pid [cpu]`. Names may hold
/// anything, but what follows the id is in the kernel's hands.
fn task(line: &str) -> Option<i32> {
    // The last of its kind before the event: a processor in brackets.
    let head = line.split_once(": workqueue_")?.0;
    let name = head.rsplit_once(" [")?.0;
    name.trim_end().rsplit_once('-')?.1.parse().ok()
}

/// Time of a line and what follows the beginning of its event's name.
pub(super) fn stamp<'a>(line: &'a str, prefix: &str) -> Option<(u64, &'a str)> {
    let (head, event) = line.split_once(&format!(": {prefix}"))?;
    Some((seconds(head.rsplit(' ').next()?)?, event))
}

/// Nanoseconds of `12.345678`.
fn seconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    if fraction.len() != 6 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let micros: u64 = fraction.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(micros * 1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Captured from instances with `trace_clock` mono and no filter.
    const V6_12: &str = "\
            init-1       [000] d....     0.910540: workqueue_queue_work: work struct=(____ptrval____) function=cleanup_net workqueue=netns req_cpu=64 cpu=-1
     kworker/u8:0-12      [000] .....     0.911112: workqueue_execute_start: work struct (____ptrval____): function cleanup_net
            init-1       [000] d....     0.920956: workqueue_queue_work: work struct=(____ptrval____) function=pcpu_balance_workfn workqueue=events req_cpu=64 cpu=0
     kworker/u8:0-12      [001] d....     0.922257: workqueue_queue_work: work struct=(____ptrval____) function=flush_backlog workqueue=events_highpri req_cpu=0 cpu=0
            init-1       [001] d....     0.928274: workqueue_queue_work: work struct=(____ptrval____) function=cleanup_net workqueue=netns req_cpu=64 cpu=-1
     kworker/u8:0-12      [001] .....     0.941982: workqueue_execute_end: work struct (____ptrval____): function cleanup_net
     kworker/u8:0-12      [001] .....     0.942081: workqueue_execute_start: work struct (____ptrval____): function cleanup_net
          <idle>-0       [001] d.s..     1.440726: workqueue_queue_work: work struct=(____ptrval____) function=tsc_refine_calibration_work workqueue=events req_cpu=64 cpu=1
     kworker/u8:0-12      [001] .....     0.949846: workqueue_execute_end: work struct (____ptrval____): function cleanup_net
";

    const V6_1: &str = "\
            init-1       [001] d..1.     1.725288: workqueue_queue_work: work struct=(____ptrval____) function=cleanup_net workqueue=netns req_cpu=8192 cpu=-1
     kworker/u4:1-25      [000] .....     1.727065: workqueue_execute_start: work struct (____ptrval____): function cleanup_net
     kworker/u4:1-25      [000] d..1.     1.736600: workqueue_queue_work: work struct=(____ptrval____) function=wait_rcu_exp_gp workqueue=rcu_gp req_cpu=8192 cpu=0
      kworker/1:0-22      [001] .....     1.767428: workqueue_execute_end: work struct (____ptrval____): function fqdir_work_fn
     kworker/u4:1-25      [000] .....     1.832501: workqueue_execute_end: work struct (____ptrval____): function cleanup_net
";

    use Point::{Ended, Lost, Queued};

    fn started(at: u64, worker: i32) -> Point {
        Point::Started { at, worker }
    }

    #[test]
    fn rounds_are_read_from_a_trace_of_6_12() {
        let points = [
            Queued(910_540_000),
            started(911_112_000, 12),
            Queued(928_274_000),
            Ended(941_982_000),
            started(942_081_000, 12),
            Ended(949_846_000),
        ];
        assert_eq!(points_of(V6_12), points);
    }

    #[test]
    fn rounds_are_read_from_a_trace_of_6_1() {
        let points = [Queued(1_725_288_000), started(1_727_065_000, 25), Ended(1_832_501_000)];
        assert_eq!(points_of(V6_1), points);
    }

    #[test]
    fn a_task_with_a_hostile_name_does_not_hide_the_event() {
        let line = "  a] 1.2: b: c-999   [000] .....     7.000001: workqueue_execute_end: \
                    work struct 00000000d2b7c39c: function cleanup_net";
        assert_eq!(parse(line), Some(Ended(7_000_001_000)));
    }

    #[test]
    fn a_worker_with_a_hostile_name_is_known_by_its_number() {
        let line = " x-1 [9] y-77   [000] .....     7.000001: workqueue_execute_start: \
                    work struct 00000000d2b7c39c: function cleanup_net";
        assert_eq!(parse(line), Some(started(7_000_001_000, 77)));
    }

    #[test]
    fn other_functions_of_a_similar_name_are_not_taken() {
        let with = |function: &str| {
            parse(&format!(
                "x-1 [000] ..... 1.000000: workqueue_execute_end: work struct 0: function {function}"
            ))
        };
        assert_eq!(with("cleanup_net"), Some(Ended(1_000_000_000)));
        assert_eq!(with("cleanup_net.llvm.123"), Some(Ended(1_000_000_000)));
        assert_eq!(with("cleanup_netdev"), None);
        assert_eq!(with("my_cleanup_net"), None);
        assert_eq!(with("cleanup_net_old [module]"), None);
    }

    #[test]
    fn lost_events_are_noticed() {
        assert_eq!(parse("CPU:1 [LOST 1337 EVENTS]"), Some(Lost));
    }

    #[test]
    fn a_time_without_microseconds_is_not_believed() {
        assert_eq!(seconds("12.345678"), Some(12_345_678_000));
        for text in ["12", "12.3", "12.3456789", "x.345678", "12.x45678", "99999999999999999999.000000"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(text in "(workqueue_|function|[: =.\\[\\]0-9\n]|\\PC){0,60}") {
            let _ = points_of(&text);
        }

        #[test]
        fn any_name_of_a_task_leaves_the_time_readable(comm in "[ -~]{1,15}", micros in 0_u64..10_000_000_000) {
            prop_assume!(!comm.contains(": workqueue_"));
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            let line = format!(
                "{comm}-12 [000] d.... {seconds:5}.{fraction:06}: workqueue_queue_work: \
                 work struct=0 function=cleanup_net workqueue=netns req_cpu=64 cpu=-1"
            );
            prop_assert_eq!(parse(&line), Some(Queued(micros * 1_000)));
        }
    }
}
