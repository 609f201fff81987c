//! Threads on all processors that create, or destroy, at once.

use std::thread::{self, ScopedJoinHandle};

use super::{MOST_SAMPLES, Round, Stride};
use crate::context::Stop;
use crate::ffi::{self, CpuTime};
use crate::gate::{Gate, Ticket};
use crate::netns::{Home, Identity, Look, Namespace, Register, inspect};
use crate::{affinity, clock};

/// What one thread did.
#[derive(Debug, Default)]
struct Share {
    held: Vec<Namespace>,
    identities: Vec<Identity>,
    create_ns: Vec<u64>,
    ended_ns: u64,
    cpu: CpuTime,
}

/// All create at once; the namespaces live until the round is over.
pub(super) fn create(cpus: &[usize], count: usize, register: &mut Register) -> Result<Round, Stop> {
    let (started_ns, shares) = on_all(cpus, |ticket| {
        let home = Home::here()?;
        let mut share = Share::default();
        start(ticket)?;
        let before = thread_cpu()?;
        create_some(count, &mut share, |_| Ok(()))?;
        share.ended_ns = clock::monotonic_ns();
        share.cpu = thread_cpu()? - before;
        for namespace in &share.held {
            namespace.enter().map_err(|error| Stop::Fail(format!("setns to a new namespace: {error}")))?;
            share.identities.push(inspect(namespace, Look::Proc)?);
        }
        home.back()?;
        Ok(share)
    })?;
    let mut round = sum(started_ns, shares, register)?;
    // Every thread has gone home and every descriptor was closed in `sum`.
    round.dropped_ns = clock::monotonic_ns();
    Ok(round)
}

/// All drop the last references at once.
pub(super) fn destroy(cpus: &[usize], count: usize, register: &mut Register) -> Result<Round, Stop> {
    let (started_ns, shares) = on_all(cpus, |ticket| {
        let home = Home::here()?;
        let mut share = Share::default();
        let mut identities = Vec::with_capacity(count);
        create_some(count, &mut share, |namespace| {
            identities.push(inspect(namespace, Look::Proc)?);
            Ok(())
        })?;
        share.identities = identities;
        home.back()?;
        let held = std::mem::take(&mut share.held);
        start(ticket)?;
        let before = thread_cpu()?;
        drop(held);
        share.ended_ns = clock::monotonic_ns();
        share.cpu = thread_cpu()? - before;
        Ok(share)
    })?;
    let mut round = sum(started_ns, shares, register)?;
    round.dropped_ns = started_ns;
    Ok(round)
}

fn start(ticket: Ticket<'_>) -> Result<(), Stop> {
    ticket.pass().map_err(|_| Stop::Error("the other threads could not be started".into()))
}

fn thread_cpu() -> Result<CpuTime, Stop> {
    ffi::thread_cpu_time().map_err(|error| Stop::Error(format!("getrusage: {error}")))
}

fn create_some(
    count: usize,
    share: &mut Share,
    mut look: impl FnMut(&Namespace) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let sample = Stride::new(count, MOST_SAMPLES);
    share.held.reserve(count);
    for step in 0..count {
        let before = clock::monotonic_ns();
        let namespace = Namespace::create().map_err(|error| error.stop(step))?;
        if sample.chooses(step) {
            share.create_ns.push(clock::monotonic_ns().saturating_sub(before));
        }
        look(&namespace)?;
        share.held.push(namespace);
    }
    Ok(())
}

/// Runs `work` on a thread of every processor named; when they started, and
/// what each one did.
fn on_all<F>(cpus: &[usize], work: F) -> Result<(u64, Vec<Share>), Stop>
where
    F: Fn(Ticket<'_>) -> Result<Share, Stop> + Sync,
{
    let gate = Gate::default();
    thread::scope(|scope| {
        let mut threads: Vec<ScopedJoinHandle<'_, Result<Share, Stop>>> = Vec::new();
        for cpu in cpus {
            let (ticket, work) = (gate.ticket(), &work);
            let member = move || {
                affinity::pin(*cpu).map_err(|error| {
                    Stop::Error(format!("cannot pin a thread to processor {cpu}: {error}"))
                })?;
                work(ticket)
            };
            match thread::Builder::new().name(format!("cpu{cpu}")).spawn_scoped(scope, member) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    gate.abort();
                    return Err(Stop::Error(format!("cannot start a thread: {error}")));
                }
            }
        }
        let started_ns = gate.start(threads.len());
        let join = |thread: ScopedJoinHandle<'_, Result<Share, Stop>>| {
            thread.join().unwrap_or_else(|_| Err(Stop::Error("a thread panicked".into())))
        };
        // All are joined before the first error is told.
        let shares: Vec<_> = threads.into_iter().map(join).collect();
        Ok((started_ns, shares.into_iter().collect::<Result<_, _>>()?))
    })
}

fn sum(started_ns: u64, shares: Vec<Share>, register: &mut Register) -> Result<Round, Stop> {
    let mut round = Round::default();
    for share in shares {
        for identity in &share.identities {
            register.enter(*identity)?;
        }
        round.namespaces += share.identities.len();
        round.elapsed_ns = round.elapsed_ns.max(share.ended_ns.saturating_sub(started_ns));
        round.cpu = round.cpu + share.cpu;
        round.create_ns.extend(share.create_ns);
    }
    round.checks = Look::Proc.checks() * u64::try_from(round.namespaces).unwrap_or(0);
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(inodes: &[u64], ended_ns: u64) -> Share {
        let identity = |inode: &u64| Identity { inode: *inode, cookie: Some(inode + 1000) };
        Share {
            identities: inodes.iter().map(identity).collect(),
            create_ns: vec![7],
            ended_ns,
            cpu: CpuTime { user_ns: 1, system_ns: 2 },
            ..Share::default()
        }
    }

    #[test]
    fn a_round_ends_with_its_slowest_thread() {
        let round = sum(100, vec![share(&[1, 2], 400), share(&[3, 4], 250)], &mut Register::default());
        let round = round.expect("distinct");
        assert_eq!((round.namespaces, round.elapsed_ns, round.checks), (4, 300, 16));
        assert_eq!(round.cpu, CpuTime { user_ns: 2, system_ns: 4 });
        assert_eq!(round.create_ns, [7, 7]);
    }

    #[test]
    fn namespaces_of_different_threads_have_to_differ() {
        let result = sum(0, vec![share(&[1, 2], 1), share(&[3, 2], 1)], &mut Register::default());
        assert_eq!(
            result.expect_err("the same inode"),
            Stop::Fail("two live network namespaces have inode 2".into())
        );
    }

    #[test]
    fn work_runs_once_on_every_processor_named() {
        let cpu = affinity::cpus().expect("affinity")[0];
        let (started_ns, shares) = on_all(&[cpu, cpu], |ticket| {
            start(ticket)?;
            Ok(Share { ended_ns: clock::monotonic_ns(), ..Share::default() })
        })
        .expect("ran");
        assert_eq!(shares.len(), 2);
        assert!(shares.iter().all(|share| share.ended_ns >= started_ns));
    }

    #[test]
    fn an_error_of_one_thread_is_told_and_no_thread_is_left_behind() {
        let cpu = affinity::cpus().expect("affinity")[0];
        let turn = std::sync::atomic::AtomicBool::new(false);
        let error = on_all(&[cpu, cpu], |ticket| {
            if turn.swap(true, std::sync::atomic::Ordering::Relaxed) {
                return Err(Stop::Fail("broken".into()));
            }
            start(ticket)?;
            Ok(Share::default())
        });
        assert_eq!(error.expect_err("broken"), Stop::Fail("broken".into()));
    }

    #[test]
    fn a_processor_that_is_not_there_is_named() {
        let error = on_all(&[1023], |_| Ok(Share::default())).expect_err("no such processor");
        let Stop::Error(message) = error else { panic!("{error:?}") };
        assert!(message.starts_with("cannot pin a thread to processor 1023: "), "{message}");
    }
}
