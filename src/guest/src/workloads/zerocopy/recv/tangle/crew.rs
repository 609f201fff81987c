//! Threads of one address space that get into each other's way, and one that
//! tells the host that they live.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

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
                    if let Err(stop) = body(crew) {
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
