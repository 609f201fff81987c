//! Writes kernel images for the fake QEMU, and finds the fake.
//!
//! An image begins like a `bzImage`, so that it passes for one, and holds a
//! script in place of a kernel.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use kregress::exec::Cmd;
use walkdir::WalkDir;

#[path = "fake_script.rs"]
pub(crate) mod script;

pub(crate) use script::{Behaviour, Boot, Farewell, SampleRule, Script, Splat};
use script::{SCRIPT_AT, SCRIPT_MAGIC};

/// A kernel under construction. A new one boots, and every test passes.
#[derive(Debug, Clone)]
pub(crate) struct FakeKernel(Script);

impl FakeKernel {
    pub(crate) fn new() -> Self {
        Self(Script {
            release: "6.12.0-fake".to_owned(),
            boot: Boot::Ok,
            features: [].into(),
            tests: Vec::new(),
            samples: Vec::new(),
            factors: Vec::new(),
            farewell: Farewell::PowerOff,
            chaos: None,
        })
    }

    /// Sets `uname -r`.
    pub(crate) fn release(mut self, release: &str) -> Self {
        release.clone_into(&mut self.0.release);
        self
    }

    /// Leaves it to the dice of this seed, in every launch anew, how it comes up,
    /// what its tests do and how it goes down.
    pub(crate) fn chaos(mut self, seed: u64) -> Self {
        self.0.chaos = Some(seed);
        self
    }

    /// Sets how it comes up.
    pub(crate) fn boot(mut self, boot: Boot) -> Self {
        self.0.boot = boot;
        self
    }

    /// Sets how it goes down.
    pub(crate) fn farewell(mut self, farewell: Farewell) -> Self {
        self.0.farewell = farewell;
        self
    }

    /// Sets the answer to a feature probe.
    pub(crate) fn feature(mut self, name: &str, answer: &str) -> Self {
        self.0.features.insert(name.to_owned(), answer.to_owned());
        self
    }

    /// Sets what the tests of this name do; `*` stands for any text. What was
    /// set before has precedence.
    pub(crate) fn test(mut self, pattern: &str, behaviour: Behaviour) -> Self {
        self.0.tests.push((pattern.to_owned(), behaviour));
        self
    }

    /// Sets the samples of a metric. What was set before has precedence.
    pub(crate) fn samples(mut self, rule: SampleRule) -> Self {
        self.0.samples.push(rule);
        self
    }

    /// Makes boots differ: every sample of a test that is no whole number is
    /// multiplied by the next of these, the last one stays. The kernels of a
    /// comparison need images of their own for that.
    pub(crate) fn factors(mut self, factors: &[f64]) -> Self {
        factors.clone_into(&mut self.0.factors);
        self
    }

    /// Writes the image.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut image = header(&self.0.release);
        image.extend_from_slice(SCRIPT_MAGIC.as_bytes());
        image.extend_from_slice(&serde_json::to_vec_pretty(&self.0)?);
        image.push(b'\n');
        fs::write(path, image)
    }
}

/// The boot header of a 64-bit `bzImage`, by Documentation/arch/x86/boot.rst.
fn header(release: &str) -> Vec<u8> {
    const BANNER_AT: usize = 0x400;
    let mut image = vec![0; SCRIPT_AT];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let sectors = u8::try_from(SCRIPT_AT / 512 - 1).unwrap_or(u8::MAX);
    // Nobody jumps to it, but that is where `cli; jmp` would be.
    put(0, b"MZ");
    put(0x1f1, &[sectors]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x200, &[0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x020f_u16.to_le_bytes());
    put(0x20e, &u16::try_from(BANNER_AT - 0x200).unwrap_or(0).to_le_bytes());
    // LOADED_HIGH, and XLF_KERNEL_64.
    put(0x211, &[1]);
    put(0x214, &0x0010_0000_u32.to_le_bytes());
    put(0x236, &1_u16.to_le_bytes());
    let banner = format!("{release} (kregress@kregress) #1 SMP PREEMPT_DYNAMIC\0");
    put(BANNER_AT, &banner.as_bytes()[..banner.len().min(512)]);
    image
}

/// Path of the fake QEMU.
///
/// # Panics
///
/// Panics when it cannot be built.
pub(crate) fn fake_qemu() -> PathBuf {
    static FAKE: OnceLock<PathBuf> = OnceLock::new();
    FAKE.get_or_init(|| find_or_build("fake-qemu")).clone()
}

/// Finds an example. Plain `cargo test` and `cargo nextest run` build it beside the
/// tests; with the name of a test, with `--test` or with `--all-targets` cargo does
/// not, so that it may be missing or old. Then it is built here.
///
/// # Panics
///
/// Panics when it cannot be built.
pub(crate) fn find_or_build(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path of this test");
    // target/debug/deps/NAME-HASH, target/debug/examples/NAME
    let profile = test.parent().and_then(Path::parent).expect("a directory of the build profile");
    let fake = profile.join("examples").join(example);
    let built = fs::metadata(&fake).and_then(|metadata| metadata.modified());
    if built.is_ok_and(|built| newest_source(example).is_some_and(|source| source <= built)) {
        return fake;
    }
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Cmd::new(cargo)
        .args(["build", "--offline", "--quiet", "--example", example, "--profile", name])
        .arg("--target-dir")
        .arg(profile.parent().expect("a target directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .read()
        .unwrap_or_else(|error| panic!("`{example}` cannot be built: {error}"));
    assert!(fake.exists(), "cargo built no `{}`", fake.display());
    fake
}

/// When anything that the fake is made of was last changed.
fn newest_source(example: &str) -> Option<SystemTime> {
    let own = format!("examples/{example}");
    let sources = [own.as_str(), "tests/cli/fake_script.rs", "../wire/src", "../guest/src"];
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = sources.iter().flat_map(|source| WalkDir::new(driver.join(source)));
    files.filter_map(|file| file.ok()?.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script_of(image: &[u8]) -> Script {
        let script = image[SCRIPT_AT..].strip_prefix(SCRIPT_MAGIC.as_bytes()).expect("a script");
        serde_json::from_slice(script).expect("sound JSON")
    }

    #[test]
    fn a_script_survives_its_image() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bzImage");
        let samples = SampleRule {
            test: "*".to_owned(),
            metric: "drain_time".to_owned(),
            median: 5e6,
            spread: 0.1,
            count: 3,
        };
        let kernel = FakeKernel::new()
            .release("6.1.192")
            .boot(Boot::Slow(1))
            .farewell(Farewell::LateSplat(Splat::Warning))
            .feature("net-ns", "no: CONFIG_NET_NS")
            .test(
                "smoke/*",
                Behaviour::InTurn(vec![Behaviour::Die(1), Behaviour::Fail("it broke".to_owned())]),
            )
            .samples(samples)
            .factors(&[1.0, 1.5]);
        kernel.write(&path).expect("written");
        assert_eq!(script_of(&fs::read(&path).expect("read")), kernel.0);
        assert!(fake_qemu().is_absolute());
    }

    #[test]
    fn an_image_passes_for_a_bzimage() {
        let image = header("6.12.0-fake");
        assert_eq!(image[0x1fe..0x200], [0x55, 0xaa]);
        assert_eq!(image[0x202..0x206], *b"HdrS");
        let banner = usize::from(u16::from_le_bytes([image[0x20e], image[0x20f]])) + 0x200;
        assert!(image[banner..].starts_with(b"6.12.0-fake (kregress@kregress) #1 SMP"));
    }
}
