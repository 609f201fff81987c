//! What suites may name: workloads, and programs by their paths.

use std::path::Path;

use kregress_wire::WorkloadInfo;

use super::paths::Base;

/// What is known of both while suites are read.
#[derive(Debug, Clone)]
pub struct Workloads {
    infos: Vec<&'static WorkloadInfo>,
    programs: Base,
}

impl Workloads {
    /// Those of the guest in this very binary.
    #[must_use]
    pub fn guest() -> Self {
        Self::new(kregress_guest::workloads::infos())
    }

    /// Those given.
    pub fn new(infos: impl IntoIterator<Item = &'static WorkloadInfo>) -> Self {
        let programs = Base { directory: Path::new("/").to_owned(), home: None };
        Self { infos: infos.into_iter().collect(), programs }
    }

    /// The same, with programs whose relative paths start at `base`.
    pub(super) fn with_programs(self, base: Base) -> Self {
        Self { programs: base, ..self }
    }

    /// Where paths of programs start from.
    pub(super) fn programs(&self) -> &Base {
        &self.programs
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static WorkloadInfo> {
        self.infos.iter().copied().find(|info| info.name == name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.infos.iter().map(|info| info.name.to_owned()).collect()
    }
}
