//! What a kernel entry asks of the configuration, read and merged before
//! anything is run.

use std::fs;
use std::path::PathBuf;

use crate::kernel::env::BuildEnv;
use crate::kernel::error::{At as _, KernelProblem};
use crate::kernel::hash::{Digest, Hasher};
use crate::kernel::kconfig::{self, ConfigValue, DotConfig, Fragment, Merged, Symbol, Want};
use crate::model::{FragmentName, KernelSpec};

/// Options that change nearly every object, with the word for each in the name
/// of a build directory: a kernel that has one keeps its objects apart, so that
/// going to and fro between it and a plain one compiles neither anew. Those that
/// a few hundred objects look at are not worth a directory. From experience.
const APART: [(&str, &str); 7] = [
    ("DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT", "debuginfo"),
    ("KASAN", "kasan"),
    ("KCSAN", "kcsan"),
    ("KUNIT", "kunit"),
    ("PROVE_LOCKING", "lockdep"),
    ("PREEMPT", "preempt"),
    ("UBSAN", "ubsan"),
];

/// A complete `.config` to start from.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Fragments and base configuration of an entry.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) merged: Merged,
    pub(super) base: Option<Base>,
}

impl Recipe {
    /// Reads what an entry names.
    pub(super) fn read(spec: &KernelSpec, env: &BuildEnv) -> Result<Self, KernelProblem> {
        if spec.fragments.is_empty() && spec.base_config.is_none() {
            return Err(KernelProblem::Unconfigured);
        }
        let fragments: Result<Vec<_>, KernelProblem> = spec
            .fragments
            .iter()
            .map(|name| match env.fragments.get(name) {
                Some(text) => Ok(Fragment::parse(name.clone(), text)?),
                None => Err(unknown(name, env)),
            })
            .collect();
        let merged = kconfig::merge(&fragments?)?;
        let base = match &spec.base_config {
            None => None,
            Some(path) => {
                let text = fs::read(path).at("read", path)?;
                let text = String::from_utf8_lossy(&text).into_owned();
                // A wrong file is named before anything is unpacked.
                DotConfig::parse(&text)
                    .map_err(|source| KernelProblem::Config { path: path.clone(), source })?;
                Some(Base { path: path.clone(), text })
            }
        };
        Ok(Self { merged, base })
    }

    /// Everything in the fragments that decides whether and how a build ends:
    /// what is asked for, and what a kernel may lack.
    pub(super) fn asked(&self) -> String {
        let line = |(symbol, want): (&Symbol, &Want)| {
            let optional = if want.optional.is_some() { " optional" } else { "" };
            format!("{symbol}={}{optional}\n", want.value)
        };
        self.merged.wants().iter().map(line).collect()
    }

    /// Hash of the base configuration.
    pub(super) fn base_digest(&self) -> Option<String> {
        self.base.as_ref().map(|base| Digest::of(&base.text).to_string())
    }

    /// What to add to the name of a build directory.
    pub(super) fn apart(&self) -> String {
        let is_on = |want: &Want| matches!(want.value, ConfigValue::Yes | ConfigValue::Module);
        let asked = |symbol: &str| self.merged.get(symbol).is_some_and(is_on);
        APART.iter().filter(|(symbol, _)| asked(symbol)).map(|(_, word)| format!("-{word}")).collect()
    }

    /// What decides how many objects there are, about.
    pub(super) fn shape(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.piece(self.merged.canonical());
        hasher.piece(self.base_digest().unwrap_or_default());
        hasher.finish()
    }
}

fn unknown(fragment: &FragmentName, env: &BuildEnv) -> KernelProblem {
    let mut known: Vec<_> = env.fragments.keys().cloned().collect();
    let likeness = |name: &FragmentName| strsim::jaro_winkler(&fragment.0, &name.0);
    // A stable sort of sorted names.
    known.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    KernelProblem::UnknownFragment { fragment: fragment.clone(), known }
}
