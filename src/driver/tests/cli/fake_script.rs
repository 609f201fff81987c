//! What a fake kernel does: the script behind the header of its image.
//!
//! Shared between `examples/fake-qemu`, which reads it, and the tests that write
//! it; holds no code, so that nothing in it is dead in either.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the script begins in the image, in bytes: behind the real-mode code,
/// where a real image has its compressed kernel.
pub(crate) const SCRIPT_AT: usize = 4096;

/// First line of the script; JSON up to the end of the file follows.
pub(crate) const SCRIPT_MAGIC: &str = "kregress fake kernel, version 1\n";

/// Everything about a fake kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// `uname -r`.
    pub(crate) release: String,
    /// How it comes up.
    pub(crate) boot: Boot,
    /// What it answers to feature probes, over the defaults.
    pub(crate) features: BTreeMap<String, String>,
    /// Behaviour of tests by name; the first that matches. The others pass.
    pub(crate) tests: Vec<(Pattern, Behaviour)>,
    /// Samples by test and metric; the first that matches. The others are plausible.
    pub(crate) samples: Vec<SampleRule>,
    /// What the samples of a test are multiplied by, boot after boot; the last one
    /// stays. None is 1.
    pub(crate) factors: Vec<f64>,
    /// How it goes down.
    pub(crate) farewell: Farewell,
    /// In place of all this, every launch does what the dice of this seed say.
    /// Passes that were sent whole are written down beside the image, in a file
    /// whose name ends in `.account`.
    pub(crate) chaos: Option<u64>,
}

/// Name of a test; `*` stands for any text, everything else for itself.
pub(crate) type Pattern = String;

/// Samples that a metric gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleRule {
    /// Tests that it is for.
    pub(crate) test: Pattern,
    /// Metric of the workload.
    pub(crate) metric: String,
    /// Middle of the samples, in the metric's unit.
    pub(crate) median: f64,
    /// Half of the range of the samples, as a share of the median.
    pub(crate) spread: f64,
    /// How many.
    pub(crate) count: usize,
}

/// How the kernel comes up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Boot {
    /// As it should.
    Ok,
    /// The same, with a pause of so many milliseconds before the hello.
    Slow(u64),
    /// Never prints or says anything.
    Silent,
    /// Prints half of its boot messages, then nothing.
    HangEarly,
    /// Silent under KVM, well under TCG: a host whose KVM only seems to work.
    HangUnderKvm,
    /// QEMU itself refuses KVM and exits with 1.
    KvmRefused,
    /// Panics before init; QEMU then exits with 0, as the real one does.
    PanicEarly,
    /// Panics because it does not know what an initramfs is.
    NoInitrdSupport,
    /// QEMU exits at once with this code and these words on stderr.
    Exit {
        /// Exit code.
        code: u8,
        /// Whole text.
        stderr: String,
    },
    /// Powers off because it has no driver for the control port.
    NoPort,
    /// Powers off without a word after its boot messages.
    PowerOff,
    /// Says hello with the nonce of another boot.
    WrongNonce,
    /// Says hello with another version of the protocol.
    WrongProtocol,
    /// Sends bytes that are no frames in place of a hello.
    Garbage,
    /// Begins with a test, without hello.
    NoHello,
    /// Says hello twice.
    HelloTwice,
}

/// What a test does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Behaviour {
    /// Samples for every metric, then a pass.
    Pass,
    /// The same after so many milliseconds.
    Slow(u64),
    /// Fails with this message.
    Fail(String),
    /// Skips for this reason.
    Skip(String),
    /// Reports an error of its own with this message.
    Error(String),
    /// Passes and made no check.
    PassWithoutChecks,
    /// Passes and sent no sample.
    PassWithoutSamples,
    /// Passes and printed this between its markers.
    Splat(Splat),
    /// Has the kernel log this, and passes.
    Logs(String),
    /// Has the kernel log this, and panics.
    LogsAndPanics(String),
    /// Panics; QEMU exits with 0.
    Panic,
    /// Sends and prints nothing any more. Answers an NMI by a panic if the
    /// command line says `unknown_nmi_panic=1`.
    Hang,
    /// The same, and neither an NMI nor SIGTERM ends it.
    HangStubborn,
    /// The test hangs, the guest's agent still answers requests.
    Stuck,
    /// Powers off in the middle, without a word.
    PowerOff,
    /// QEMU exits with this code.
    Die(u8),
    /// QEMU is killed by SIGKILL.
    Kill9,
    /// Sends bytes that are no frames, then goes on as if nothing were.
    Babble,
    /// Sends the first bytes of a frame, then QEMU exits.
    HalfFrame,
    /// Sends a frame twice.
    DuplicateFrame,
    /// Sends a frame with a flipped bit.
    DamagedFrame,
    /// Announces a frame of a gigabyte.
    HugeFrame,
    /// Sends a sound frame that holds no message.
    StrangeMessage,
    /// Reports a pass of the next test of the plan, then hangs.
    Forged,
    /// Reports a pass of a test that nobody planned.
    UnknownTestId,
    /// Reports its end twice.
    FinishedTwice,
    /// Sends samples after its end.
    LateSamples,
    /// Sends samples of a metric that its workload does not have.
    UnknownMetric,
    /// Writes markers of other tests into the kernel log.
    ForgedMarkers,
    /// Fails with a message full of escape sequences, workflow commands, XML
    /// and characters that turn text around; prints it as well.
    HostileText,
    /// Prints so many MiB to the console, then passes.
    FloodConsole(u64),
    /// Prints so many MiB to the console without a line end, then passes.
    FloodLine(u64),
    /// Writes so many MiB to the output port, then passes.
    FloodOutput(u64),
    /// Sends so many frames with 1000 samples each, then passes.
    FloodSamples(u64),
    /// Sends so many notes with keys of their own, then passes.
    FloodNotes(u64),
    /// Passes, with so many milliseconds between the bytes of each frame.
    SlowDrip(u64),
    /// Sends progress for ever and never ends.
    EndlessProgress,
    /// Says goodbye without having ended.
    ByeWithoutFinish,
    /// Never begins; the next test does.
    LeftOut,
    /// A program: prints this, then exits with this code.
    Prints {
        /// What it prints.
        text: String,
        /// Exit code.
        code: i32,
    },
    /// The same with exit code 0, and the end of what it printed is lost.
    PrintsCutOff(String),
    /// One after the other from boot to boot, the last one for ever.
    InTurn(Vec<Behaviour>),
}

/// Something in the kernel log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Splat {
    /// `WARN()` with a message.
    Warning,
    /// The same in the field order of kernels since 6.19.
    WarningNewOrder,
    /// `BUG()` in a worker; the guest goes on.
    Bug,
    /// A NULL pointer dereference; the guest goes on.
    NullDereference,
    /// A circular lock dependency.
    Lockdep,
    /// KASAN's report of a use after free.
    Kasan,
    /// `cleanup_net` blocked.
    HungTask,
    /// A device that is not given back, said three times.
    NetdevLeak,
    /// Messages that look bad and are not.
    Harmless,
}

/// How the kernel goes down when all tests are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Farewell {
    /// Says goodbye and powers off.
    PowerOff,
    /// Prints something between goodbye and power-off.
    LateSplat(Splat),
    /// Panics after the goodbye.
    LatePanic,
    /// Says goodbye and stays.
    NeverPowersOff,
    /// Powers off without a goodbye.
    NoBye,
    /// Says goodbye; then QEMU exits with this code.
    Die(u8),
}
