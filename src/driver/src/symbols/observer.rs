//! Adds lines of the source to findings on their way to the record.
//!
//! Stands between the engine and those who record and show. Opens the debug
//! information of a kernel when its first stack trace comes, and not before; of
//! one that has none it says so once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Symbols, SymbolsError};
use crate::console::Finding;
use crate::model::{BootId, BuildEvent, KernelInfo, KernelName, Observer, RunEvent};

/// Debug information that is kept in memory, of all kernels together. That of a
/// small kernel takes 100 MiB, of a distribution's five times that.
const BUDGET: u64 = 1 << 30;

/// What is known of a kernel's debug information.
#[derive(Debug)]
enum Debug {
    /// Where it may be.
    Closed(Vec<PathBuf>),
    Open(Box<Symbols>),
    /// There is none, and this was said.
    None,
}

/// An observer that adds lines to what it passes on.
pub struct Symbolising<'a> {
    inner: &'a mut dyn Observer,
    kernels: HashMap<KernelName, Debug>,
    boots: HashMap<BootId, KernelName>,
    budget: u64,
}

impl<'a> Symbolising<'a> {
    /// Passes events on to `inner`.
    pub fn new(inner: &'a mut dyn Observer) -> Self {
        Self { inner, kernels: HashMap::new(), boots: HashMap::new(), budget: BUDGET }
    }

    /// Adds lines to the frames of a kernel's finding.
    fn explain(&mut self, kernel: &KernelName, finding: &mut Finding) -> anyhow::Result<()> {
        if finding.frames.iter().all(|frame| frame.place.as_ref().is_none_or(|it| it.module.is_some())) {
            return Ok(());
        }
        if let Some(Debug::Closed(files)) = self.kernels.get(kernel) {
            let debug = match open(files, self.budget) {
                Ok(symbols) => {
                    self.budget = self.budget.saturating_sub(symbols.bytes());
                    Debug::Open(Box::new(symbols))
                }
                Err(why) => {
                    let text = format!("stack traces of kernel {kernel} have no source lines: {why}");
                    self.inner.observe(&RunEvent::Notice(text))?;
                    Debug::None
                }
            };
            self.kernels.insert(kernel.clone(), debug);
        }
        if let Some(Debug::Open(symbols)) = self.kernels.get(kernel) {
            for frame in &mut finding.frames {
                frame.lines = frame.place.as_ref().map(|place| symbols.lines(place)).unwrap_or_default();
            }
        }
        Ok(())
    }
}

impl Observer for Symbolising<'_> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        match event {
            RunEvent::Build(BuildEvent::Ready(info)) => {
                self.kernels.insert(info.name.clone(), Debug::Closed(candidates(info)));
            }
            RunEvent::BootStarted(info) => {
                self.boots.insert(info.id, info.kernel.clone());
            }
            RunEvent::BootFinding { boot, finding } => {
                if let Some(kernel) = self.boots.get(boot).cloned() {
                    let mut finding = finding.clone();
                    self.explain(&kernel, &mut finding)?;
                    return self.inner.observe(&RunEvent::BootFinding { boot: *boot, finding });
                }
            }
            RunEvent::TestFinished(result) if !result.findings.is_empty() => {
                let mut result = result.clone();
                for finding in &mut result.findings {
                    self.explain(&result.kernel, finding)?;
                }
                return self.inner.observe(&RunEvent::TestFinished(result));
            }
            _ => {}
        }
        self.inner.observe(event)
    }
}

/// Where the debug information of a kernel may be: in our store, beside an
/// image, on top of the tree that it was built in, or where distributions put it.
fn candidates(info: &KernelInfo) -> Vec<PathBuf> {
    let directory = info.image.parent().unwrap_or(Path::new(""));
    let mut files = vec![directory.join("vmlinux.debug"), info.image.clone(), directory.join("vmlinux")];
    if directory.ends_with("arch/x86/boot") {
        files.push(directory.join("../../../vmlinux"));
    }
    if let Some(release) = &info.release {
        files.push(PathBuf::from(format!("/usr/lib/debug/boot/vmlinux-{release}")));
        files.push(PathBuf::from(format!("/usr/lib/debug/lib/modules/{release}/vmlinux")));
    }
    files
}

/// The first that has it, or why none does, with a hint.
fn open(files: &[PathBuf], budget: u64) -> Result<Symbols, String> {
    const HINT: &str =
        "build the kernel with the fragment `debuginfo`, or put its unstripped `vmlinux` beside the image";
    let mut why = None;
    for file in files {
        match Symbols::open(file, budget) {
            Ok(symbols) => return Ok(symbols),
            // A file that is not there, an image of another kind, and a stripped one are no news.
            Err(SymbolsError::Read { .. } | SymbolsError::Bare { .. } | SymbolsError::Damaged { .. }) => {}
            Err(error @ SymbolsError::TooLarge { .. }) => why = Some(error.to_string()),
        }
    }
    Err(why.unwrap_or_else(|| format!("there is no debug information\nhint: {HINT}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Frame, Place, PlaceKind};
    use crate::results::testing;

    #[derive(Default)]
    struct Heard(Vec<RunEvent>);

    impl Observer for Heard {
        fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
            self.0.push(event.clone());
            Ok(())
        }
    }

    fn finding() -> Finding {
        let place = Place::parse("tcp_close+0x5/0x10", PlaceKind::Return);
        let frames = vec![Frame { place, lines: Vec::new() }];
        Finding { frames, ..testing::finding("WARNING: x") }
    }

    /// What is heard of two findings of a kernel whose image lies in `directory`.
    fn heard(directory: &Path) -> Vec<RunEvent> {
        let mut heard = Heard::default();
        let mut observer = Symbolising::new(&mut heard);
        let RunEvent::Build(BuildEvent::Ready(info)) = testing::kernel_ready("stable") else {
            unreachable!()
        };
        let info = KernelInfo { image: directory.join("bzImage"), ..info };
        let mut result = testing::pass("smoke/a", "stable", 1);
        result.findings.push(finding());
        for event in [
            RunEvent::Build(BuildEvent::Ready(info)),
            testing::boot(1, "stable"),
            RunEvent::BootFinding { boot: BootId(1), finding: finding() },
            RunEvent::TestFinished(result),
        ] {
            observer.observe(&event).expect("observed");
        }
        heard.0
    }

    fn lines(events: &[RunEvent]) -> Vec<usize> {
        let of = |event: &RunEvent| match event {
            RunEvent::BootFinding { finding, .. } => Some(finding.frames[0].lines.len()),
            RunEvent::TestFinished(result) => Some(result.findings[0].frames[0].lines.len()),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    }

    fn notices(events: &[RunEvent]) -> Vec<&String> {
        let mut notices = Vec::new();
        for event in events {
            if let RunEvent::Notice(text) = event {
                notices.push(text);
            }
        }
        notices
    }

    #[test]
    fn debug_information_beside_the_image_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/symbols/tiny.elf");
        std::fs::copy(tiny, dir.path().join("vmlinux.debug")).expect("copied");
        let events = heard(dir.path());
        assert_eq!(lines(&events), [1, 1]);
        assert!(notices(&events).is_empty());
    }

    #[test]
    fn a_kernel_without_debug_information_is_told_of_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let events = heard(dir.path());
        assert_eq!(lines(&events), [0, 0]);
        let notices = notices(&events);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(
            notices[0].starts_with("stack traces of kernel stable have no source lines: "),
            "{notices:?}"
        );
        assert!(notices[0].contains("\nhint: build the kernel with the fragment `debuginfo`"), "{notices:?}");
    }
}
