//! The plan: which tests one boot runs, in which order, with which seeds.
//!
//! It travels inside the guest image (or by path, where the guest sees the
//! host's files), so that the guest never waits for the host: a condition of
//! repeatable virtual time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::shell::Shell;

/// Everything that one boot is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Must equal [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Proves that a hello belongs to this boot.
    pub nonce: Nonce,
    /// Seed of the run; tests carry their own, derived from it.
    pub seed: u64,
    /// How long the guest waits for its channels to appear, in milliseconds: less
    /// than the host waits for its hello, so that it can say what is missing.
    pub patience_ms: u64,
    /// What leads from a virtual machine to the host.
    pub carrier: Carrier,
    /// In the order of execution.
    pub tests: Vec<PlannedTest>,
    /// In place of tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Shell>,
}

/// What carries the channels of a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// Ports of a virtio-serial device, both ways.
    VirtioSerial,
    /// ISA UARTs, from the guest only. What the guest sees of one does not depend
    /// on when the host gets round to it: a condition of repeatable virtual time.
    Uart,
}

impl Plan {
    /// How long the guest waits for its channels to appear.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}

/// One test as the guest needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTest {
    /// Number of the test in the run; unique within the plan.
    pub id: u32,
    /// Full name, `suite/test[param=value]`, for the markers in the kernel log.
    pub name: String,
    /// Name of a workload in the guest's registry.
    pub workload: String,
    /// Every parameter of the workload, defaults filled in.
    pub params: BTreeMap<String, Value>,
    /// Time limit in milliseconds. The host enforces it; a workload uses it to
    /// bound its own waits, so that it can say what it was waiting for.
    pub timeout_ms: u64,
    /// How long the host bears to hear nothing of the test, in milliseconds; likewise.
    pub silence_ms: u64,
    /// Seed for whatever the workload draws at random.
    pub seed: u64,
    /// What the workload [`Exec::WORKLOAD`] runs, or what a test comes to without being run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
}

/// A program that is a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Path of the program in the guest, and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    pub directory: String,
    /// What says how it went.
    pub result: ExecResult,
    /// What it comes to without being run, where it cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
    /// What the host knows of it, for the result.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// Name of the workload that loads modules with KUnit tests: its parameter `module`
/// names one.
pub const KUNIT: &str = "kunit";

/// How a program ends that is not even started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// The kernel has no such program.
    Skip(String),
    /// It could not be made.
    Error(String),
}

impl Exec {
    /// Name of the workload that runs programs.
    pub const WORKLOAD: &str = "exec";

    /// Exit code of a program that finds that it cannot run here (`KSFT_SKIP`,
    /// tools/testing/selftests/kselftest.h).
    pub const SKIP: i32 = 4;
}

/// What says how a program went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecResult {
    /// 0 is a pass, 4 a skip, everything else a failure.
    ExitCode,
    /// That, and the KTAP that it prints.
    Ktap,
    /// That, and whatever the kernel's own selftests print: KTAP, or lines like
    /// `PASS: name`, or nothing.
    Selftest,
    /// That, and the KTAP that the kernel logs meanwhile.
    KernelLog,
}

impl ExecResult {
    /// As written in suites and results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ExitCode => "exit-code",
            Self::Ktap => "ktap",
            Self::Selftest => "selftest",
            Self::KernelLog => "kernel-log",
        }
    }
}

/// Value of a workload's parameter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// A count, a size or a duration in the unit that the parameter documents.
    Int(i64),
    /// One word of a fixed choice.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Sixteen bytes in hexadecimal that tie a guest to the boot that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(String);

/// Why a string is no nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a nonce: 32 lower-case hexadecimal digits are expected")]
pub struct NonceError(String);

impl Nonce {
    /// Makes a nonce of random bytes; the caller brings the randomness.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Nonce {
    type Error = NonceError;

    fn try_from(text: String) -> Result<Self, NonceError> {
        let valid = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text)) } else { Err(NonceError(text)) }
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_survives_serialisation() {
        let nonce = Nonce::from_bytes(*b"0123456789abcdef");
        let json = serde_json::to_string(&nonce).expect("serialise");
        assert_eq!(json, "\"30313233343536373839616263646566\"");
        assert_eq!(serde_json::from_str::<Nonce>(&json).expect("parse"), nonce);
    }

    #[test]
    fn a_nonce_of_the_wrong_shape_is_refused() {
        for text in ["", "30", "3031323334353637383961626364656G", "30313233343536373839616263646566aa"] {
            let error = Nonce::try_from(text.to_owned()).expect_err("not a nonce");
            assert_eq!(error, NonceError(text.to_owned()));
        }
    }

    #[test]
    fn an_unknown_key_in_a_plan_is_refused() {
        let plan = Plan {
            protocol: 1,
            nonce: Nonce::from_bytes([0; 16]),
            seed: 7,
            patience_ms: 1000,
            carrier: Carrier::VirtioSerial,
            tests: vec![],
            shell: None,
        };
        let mut json = serde_json::to_value(&plan).expect("serialise");
        json["surprise"] = 1.into();
        let error = serde_json::from_value::<Plan>(json).expect_err("unknown key");
        assert!(error.to_string().contains("unknown field `surprise`"), "{error}");
    }
}
