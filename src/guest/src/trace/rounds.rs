//! Tells from the points of a trace when the cleanup of namespaces is over.

use super::Point;

/// Rounds of cleanup since some moment.
///
/// Work is queued when the first namespace dies while none is waiting, and
/// every queued work is executed exactly once. So when as many rounds have
/// ended as were queued, nothing is left, provided that every namespace had
/// died before the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rounds {
    queued: u64,
    started: u64,
    ended: u64,
    first_queued_ns: u64,
    first_started_ns: u64,
    last_ended_ns: u64,
    workers: Vec<i32>,
    lost: bool,
}

/// A drain that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drain {
    /// How many rounds the kernel took.
    pub(crate) rounds: u64,
    /// From the queueing of the first round to its start.
    pub(crate) queue_delay_ns: u64,
    /// End of the last round, monotonic.
    pub(crate) ended_ns: u64,
    /// Process ids of the kernel's workers that executed them.
    pub(crate) workers: Vec<i32>,
}

impl Rounds {
    /// Takes a point, in the order of the trace.
    pub(crate) fn push(&mut self, point: Point) {
        match point {
            Point::Queued(time) => {
                if self.queued == 0 {
                    self.first_queued_ns = time;
                }
                self.queued += 1;
            }
            Point::Started { at, worker } => {
                if self.started == 0 {
                    self.first_started_ns = at;
                }
                if !self.workers.contains(&worker) {
                    self.workers.push(worker);
                }
                self.started += 1;
            }
            // Rounds do not overlap: this one began before we looked.
            Point::Ended(_) if self.started == 0 => {}
            Point::Ended(time) => {
                self.ended += 1;
                // Lines of several processors may come out of order.
                self.last_ended_ns = self.last_ended_ns.max(time);
            }
            Point::Lost => self.lost = true,
        }
    }

    /// Whether events are missing, so that nothing can be concluded.
    pub(crate) fn lost(&self) -> bool {
        self.lost
    }

    /// The drain, if it is over.
    pub(crate) fn drain(&self) -> Option<Drain> {
        let over = !self.lost && self.queued > 0 && self.started == self.queued && self.ended == self.queued;
        over.then(|| Drain {
            rounds: self.ended,
            queue_delay_ns: self.first_started_ns.saturating_sub(self.first_queued_ns),
            ended_ns: self.last_ended_ns,
            workers: self.workers.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Point::{Ended, Lost, Queued};
    use super::*;

    fn started(at: u64) -> Point {
        Point::Started { at, worker: 7 }
    }

    fn rounds(points: &[Point]) -> Rounds {
        let mut rounds = Rounds::default();
        for point in points {
            rounds.push(*point);
        }
        rounds
    }

    #[test]
    fn one_round_from_queue_to_end_is_a_drain() {
        let drain = rounds(&[Queued(100), started(130), Ended(900)]).drain();
        assert_eq!(drain, Some(Drain { rounds: 1, queue_delay_ns: 30, ended_ns: 900, workers: vec![7] }));
    }

    #[test]
    fn nothing_queued_is_no_drain() {
        assert_eq!(rounds(&[]).drain(), None);
    }

    #[test]
    fn a_round_that_was_queued_meanwhile_has_to_end_too() {
        let mut rounds = rounds(&[Queued(1), started(2), Queued(3), Ended(4)]);
        assert_eq!(rounds.drain(), None);
        rounds.push(started(5));
        assert_eq!(rounds.drain(), None);
        rounds.push(Ended(9));
        assert_eq!(
            rounds.drain(),
            Some(Drain { rounds: 2, queue_delay_ns: 1, ended_ns: 9, workers: vec![7] })
        );
    }

    #[test]
    fn a_round_that_runs_is_no_drain() {
        assert_eq!(rounds(&[Queued(1), started(2)]).drain(), None);
        assert_eq!(rounds(&[Queued(1)]).drain(), None);
    }

    #[test]
    fn the_two_rounds_of_a_captured_trace_are_one_drain() {
        // The times of the trace of 6.12 in `line`.
        let points = [
            Queued(910_540_000),
            started(911_112_000),
            Queued(928_274_000),
            Ended(941_982_000),
            started(942_081_000),
            Ended(949_846_000),
        ];
        let drain = Drain { rounds: 2, queue_delay_ns: 572_000, ended_ns: 949_846_000, workers: vec![7] };
        assert_eq!(rounds(&points).drain(), Some(drain));
        for end in 0..points.len() {
            let early = rounds(&points[..end]).drain();
            assert_eq!(early, None, "after {end} points");
        }
    }

    #[test]
    fn the_end_of_a_round_that_began_earlier_is_not_counted() {
        let before = rounds(&[Ended(1), Queued(2), started(3), Ended(4)]);
        let between = rounds(&[Queued(2), Ended(2), started(3), Ended(4)]);
        assert_eq!(
            before.drain(),
            Some(Drain { rounds: 1, queue_delay_ns: 1, ended_ns: 4, workers: vec![7] })
        );
        assert_eq!(between, before);
        assert_eq!(rounds(&[Queued(2), Ended(2)]).drain(), None);
    }

    #[test]
    fn lost_events_leave_no_conclusion() {
        let rounds = rounds(&[Queued(1), started(2), Lost, Ended(4)]);
        assert!(rounds.lost());
        assert_eq!(rounds.drain(), None);
    }
}
