//! Threads on all processors that create, or destroy, at once.

use super::{MOST_SAMPLES, Round, Stride};
use crate::clock;
use crate::context::Stop;
use crate::ffi::{self, CpuTime};
use crate::gate::on_all;
use crate::netns::{Home, Identity, Look, Namespace, Register, inspect};

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
        ticket.pass()?;
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
        ticket.pass()?;
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
}
