//! `kregress build`: kernels into the store, nothing booted.

use std::io::Write as _;

use anyhow::Context as _;

use super::{Context, HOST, INTERRUPTED, MessageFormat, PASSED, USAGE};
use crate::interrupt;
use crate::kernel::{self, Fault, Kernel};
use crate::model::{BuildEvent, KernelSpec, Observer as _, RunEvent};
use crate::report::look::Look;
use crate::report::progress::Progress;

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words; a kernel that cannot be built is told and counted, and
/// the others are still built.
pub fn run(context: &Context, kernels: &[String]) -> anyhow::Result<u8> {
    let project = context.project()?;
    let specs = context.kernels(&project, kernels)?;
    let env = context.build_env(&project)?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let mut code = PASSED;
    for spec in &specs {
        let mut progress = Progress::new(Look::of_stderr());
        let mut lost = None;
        let kernel = kernel::obtain(spec, &env, &mut |event: BuildEvent| {
            if let Err(error) = progress.observe(&RunEvent::Build(event)) {
                lost.get_or_insert(error);
            }
        });
        drop(progress);
        if let Some(error) = lost {
            return Err(error);
        }
        match kernel {
            Ok(kernel) => show(context.messages, spec, &kernel)?,
            Err(_) if interrupt::requested() => return Ok(INTERRUPTED),
            Err(error) => {
                let fault = error.fault();
                let _ = super::fail(&error.into());
                // The worst of several.
                code = code.max(match fault {
                    Fault::Request => USAGE,
                    Fault::Tree | Fault::Host | Fault::Interrupted => HOST,
                });
            }
        }
    }
    Ok(code)
}

/// Prints the key of these kernels: [`kernel::key`]. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, and where a source or the compiler cannot be looked at.
pub fn key(context: &Context, kernels: &[String]) -> anyhow::Result<u8> {
    let project = context.project()?;
    let specs = context.kernels(&project, kernels)?;
    let key = kernel::key(&specs, &context.build_env(&project)?)?;
    writeln!(anstream::stdout(), "{key}")?;
    Ok(PASSED)
}

fn show(messages: MessageFormat, spec: &KernelSpec, kernel: &Kernel) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let info = &kernel.info;
    match messages {
        MessageFormat::Human => {
            writeln!(out, "{}  {}", spec.name, info.release.as_deref().unwrap_or("release unknown"))?;
            writeln!(out, "  image   {}", kernel.image.display())?;
            for (key, value) in &info.facts {
                writeln!(out, "  {key:<7} {value}")?;
            }
        }
        MessageFormat::Json => {
            let line = serde_json::json!({
                "version": 1,
                "kernel": spec.name.to_string(),
                "release": info.release,
                "identity": info.identity,
                "image": kernel.image,
                "facts": info.facts,
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
