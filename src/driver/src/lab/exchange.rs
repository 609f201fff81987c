//! What goes into a [`Session`](super::session::Session), and what comes out.

use std::time::Duration;

use kregress_wire::{Event, ExecResult, Hello};

use super::qmp::{Answer, Query};
use super::record::Judged;
use crate::console::Finding;
use crate::model::{BootEnd, Evidence, TestId};

/// A test as the session needs it.
#[derive(Debug, Clone)]
pub struct SessionTest {
    /// Number in the plan.
    pub id: u32,
    /// Its name, for rules that allow findings.
    pub name: TestId,
    /// Time limit, already scaled.
    pub timeout: Duration,
    /// Metrics that the workload may report.
    pub known_metrics: Vec<String>,
    /// Metrics of which a pass must have reported a sample.
    pub required_metrics: Vec<String>,
    /// What says how a program went; none of a workload.
    pub exec: Option<ExecResult>,
}

/// What reaches the session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes of the control channel.
    Control(&'a [u8]),
    /// Bytes of the kernel log.
    Console(&'a [u8]),
    /// Bytes of the output channel.
    Output(&'a [u8]),
    /// The other end of the control channel is gone.
    ControlClosed,
    /// The other end of the kernel log is gone.
    ConsoleClosed,
    /// The process that carries the guest ended.
    Exited {
        /// Its status and last words.
        status: String,
    },
    /// QEMU's monitor answered what it was asked last, or cannot be asked.
    Monitor(Answer),
    /// The user wants to stop.
    Interrupt,
    /// The host can no longer carry the boot, for instance on a full disk.
    HostTrouble(String),
    /// Nothing happened, but time passed.
    Tick,
}

/// What the session wants done or known.
#[derive(Debug)]
pub enum Action {
    /// A message of the guest, well-formed, before anything is made of it.
    Heard(Box<Event>),
    /// The guest said hello.
    Hello(Box<Hello>),
    /// A test began.
    Started(u32),
    /// A test goes on.
    Progress {
        /// Number in the plan.
        test: u32,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// A test has its verdict.
    Judged(Box<Judged>),
    /// The kernel log holds something outside of every test.
    BootFinding(Finding),
    /// Something that the user should know.
    Notice(String),
    /// A step of looking at a guest over its limit while no test ran.
    BootEvidence(Evidence),
    /// Ask the guest for stacks.
    Diagnose,
    /// Ask QEMU's monitor.
    AskMonitor(Query),
    /// Tell the machine to end.
    Terminate,
    /// End the guest now.
    Kill,
    /// Nothing more will come. Tests that were not judged were not reached.
    Ended(BootEnd),
}
