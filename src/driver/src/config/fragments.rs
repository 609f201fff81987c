//! Kconfig fragments: the project's own from `kconfigs/` beside `kregress.yaml`,
//! and behind them those that the binary carries.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::ConfigError;
use super::{embedded, files};
use crate::model::FragmentName;

/// A fragment, read but not understood: that is for `kernel` to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentFile {
    /// Stem of its file.
    pub name: FragmentName,
    /// Its file in messages; `kconfigs/base.config (built in)` for one of ours.
    pub origin: String,
    /// Whole text.
    pub text: String,
}

/// All fragments that kernels may name.
#[derive(Debug, Clone, Default)]
pub struct Fragments(BTreeMap<String, FragmentFile>);

impl Fragments {
    /// Those of the binary, and those of a project in front of them.
    ///
    /// # Errors
    ///
    /// Fails when `kconfigs/` is there and cannot be read.
    pub(super) fn load(project: Option<&Path>, cwd: &Path) -> Result<Self, ConfigError> {
        let mut all = BTreeMap::new();
        for (name, text) in embedded::FRAGMENTS {
            let origin = format!("kconfigs/{name}.config (built in)");
            let name = FragmentName((*name).to_owned());
            all.insert(name.0.clone(), FragmentFile { name, origin, text: (*text).to_owned() });
        }
        if let Some(project) = project {
            for file in files::in_directory(&project.join("kconfigs"), "config", "fragment")? {
                let origin = files::shown(&file.path, cwd);
                let text = files::read(&file.path, cwd)?;
                all.insert(file.stem.clone(), FragmentFile { name: FragmentName(file.stem), origin, text });
            }
        }
        Ok(Self(all))
    }

    /// The fragment of this name.
    #[must_use]
    pub fn get(&self, name: &FragmentName) -> Option<&FragmentFile> {
        self.0.get(&name.0)
    }

    /// All of them in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &FragmentFile> {
        self.0.values()
    }

    /// All names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
