//! Threads of one address space that get into each other's way, and one that
//! tells the host that they live.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::super::super::patience::caught;
use crate::clock;
use crate::context::{Context, Stop};

/// Pause between two signs of life.
const REPORT: Duration = Duration::from_millis(20);

/// What the threads share.
#[derive(Debug, Default)]
pub(in super::super) struct Crew {
    first: OnceLock<Stop>,
    over: AtomicBool,
    working: AtomicU64,
    received: AtomicU64,
    checks: AtomicU64,
}

/// What a thread is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Role {
    /// The test is over when all of these have ended.
    Work,
    /// Goes on until the test is over.
    Disturb,
}

/// What a thread does.
pub(in super::super) type Body<'a> = Box<dyn FnOnce(&Crew) -> Result<(), Stop> + Send + 'a>;

/// One thread.
pub(in super::super) struct Member<'a> {
    /// Name of the thread.
    pub(in super::super) name: &'static str,
    /// When it ends.
    pub(in super::super) role: Role,
    /// What it does.
    pub(in super::super) body: Body<'a>,
}

impl Crew {
    /// Whether those that disturb have to end.
    pub(in super::super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Counts bytes that were received.
    pub(in super::super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts assertions.
    pub(in super::super) fn checked(&self, checks: u64) {
        self.checks.fetch_add(checks, Ordering::Relaxed);
    }

    /// Runs all to their end, `failed` when one fails, so that others wake up.
    ///
    /// # Errors
    ///
    /// The first failure; what comes after is its consequence.
    pub(in super::super) fn run(
        self,
        context: &Context<'_>,
        members: Vec<Member<'_>>,
        total: u64,
        failed: impl Fn() + Sync,
    ) -> Result<(), Stop> {
        let count = |role| members.iter().filter(|member| member.role == role).count() as u64;
        self.working.store(count(Role::Work), Ordering::Release);
        let fail = |stop: Stop| {
            // Whoever comes second has nothing to add.
            let _ = self.first.set(stop);
            self.over.store(true, Ordering::Release);
            failed();
        };
        let told = thread::scope(|scope| {
            for member in members {
                let (crew, fail) = (&self, &fail);
                let Member { name, role, body } = member;
                let started = thread::Builder::new().name(name.into()).spawn_scoped(scope, move || {
                    // Whatever becomes of it, it has to be counted as ended.
                    if let Err(stop) = caught(&format!("the thread `{name}`"), || body(crew)) {
                        fail(stop);
                    }
                    if role == Role::Work && crew.working.fetch_sub(1, Ordering::AcqRel) == 1 {
                        crew.over.store(true, Ordering::Release);
                    }
                });
                if let Err(error) = started {
                    fail(Stop::Error(format!("the thread `{name}` cannot be started: {error}")));
                }
            }
            let mut told = Ok(());
            while !self.is_over() {
                clock::poll_interval(REPORT);
                let received = self.received.load(Ordering::Relaxed).min(total);
                told = told.and_then(|()| context.progress(received, total + 1));
            }
            told
        });
        context.checked(self.checks.load(Ordering::Relaxed));
        match self.first.into_inner() {
            Some(stop) => Err(stop),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::test_params::with_params;
    use super::super::INFO;
    use super::*;

    fn member(
        name: &'static str,
        role: Role,
        body: impl FnOnce(&Crew) -> Result<(), Stop> + Send + 'static,
    ) -> Member<'static> {
        Member { name, role, body: Box::new(body) }
    }

    fn run(members: Vec<Member<'_>>) -> (Result<(), Stop>, bool) {
        let told = AtomicBool::new(false);
        let failed = || told.store(true, Ordering::Release);
        let result = with_params(&INFO, &[], |context| Crew::default().run(context, members, 1, failed));
        (result, told.into_inner())
    }

    fn until_over(crew: &Crew) -> Result<(), Stop> {
        while !crew.is_over() {
            thread::yield_now();
        }
        Ok(())
    }

    #[test]
    fn those_that_disturb_end_when_the_last_one_that_works_has_ended() {
        let members = vec![
            member("disturb", Role::Disturb, until_over),
            member("one", Role::Work, |_| Ok(())),
            member("two", Role::Work, |_| Ok(())),
        ];
        assert_eq!(run(members), (Ok(()), false));
    }

    #[test]
    fn a_thread_that_panics_ends_the_others_and_is_an_error() {
        for role in [Role::Work, Role::Disturb] {
            let members = vec![
                member("disturb", Role::Disturb, until_over),
                member("work", Role::Work, until_over),
                member("broken", role, |_| panic!("index {}", 7)),
            ];
            let error = Stop::Error("the thread `broken` panicked: index 7".into());
            assert_eq!(run(members), (Err(error), true), "{role:?}");
        }
    }

    #[test]
    fn the_first_failure_is_told() {
        let members = vec![
            member("work", Role::Work, |crew| until_over(crew).and(Err(Stop::Error("a consequence".into())))),
            member("broken", Role::Work, |_| Err(Stop::Fail("the cause".into()))),
        ];
        assert_eq!(run(members), (Err(Stop::Fail("the cause".into())), true));
    }
}
