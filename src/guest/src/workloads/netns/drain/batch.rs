//! A batch of namespaces: made, held, dropped together, and awaited.

use std::io;
use std::time::Duration;

use super::super::not_gone;
use crate::context::{Context, Stop};
use crate::dress::Wardrobe;
use crate::netns::{CreateError, Home, Look, Namespace, Register, inspect};
use crate::trace::{self, Drain, Rounds};
use crate::ucount::Gone;
use crate::{clock, ffi};

/// Pause between two looks at the trace. The times are in the trace, so a look
/// that comes late costs nothing. A reader that waits in the trace would be woken
/// by every event, and on kernels that cannot filter (before 6.3) by thousands:
/// a step in the numbers that is ours.
const READ_INTERVAL: Duration = Duration::from_millis(1);

/// What tells the end of a drain.
#[derive(Debug)]
pub(in super::super) enum Completion {
    /// Exact, and tells the rounds too.
    Tracepoints(trace::Instance),
    /// To the interval of the probes.
    Ucount,
}

impl Completion {
    /// As the parameter says.
    pub(in super::super) fn choose(ctx: &Context<'_>) -> Result<Self, Stop> {
        let wanted = ctx.choice("completion")?;
        if !matches!(wanted, "auto" | "tracepoints" | "ucount") {
            let text = format!("parameter `completion` is `{wanted}`, which is none of its choices");
            return Err(Stop::Error(text));
        }
        if wanted == "ucount" {
            ctx.note("completion", "ucount")?;
            return Ok(Self::Ucount);
        }
        match trace::Instance::start() {
            Ok(instance) => {
                let filter = if instance.filtered() { "" } else { ", unfiltered" };
                ctx.note("completion", format!("tracepoints{filter}"))?;
                Ok(Self::Tracepoints(instance))
            }
            Err(reason) if wanted == "tracepoints" => Err(Stop::Skip(reason)),
            Err(reason) => {
                ctx.note("completion", format!("ucount: {reason}"))?;
                Ok(Self::Ucount)
            }
        }
    }
}

/// Makes namespaces until `count` are held, the given one included, and dresses
/// them; with the time that each one took, undressed.
pub(in super::super) fn fill(
    home: &Home,
    first: Gone,
    count: usize,
    register: &mut Register,
    wardrobe: &Wardrobe,
) -> Result<(Vec<Namespace>, Vec<u64>), Stop> {
    let mut held = Vec::with_capacity(count);
    let mut create_ns = Vec::with_capacity(count);
    first.fresh.enter().map_err(|error| Stop::Fail(format!("setns to a new namespace: {error}")))?;
    register.enter(inspect(&first.fresh, Look::Socket)?)?;
    wardrobe.dress(0)?;
    create_ns.push(first.create_ns);
    held.push(first.fresh);
    while held.len() < count {
        let before = clock::monotonic_ns();
        let created = ffi::unshare_net();
        create_ns.push(clock::monotonic_ns().saturating_sub(before));
        let namespace = created.map_err(CreateError::Unshare).and_then(|()| Namespace::hold());
        let namespace = namespace.map_err(|error| error.stop(held.len()))?;
        register.enter(inspect(&namespace, Look::Socket)?)?;
        wardrobe.dress(held.len())?;
        held.push(namespace);
    }
    home.back()?;
    Ok((held, create_ns))
}

/// Drops the namespaces and waits for the end of the last round; when the drop
/// began, and what the rounds were.
pub(in super::super) fn drain_traced(
    ctx: &Context<'_>,
    instance: &mut trace::Instance,
    held: Vec<Namespace>,
) -> Result<(u64, Drain), Stop> {
    let failed = |error: io::Error| Stop::Error(format!("cannot read the trace: {error}"));
    let (count, patience) = (held.len(), ctx.remaining());
    let mut rounds = Rounds::default();
    // Whatever is in there by now is of the drain before.
    instance.read().map_err(failed)?;
    let dropped_ns = clock::monotonic_ns();
    drop(held);
    loop {
        for point in instance.read().map_err(failed)? {
            rounds.push(point);
        }
        if rounds.lost() {
            return Err(Stop::Error(
                "the trace lost events, so the end of the drain is not known\n\
                 hint: `completion: ucount` does without the trace"
                    .into(),
            ));
        }
        if let Some(drain) = rounds.drain() {
            return Ok((dropped_ns, drain));
        }
        if ctx.remaining() == Duration::ZERO {
            return Err(not_gone(count, patience));
        }
        clock::poll_interval(READ_INTERVAL);
    }
}
