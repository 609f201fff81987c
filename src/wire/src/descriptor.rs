//! How a workload describes itself: parameters with their ranges, metrics with
//! their units. The guest declares, the driver checks suites against it.

use serde::{Deserialize, Serialize};

/// A workload of the guest's registry.
#[derive(Debug, Clone, Copy)]
pub struct WorkloadInfo {
    /// `area/name`, as suites say it: `netns/drain`.
    pub name: &'static str,
    /// One line for `kregress list`.
    pub summary: &'static str,
    /// All parameters.
    pub params: &'static [ParamInfo],
    /// All metrics that it may report.
    pub metrics: &'static [MetricInfo],
    /// Kernel modules that it loads where the kernel has them as modules, by
    /// the kernel's names, with underscores. They travel with the guest image;
    /// nothing is loaded before the workload asks.
    pub modules: &'static [&'static str],
}

/// A parameter of a workload.
#[derive(Debug, Clone, Copy)]
pub enum ParamInfo {
    /// A number.
    Int {
        /// Name in the suite.
        name: &'static str,
        /// What it means, with its unit.
        summary: &'static str,
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
        /// Taken where the suite is silent.
        default: i64,
    },
    /// One word of a fixed choice.
    Choice {
        /// Name in the suite.
        name: &'static str,
        /// What it means.
        summary: &'static str,
        /// The words allowed.
        choices: &'static [&'static str],
        /// Taken where the suite is silent.
        default: &'static str,
    },
}

impl ParamInfo {
    /// Name in the suite.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int { name, .. } | Self::Choice { name, .. } => name,
        }
    }
}

/// A metric that a workload reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Name, unique within the workload.
    pub name: &'static str,
    /// What one sample is.
    pub summary: &'static str,
    /// Unit of the samples.
    pub unit: Unit,
    /// Nature of the samples; decides how they may be compared.
    pub kind: Kind,
    /// Which direction is an improvement.
    pub better: Better,
}

/// Unit of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Events, objects, calls.
    #[serde(rename = "1")]
    One,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Events per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes per second.
    #[serde(rename = "B/s")]
    BytesPerSecond,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
}

impl Unit {
    /// As written in suites and results.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::One => "1",
            Self::Bytes => "B",
            Self::PerSecond => "1/s",
            Self::BytesPerSecond => "B/s",
            Self::Percent => "%",
        }
    }
}

/// Nature of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Varies with the machine and from boot to boot.
    Time,
    /// Free of noise as long as the kernel does the same.
    Count,
    /// Work per time; as noisy as a time.
    Rate,
    /// An amount of memory or data.
    Bytes,
    /// A share or quotient of like things.
    Ratio,
}

/// Which direction is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
}
