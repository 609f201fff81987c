//! What the verdicts of tests on both sides come to, and those of the kernels
//! themselves apart from their tests.

use super::comparison::{TestChange, TestClass, Tries};
use super::passes::{Passes, classify};
use super::side::{Measured, message, tries};
use crate::model::{Accel, BootFault};
use crate::results::format::Test;

/// Name under which the health of the kernels is told: what their logs hold
/// outside of every test, and how their boots ended. JUnit calls it the same.
pub const HEALTH: &str = "kernel-health";

/// More repeats than this are not asked for on account of a verdict: what fails
/// so rarely is no subject of a comparison of numbers.
pub(super) const REPEATS: u32 = 6;

/// A test on both sides.
pub(super) struct Classed {
    pub(super) change: TestChange,
    /// More repeats could make its class certain.
    pub(super) open: bool,
}

/// The class of a test that both sides have alike.
pub(super) fn of_test(test: &Test, base: Measured<'_>, head: Measured<'_>) -> Classed {
    let (of_base, of_head) = (base.results(&test.id), head.results(&test.id));
    let (in_base, in_head) = (tries(&of_base), tries(&of_head));
    let passes = judge(in_base, in_head, base.accel(), head.accel());
    let message = match in_head.failed {
        0 if in_base.failed > 0 => message(&of_base),
        _ => message(&of_head).or_else(|| message(&of_base)),
    };
    let change = TestChange {
        test: test.id.clone(),
        base: in_base,
        head: in_head,
        class: passes.class,
        message: message.filter(|_| in_base.passed == 0 || in_head.passed == 0 || in_base != in_head),
    };
    let open = passes.more.is_some();
    Classed { change, open }
}

/// The health of the kernels; none where all is well with both.
pub(super) fn of_health(base: Measured<'_>, head: Measured<'_>) -> Option<Classed> {
    let ((in_base, of_base), (in_head, of_head)) = (base.health(), head.health());
    let never_up = head.never_up();
    let well = |tries: Tries| tries.failed == 0 && tries.errors == 0;
    if well(in_base) && well(in_head) && never_up.is_none() && base.never_up().is_none() {
        return None;
    }
    let mut passes = judge(in_base, in_head, base.accel(), head.accel());
    // A kernel that has not come up once will not do so the next time.
    if let (Some((BootFault::Kernel, _)), None) = (&never_up, base.never_up()) {
        passes = Passes { class: TestClass::NewFailure, more: None, ..passes };
    }
    let of_base = base.never_up().map(|(_, reason)| reason).or(of_base);
    let of_head = never_up.map(|(_, reason)| reason).or(of_head);
    let change = TestChange {
        test: HEALTH.to_owned(),
        base: in_base,
        head: in_head,
        class: passes.class,
        message: of_head.or(of_base),
    };
    Some(Classed { change, open: passes.more.is_some() })
}

/// By repeats; where the clock counts instructions each boot would give the same
/// again, so that one is as good as many.
fn judge(base: Tries, head: Tries, here: Option<Accel>, there: Option<Accel>) -> Passes {
    let same_again = here == Some(Accel::Icount) && there == Some(Accel::Icount);
    if !same_again {
        return classify(base, head);
    }
    let many =
        |tries: Tries| Tries { passed: tries.passed * REPEATS, failed: tries.failed * REPEATS, ..tries };
    Passes { more: None, ..classify(many(base), many(head)) }
}
