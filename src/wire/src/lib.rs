//! What the host and the guest say to each other.
//!
//! Owns the plan that travels into the guest, the events that come back, their
//! framing, and the vocabulary with which workloads describe themselves. Does
//! no I/O beyond [`std::io::Read`] and [`std::io::Write`], and knows nothing of
//! QEMU, YAML or system calls.

mod descriptor;
mod event;
mod frame;
pub mod output;
mod plan;
pub mod shell;
pub mod stacks;

pub use descriptor::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
pub use event::{Breakdown, BreakdownRow, Event, Hello, Outcome, Phase, Request};
pub use frame::{Decoder, FrameError, MAX_PAYLOAD, Writer};
pub use plan::{Carrier, Exec, ExecResult, Instead, KUNIT, Nonce, NonceError, Plan, PlannedTest, Value};

/// Version of plan, events and framing together. The same file runs on both
/// sides, so a difference means that the guest image is not ours.
pub const PROTOCOL: u32 = 5;

/// Name of the virtio-serial port that carries [`Event`] and [`Request`] frames.
pub const CONTROL_PORT: &str = "org.kregress.control";

/// Name of the virtio-serial port that carries the raw output of tests.
pub const OUTPUT_PORT: &str = "org.kregress.output";

/// The UART that carries [`Event`] frames where there is no virtio-serial port
/// ([`Carrier::Uart`]); the one before it carries the kernel log.
pub const CONTROL_UART: &str = "ttyS1";

/// The UART that carries the raw output of tests there.
pub const OUTPUT_UART: &str = "ttyS2";

/// Where the plan lies in the guest's initramfs.
pub const PLAN_PATH: &str = "/kregress/plan.json";

/// First bytes of every line that the guest writes into the kernel log.
pub const MARKER: &str = "kregress: ";
