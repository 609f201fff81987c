//! The workloads that suites may name.

use kregress_wire::WorkloadInfo;

/// What is known of workloads while suites are read.
#[derive(Debug, Clone)]
pub struct Workloads(Vec<&'static WorkloadInfo>);

impl Workloads {
    /// Those of the guest in this very binary.
    #[must_use]
    pub fn guest() -> Self {
        Self::new(kregress_guest::workloads::infos())
    }

    /// Those given.
    pub fn new(infos: impl IntoIterator<Item = &'static WorkloadInfo>) -> Self {
        Self(infos.into_iter().collect())
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static WorkloadInfo> {
        self.0.iter().copied().find(|info| info.name == name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|info| info.name.to_owned()).collect()
    }
}
