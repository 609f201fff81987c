//! `kregress doctor`: what this host can do, and what to install.
//!
//! Looks, decides nothing for other commands, changes nothing but the memory
//! of the accelerator probe.

use std::io::Write;
use std::path::Path;

use super::{Context, HOST, MessageFormat, PASSED};
use crate::exec::Cmd;
use crate::guest::accel::Device;
use crate::guest::tools;
use crate::guest::virtiofsd::Virtiofsd;
use crate::kernel;
use crate::lab::Lab;
use crate::model::{Accel, AccelChoice, Backend, Machine};
use crate::{interrupt, paths};

/// Free space below which a kernel build is likely to fail, in bytes. A source
/// tree takes 1.6 GiB, a build directory 0.5 GiB, and so on per kernel.
const DISK: u64 = 6 << 30;

/// Available memory below which a build or a guest is likely to be killed.
const MEMORY: u64 = 2 << 30;

/// What was found in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ok,
    /// Works without, but less well.
    Note,
    Missing,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    what: &'static str,
    state: State,
    detail: String,
    /// Debian's and Ubuntu's package that mends it.
    package: Option<&'static str>,
}

impl Check {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Ok, detail: detail.into(), package: None }
    }

    fn note(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Note, detail: detail.into(), package: None }
    }

    fn missing(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Missing, detail: detail.into(), package: None }
    }

    fn package(self, package: &'static str) -> Self {
        Self { package: Some(package), ..self }
    }
}

/// Runs the command. Gives the exit code: 0 when kernels can be built and
/// booted on this host.
///
/// # Errors
///
/// Fails when the report cannot be written.
pub fn run(context: &Context) -> anyhow::Result<u8> {
    interrupt::listen()?;
    let mut checks = vec![qemu(), accelerator(context), virtme_ng(), virtiofsd()];
    checks.extend(programs());
    checks.extend(headers());
    checks.extend([disk(), memory()]);
    let mut out = anstream::stdout();
    match context.messages {
        MessageFormat::Human => human(&checks, &mut out)?,
        MessageFormat::Json => json(&checks, &mut out)?,
    }
    Ok(if checks.iter().any(|check| check.state == State::Missing) { HOST } else { PASSED })
}

fn qemu() -> Check {
    match tools::qemu() {
        Ok(qemu) => Check::ok("qemu", qemu.version),
        Err(error) => Check::missing("qemu", error.to_string().lines().next().unwrap_or_default())
            .package("qemu-system-x86"),
    }
}

/// The functional probe, with the default kernel if the store has it.
fn accelerator(context: &Context) -> Check {
    let what = "accelerator";
    let tcg = "TCG, which is several times slower, is used";
    match Device::of_this_host() {
        Device::Absent => return Check::note(what, format!("no /dev/kvm: {tcg}")),
        Device::Denied(error) => {
            return Check::note(
                what,
                format!("/dev/kvm does not open ({error}): {tcg}; add yourself to the group kvm"),
            );
        }
        Device::Opens => {}
    }
    let untested =
        "/dev/kvm is there, which proves little: the first kernel that is built will be booted under it";
    let probe = || -> anyhow::Result<Option<String>> {
        let project = context.project()?;
        let env = context.build_env(&project)?;
        let Some(spec) = project.kernel(&project.default_kernel.0) else { return Ok(None) };
        let Some(kernel) = kernel::stored(spec, &env)? else { return Ok(None) };
        let machine =
            Machine { accel: AccelChoice::Auto, backend: Backend::Qemu, ..context.machine(&project)? };
        let lab = Lab::equip(Backend::Qemu, &paths::cache()?)?;
        let decision = lab.decide(&kernel, &machine)?;
        Ok(Some(match decision.accel {
            Accel::Kvm | Accel::Native => decision.reason,
            Accel::Tcg | Accel::Icount => format!("{}; {tcg}", decision.reason.trim_start_matches("TCG: ")),
        }))
    };
    match probe() {
        Ok(Some(reason)) if reason.starts_with("KVM") => Check::ok(what, reason),
        Ok(Some(reason)) => Check::note(what, reason),
        Ok(None) => Check::note(what, untested),
        Err(error) => Check::note(what, format!("{untested} ({error:#})")),
    }
}

fn virtme_ng() -> Check {
    let what = "virtme-ng";
    let found = paths::cache()
        .map_err(|error| error.to_string())
        .and_then(|cache| tools::vng(&cache).map_err(|error| error.to_string()));
    match found {
        Ok(vng) => Check::ok(what, format!("{} at {}", vng.version, vng.path.display())),
        Err(error) => {
            let first = error.lines().next().unwrap_or_default();
            Check::note(what, format!("{first}; only the backend virtme-ng needs it: make virtme-ng"))
        }
    }
}

/// What the backend virtme-ng can have for its root.
fn virtiofsd() -> Check {
    let what = "virtiofsd";
    let slower = "guests of virtme-ng have their files by 9p, which is slower";
    match Virtiofsd::of_this_host() {
        Virtiofsd::Usable(path) => Check::ok(what, path.display().to_string()),
        Virtiofsd::Absent => Check::note(what, slower),
        Virtiofsd::Unfit(path) => {
            Check::note(what, format!("{} is of an old QEMU: {slower}", path.display()))
        }
    }
}

fn programs() -> Vec<Check> {
    let needed = [
        ("gcc", "gcc"),
        ("ld", "binutils"),
        ("make", "make"),
        ("flex", "flex"),
        ("bison", "bison"),
        ("bc", "bc"),
        ("depmod", "kmod"),
        ("tar", "tar"),
        ("xz", "xz-utils"),
    ];
    let useful = [
        ("git", "git", "kernels from git need it"),
        ("dpkg-deb", "dpkg", "kernels from .deb packages need it"),
        ("ccache", "ccache", "rebuilds are faster with it"),
        ("ip", "iproute2", "the suite `selftests` needs it"),
        ("ethtool", "ethtool", "the suite `selftests` needs it"),
        ("jq", "jq", "the suite `selftests` needs it"),
        ("uuidgen", "uuid-runtime", "the suite `selftests` needs it"),
        ("ping", "iputils-ping", "the suite `selftests` needs it"),
    ];
    let found = |name: &str| {
        // depmod is in sbin, which is not on everybody's PATH.
        tools::on_path(Path::new(name)).or_else(|| {
            let sbin = Path::new("/usr/sbin").join(name);
            sbin.is_file().then_some(sbin)
        })
    };
    let needed = needed.into_iter().map(|(name, package)| match found(name) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::missing(name, "kernels cannot be built without it").package(package),
    });
    let useful = useful.into_iter().map(|(name, package, why)| match found(name) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::note(name, why).package(package),
    });
    needed.chain(useful).collect()
}

/// Headers that the kernel's own host programs include.
fn headers() -> Vec<Check> {
    let headers = [("libelf", "gelf.h", "libelf-dev"), ("openssl", "openssl/opensslv.h", "libssl-dev")];
    let of = |(what, header, package): (&'static str, &str, &'static str)| {
        let preprocess = Cmd::new("gcc").args(["-E", "-include", header, "-x", "c", "/dev/null"]).read();
        match preprocess {
            Ok(_) => Check::ok(what, format!("{header} found")),
            Err(_) => Check::missing(what, format!("the compiler does not find {header}")).package(package),
        }
    };
    headers.into_iter().map(of).collect()
}

fn disk() -> Check {
    let what = "disk";
    let Ok(cache) = paths::cache() else { return Check::missing(what, "there is no cache directory") };
    // The cache may not exist yet: what counts is where it will be.
    let existing = cache.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} free for {}", gib(free), cache.display());
            if free < DISK {
                Check::note(what, format!("only {detail}; builds need {}", gib(DISK)))
            } else {
                Check::ok(what, detail)
            }
        }
        Err(error) => Check::note(what, format!("cannot ask for free space: {error}")),
    }
}

fn memory() -> Check {
    let what = "memory";
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    match kilobytes.map(|n| n << 10) {
        Some(bytes) if bytes < MEMORY => Check::note(what, format!("only {} available", gib(bytes))),
        Some(bytes) => Check::ok(what, format!("{} available", gib(bytes))),
        None => Check::note(what, "cannot read MemAvailable"),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn human(checks: &[Check], out: &mut dyn Write) -> std::io::Result<()> {
    for Check { what, state, detail, .. } in checks {
        let (word, style) = match state {
            State::Ok => ("ok", anstyle::AnsiColor::Green.on_default()),
            State::Note => ("note", anstyle::AnsiColor::Yellow.on_default()),
            State::Missing => ("missing", anstyle::AnsiColor::Red.on_default()),
        };
        writeln!(out, "{style}{word:<7}{style:#}  {what:<11}  {detail}")?;
    }
    let packages = |wanted: State| -> Vec<_> {
        checks.iter().filter(|check| check.state == wanted).filter_map(|check| check.package).collect()
    };
    for (state, words) in [(State::Missing, "to install"), (State::Note, "worth having")] {
        let packages = packages(state);
        if !packages.is_empty() {
            writeln!(out, "\n{words}: apt-get install --no-install-recommends {}", packages.join(" "))?;
        }
    }
    Ok(())
}

fn json(checks: &[Check], out: &mut dyn Write) -> std::io::Result<()> {
    for check in checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "missing",
        };
        let line = serde_json::json!({
            "version": 1, "check": check.what, "state": state, "detail": check.detail, "package": check.package,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_missing_and_the_line_that_installs_it() {
        let checks = [
            Check::ok("qemu", "QEMU emulator version 8.2.0"),
            Check::note("ccache", "rebuilds are faster with it").package("ccache"),
            Check::missing("flex", "kernels cannot be built without it").package("flex"),
            Check::missing("bc", "kernels cannot be built without it").package("bc"),
        ];
        let mut out = Vec::new();
        human(&checks, &mut anstream::StripStream::new(&mut out)).expect("write");
        insta::assert_snapshot!(String::from_utf8(out).expect("text"), @r"
        ok       qemu         QEMU emulator version 8.2.0
        note     ccache       rebuilds are faster with it
        missing  flex         kernels cannot be built without it
        missing  bc           kernels cannot be built without it

        to install: apt-get install --no-install-recommends flex bc

        worth having: apt-get install --no-install-recommends ccache
        ");
    }
}
