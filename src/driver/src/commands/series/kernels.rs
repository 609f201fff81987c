//! Kernels of a series: each patch is built on top of the one before, so that only
//! what it touches is compiled.

use std::path::Path;

use super::{kernel_name, source, warnings};
use crate::clock;
use crate::commands::usage;
use crate::commands::watch::Watch;
use crate::kernel::{self, BuildEnv, Diagnosis, Fault, Kernel, KernelError, KernelProblem};
use crate::model::{KernelSpec, RunEvent};
use crate::series::checked::{Apply, Build, Checked, Image, Place, Revision};
use crate::{chain, interrupt};

/// The kernels, by the index of their revision.
pub(super) struct Bank {
    kernels: Vec<Option<(KernelSpec, Kernel)>>,
}

impl Bank {
    /// Builds all that apply, and writes down what became of each. Stops where the user
    /// asks for it, and where the host is at fault: it would be at fault for the others.
    ///
    /// # Errors
    ///
    /// Fails where what was asked for cannot be built at all.
    pub(super) fn fill(
        repository: &Path,
        spec: KernelSpec,
        env: &BuildEnv,
        checked: &mut Checked,
        watch: &mut Watch,
        told: &dyn Fn(&Revision) -> String,
    ) -> anyhow::Result<Self> {
        let mut bank = Self { kernels: Vec::new() };
        for at in 0..checked.revisions.len() {
            let revision = &mut checked.revisions[at];
            let commit = revision.commit.clone().filter(|_| revision.apply == Apply::Applies);
            let Some(commit) = commit.filter(|_| !interrupt::requested()) else { break };
            let spec = KernelSpec {
                name: kernel_name(revision),
                source: source(repository, &commit),
                ..spec.clone()
            };
            let started = clock::now();
            let obtained = kernel::obtain(&spec, env, &mut |event| watch.show(&RunEvent::Build(event)));
            let seconds = clock::now().saturating_duration_since(started).as_secs_f64();
            match obtained {
                Ok(kernel) => {
                    let stored = kernel.info.facts.get("store").is_none_or(|it| it != "built");
                    revision.build = if stored { Build::Stored } else { Build::Built { seconds } };
                    revision.image = bank.image(&kernel);
                    let before = bank.kernels.iter().flatten().next_back();
                    revision.warnings = warnings::added(before, (&spec, &kernel), env, watch)?;
                    bank.kernels.push(Some((spec, kernel)));
                }
                Err(error) => {
                    let goes_on = match error.fault() {
                        Fault::Request => return Err(usage(error)),
                        Fault::Tree => true,
                        Fault::Host | Fault::Interrupted => false,
                    };
                    revision.build = failed(&error, seconds);
                    bank.kernels.push(None);
                    if !goes_on {
                        watch.say(told(revision));
                        break;
                    }
                }
            }
            watch.say(told(&checked.revisions[at]));
        }
        if let Some((_, kernel)) = bank.kernels.iter().flatten().next()
            && let Some(compiler) = kernel.info.facts.get("compiler")
        {
            checked.environment.push(("compiler".to_owned(), compiler.clone()));
        }
        Ok(bank)
    }

    /// Whether an earlier revision boots the same.
    fn image(&self, kernel: &Kernel) -> Image {
        let same = |other: &Option<(KernelSpec, Kernel)>| {
            let Some((_, other)) = other else { return false };
            let boots = |it: &Kernel| it.image_digest.clone().map(|digest| (digest, it.format));
            boots(kernel).is_some() && boots(kernel) == boots(other)
        };
        match self.kernels.iter().position(same) {
            Some(revision) => Image::SameAs { revision },
            None => Image::Own,
        }
    }

    /// The kernel of a revision.
    pub(super) fn spec(&self, revision: usize) -> Option<&KernelSpec> {
        self.kernels.get(revision)?.as_ref().map(|(spec, _)| spec)
    }
}

/// A build that failed, with the place of its first error.
fn failed(error: &KernelError, seconds: f64) -> Build {
    // The name of the kernel is that of the patch.
    let reason = chain::text(&error.problem);
    match error.fault() {
        Fault::Tree | Fault::Request => match &error.problem {
            KernelProblem::Build(failure) => Build::Failed {
                reason: failure.diagnosis.as_ref().map_or(reason, ToString::to_string),
                place: failure.diagnosis.as_ref().and_then(place),
                log: Some(failure.log.display().to_string()),
                seconds,
            },
            _ => Build::Failed { reason, place: None, log: None, seconds },
        },
        Fault::Interrupted => Build::NotTried,
        Fault::Host => Build::NotKnown { reason },
    }
}

fn place(diagnosis: &Diagnosis) -> Option<Place> {
    let file = diagnosis.file.clone()?;
    Some(Place { file, line: diagnosis.line })
}
