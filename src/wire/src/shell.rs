//! An interactive guest: what the plan asks for, and the few words on the control
//! port while it lasts. What is typed and what is shown goes over the output port,
//! as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A command in a terminal of its own, in place of tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// Program and arguments; the program by its path, or by a name for `PATH`.
    pub command: Vec<String>,
    /// What its environment has in addition.
    pub environment: BTreeMap<String, String>,
    /// The user's terminal. Without one the command reads nothing, and what it
    /// prints is not changed on the way.
    pub terminal: Option<Size>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ShellEvent {
    /// The command runs.
    Ready,
    /// It could not be started.
    Failed {
        /// Why, with a hint.
        reason: String,
    },
    /// It ended.
    Ended {
        /// How.
        status: ShellStatus,
        /// Bytes that it has printed. The host has not necessarily seen them yet, and
        /// what is on its way when the machine goes off is lost.
        shown: u64,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShellStatus {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What the host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ShellRequest {
    /// The user's terminal has this size now.
    Resize(Size),
    /// Everything was seen: the machine may go off.
    Leave,
}
