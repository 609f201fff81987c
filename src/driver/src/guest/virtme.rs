//! The virtme-ng command line of the second backend. Pure functions.
//!
//! vng brings the host's userland as the guest's root; our binary runs in it as
//! one command. Traps that shape this line (virtme-ng 1.25 and 1.42, seen by running
//! or reading them):
//!
//! - Its exit status and output are no verdict: verdicts come over our own
//!   virtio-serial port, added with `--qemu-opts`.
//! - With a KVM that opens but does not work it waits for ever: KVM is switched
//!   off unless our own probe saw a kernel boot.
//! - It sends the kernel log of the first UART to `/dev/null`: a virtio console of
//!   ours gets it, and `ignore_loglevel` overrides the `loglevel=0` that it puts on
//!   the command line.
//! - It truncates a regular file given as its stdout: it gets a pipe (`lab::logs`).
//! - virtiofsd may or may not be there: 9p always is ([`super::virtiofsd`]).
//! - Its configuration file has the last word, also over `--memory`: it gets a home
//!   of our own, with one that says nothing ([`CONFIGURATION`]).
//! - It hands its arguments to a shell, quoted or not, as it pleases and as its
//!   version has it: what it does not quote, we do; what no quoting saves is refused
//!   ([`Unfit`]).
//! - Not every directory of the host is there: `/run` is empty, and so is `/tmp` in
//!   1.25. What the guest needs of us comes in a directory of its own ([`GUEST_DIR`]).
//! - A kernel cuts its command line off without a word, and `init=` stands last:
//!   the host's own init would then come up in place of vng's.
//! - A root that is not there it makes, with what it downloads; one in a path with
//!   blanks it takes for another; a working directory outside of it is an error. What is
//!   in it may have another libc than ours ([`super::foreign_root`]).
//! - The options of old and new versions differ: only those that 1.25 has are used.
//! - No fixed port: `--debug`, `--ssh`, `--console` and `--pin`, which take them, are
//!   never used. Nor is its kernel configuration, which turns off IPv6 and netfilter.

use std::ffi::OsStr;
use std::path::Path;

use super::qemu::{CMDLINE, ChannelPaths, ConsoleDevice, channel_args};
use crate::exec::{Cmd, shell_line};
use crate::model::{Accel, GuestRoot, RootFs};

/// Where the guest sees our binary and the plan. One directory, because 1.25 takes no
/// more than one `--rodir`; on a tmpfs, where it can be made.
pub const GUEST_DIR: &str = "/run/kregress";

/// Our binary there.
pub const AGENT: &str = "kregress";

/// The plan there.
pub const PLAN: &str = "plan.json";

/// Oldest virtme-ng that we drive, because it is the oldest that we test.
pub const OLDEST: (u32, u32) = (1, 25);

/// First version that we know to take a word of the kernel command line that holds a
/// blank; 1.25 tears it apart.
const TAKES_BLANKS: (u32, u32) = (1, 42);

/// The configuration of virtme-ng that says nothing: where it lies in a home, and its
/// text. Without it `/etc/virtme-ng.conf` would count.
pub const CONFIGURATION: (&str, &str) = (".config/virtme-ng/virtme-ng.conf", "{\"default_opts\": {}}\n");

/// Most that an x86 kernel keeps of its command line, in bytes
/// (`COMMAND_LINE_SIZE`, arch/x86/include/asm/setup.h, without the zero).
const CMDLINE_LIMIT: usize = 2047;

/// What vng adds to the kernel command line beside paths, in bytes: 650 in 1.42, and some
/// room for what comes next.
const CMDLINE_OF_VNG: usize = 720;

/// What it adds more for another root, beside a path of its own: a line of shell that
/// mounts its tools (about 330 bytes in 1.42).
const CMDLINE_OF_OTHER_ROOT: usize = 400;

/// Why a boot cannot be put into words for virtme-ng.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A word of the kernel command line with a blank.
    #[error(
        "virtme-ng {}.{} tears the word `{word}` of the kernel command line apart\nhint: virtme-ng {}.{} takes it, and so does `--machine backend=qemu`",
        version.0, version.1, TAKES_BLANKS.0, TAKES_BLANKS.1
    )]
    Blank {
        /// The word.
        word: String,
        /// What is there.
        version: (u32, u32),
    },
    /// The kernel would cut its command line off.
    #[error(
        "the kernel command line would have about {length} bytes, and a kernel cuts it off after {CMDLINE_LIMIT}\nhint: fewer words in `cmdline`, or a shorter path of the cache; `--machine backend=qemu` needs none of them"
    )]
    TooLong {
        /// Bytes with what vng adds.
        length: usize,
    },
}

/// What a boot needs of virtme-ng.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The `vng` program.
    pub vng: &'a Path,
    /// Its version.
    pub version: (u32, u32),
    /// A home for it, with [`CONFIGURATION`].
    pub home: &'a Path,
    /// Where Python finds what is installed for the user (`PYTHONUSERBASE`), which
    /// it would look for in the home.
    pub user_base: Option<&'a OsStr>,
    /// `PATH` of vng: it starts its parts by name, and they lie beside it.
    pub path: &'a OsStr,
    /// The QEMU binary that it shall use.
    pub qemu: &'a Path,
    /// The directory with our binary and the plan that is [`GUEST_DIR`] in the guest.
    pub share: &'a Path,
    /// How the files come in, decided.
    pub rootfs: RootFs,
    /// The root of the guest where that is not the host's.
    pub root: Option<OtherRoot<'a>>,
    /// Accelerator, decided.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// A bzImage; vng takes no ELF file.
    pub kernel: &'a Path,
    /// Channels.
    pub channels: &'a ChannelPaths,
    /// Kernel entry's own words for the kernel command line.
    pub cmdline: &'a [String],
}

/// A directory that is the root of a guest (`super::foreign_root`).
#[derive(Debug, Clone, Copy)]
pub struct OtherRoot<'a> {
    /// Which.
    pub root: &'a GuestRoot,
    /// What stands before the path of our binary where a shell starts it.
    pub environment: &'a str,
}

/// The words that are added to vng's own kernel command line, as the kernel has them.
fn words(launch: &Launch<'_>) -> Result<Vec<String>, Unfit> {
    let first = ["console=hvc0", "ignore_loglevel"];
    let words = first.into_iter().chain(CMDLINE).chain(launch.cmdline.iter().map(String::as_str));
    let words = words.map(|word| {
        if word.contains(char::is_whitespace) && launch.version < TAKES_BLANKS {
            return Err(Unfit::Blank { word: word.to_owned(), version: launch.version });
        }
        // virtme-run puts a word with a blank into quotes, and refuses one that has them.
        Ok(word.replace('"', ""))
    });
    words.collect()
}

/// What vng makes of a script for the kernel command line has so many bytes.
fn base64_length(script: &str) -> usize {
    script.len().div_ceil(3) * 4
}

/// The whole command.
///
/// # Errors
///
/// Fails with what virtme-ng would misunderstand, or the kernel not get.
pub fn command(launch: &Launch<'_>) -> Result<Cmd, Unfit> {
    let mebibytes = launch.memory >> 20;
    let agent = format!("{GUEST_DIR}/{AGENT} {} {GUEST_DIR}/{PLAN}", kregress_guest::AGENT);
    let script = match launch.root {
        Some(root) => format!("{} {agent}", root.environment),
        None => agent,
    };
    let words = words(launch)?;
    // vng names the directories of its init and of the kernel's modules.
    let paths = launch.vng.as_os_str().len() + launch.kernel.as_os_str().len();
    let ours: usize = words.iter().map(|word| word.len() + 1).sum();
    let other_root = launch.root.map_or(0, |_| CMDLINE_OF_OTHER_ROOT + launch.vng.as_os_str().len());
    let length = CMDLINE_OF_VNG + other_root + paths + base64_length(&script) + ours;
    if length > CMDLINE_LIMIT {
        return Err(Unfit::TooLong { length });
    }
    let mut command = Cmd::new(launch.vng).tree().env("PATH", launch.path).env("HOME", launch.home);
    if let Some(base) = launch.user_base {
        command = command.env("PYTHONUSERBASE", base);
    }
    // What it hands to a shell as it is gets its quotes here.
    let quoted = |path: &Path| shell_line(&[path.to_string_lossy()]);
    let share = format!("{GUEST_DIR}={}", launch.share.display());
    let mut command = command
        .args(["--run".to_owned(), quoted(launch.kernel)])
        .args(["--qemu".to_owned(), quoted(launch.qemu)])
        .args(["--user", "root", "--disable-microvm"])
        // As the host calls it: outside of the root it is refused.
        .arg("--cwd")
        .arg(launch.root.map_or(Path::new("/"), |other| other.root.path()))
        .arg(format!("--rodir={}", shell_line(&[share])))
        .args(["--cpus".to_owned(), launch.cpus.to_string(), "--memory".to_owned(), format!("{mebibytes}M")])
        .arg(format!("--append={}", shell_line(&words)))
        .arg(format!("--qemu-opts={}", shell_line(&channel_args(launch.channels, ConsoleDevice::Virtio))));
    if let Some(other) = launch.root {
        command = command.arg("--root").arg(other.root.path());
    }
    if launch.rootfs != RootFs::Virtiofs {
        command = command.arg("--force-9p");
    }
    if launch.accel == Accel::Tcg {
        command = command.arg("--disable-kvm");
    }
    Ok(command.args(["--exec".to_owned(), script]))
}

/// Version in the output of `vng --version`.
#[must_use]
pub fn parse_version(output: &str) -> Option<(u32, u32)> {
    let version = output.lines().next()?.strip_prefix("virtme-ng ")?;
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given<'a> {
        version: (u32, u32),
        accel: Accel,
        rootfs: RootFs,
        kernel: &'a str,
        cmdline: &'a [&'a str],
        root: Option<&'a GuestRoot>,
    }

    const USUAL: Given<'_> = Given {
        version: (1, 42),
        accel: Accel::Tcg,
        rootfs: RootFs::NineP,
        kernel: "/store/bzImage",
        cmdline: &[],
        root: None,
    };

    fn made(given: &Given<'_>) -> Result<Vec<String>, Unfit> {
        let channels = ChannelPaths::within(Path::new("/s"));
        let cmdline: Vec<String> = given.cmdline.iter().map(|word| (*word).to_owned()).collect();
        let launch = Launch {
            vng: Path::new("vng"),
            version: given.version,
            home: Path::new("/s/home"),
            user_base: None,
            path: OsStr::new("/venv/bin:/usr/bin"),
            qemu: Path::new("qemu-system-x86_64"),
            share: Path::new("/my cache/run/x/guest"),
            rootfs: given.rootfs,
            root: given.root.map(|root| OtherRoot { root, environment: "LD_LIBRARY_PATH=/run/kregress/lib" }),
            accel: given.accel,
            cpus: 2,
            memory: 1 << 30,
            kernel: Path::new(given.kernel),
            channels: &channels,
            cmdline: &cmdline,
        };
        command(&launch).map(|command| command.argv())
    }

    fn argv(accel: Accel) -> Vec<String> {
        made(&Given { accel, ..USUAL }).expect("a command")
    }

    fn refused(given: &Given<'_>) -> String {
        made(given).expect_err("refused").to_string()
    }

    #[test]
    fn the_command_line_under_tcg() {
        insta::assert_snapshot!(argv(Accel::Tcg).join("\n"), @r#"
        vng
        --run
        /store/bzImage
        --qemu
        qemu-system-x86_64
        --user
        root
        --disable-microvm
        --cwd
        /
        --rodir='/run/kregress=/my cache/run/x/guest'
        --cpus
        2
        --memory
        1024M
        --append=console=hvc0 ignore_loglevel oops=panic nokaslr mitigations=off slab_nomerge no_timer_check printk.devkmsg=on softlockup_panic=1 unknown_nmi_panic=1 sysctl.net.core.netdev_unregister_timeout_secs=1 sysctl.net.core.fb_tunnels_only_for_init_net=1
        --qemu-opts=-chardev socket,id=kregress-console,path=/s/console -chardev socket,id=kregress-control,path=/s/control -chardev socket,id=kregress-output,path=/s/output -device virtio-serial-pci,id=kregress -device virtconsole,bus=kregress.0,chardev=kregress-console -device virtserialport,bus=kregress.0,chardev=kregress-control,name=org.kregress.control -device virtserialport,bus=kregress.0,chardev=kregress-output,name=org.kregress.output -qmp unix:/s/monitor,server=on,wait=off
        --force-9p
        --disable-kvm
        --exec
        /run/kregress/kregress __agent /run/kregress/plan.json
        "#);
    }

    #[test]
    fn kvm_is_switched_off_unless_it_was_seen_to_work() {
        assert!(argv(Accel::Tcg).contains(&"--disable-kvm".to_owned()));
        assert!(!argv(Accel::Kvm).contains(&"--disable-kvm".to_owned()));
    }

    #[test]
    fn virtiofs_is_what_vng_does_unless_it_is_told_otherwise() {
        let argv = made(&Given { rootfs: RootFs::Virtiofs, ..USUAL }).expect("fits");
        assert!(!argv.contains(&"--force-9p".to_owned()), "{argv:?}");
    }

    #[test]
    fn another_root_is_named_and_is_the_working_directory_and_our_binary_brings_its_libraries() {
        let usual = made(&USUAL).expect("fits");
        let root = GuestRoot::new("/srv/root").expect("a root");
        let argv = made(&Given { root: Some(&root), ..USUAL }).expect("fits");
        let added: Vec<&str> = argv.iter().filter(|word| !usual.contains(word)).map(String::as_str).collect();
        insta::assert_snapshot!(added.join("\n"), @r"
        /srv/root
        --root
        /srv/root
        LD_LIBRARY_PATH=/run/kregress/lib /run/kregress/kregress __agent /run/kregress/plan.json
        ");
        let at = argv.iter().position(|word| word == "--cwd").expect("a directory");
        assert_eq!(argv[at + 1], "/srv/root");
    }

    #[test]
    fn another_root_leaves_less_room_on_the_kernel_command_line() {
        let word = "x".repeat(800);
        let given = Given { cmdline: &[&word], ..USUAL };
        assert!(made(&given).is_ok());
        let root = GuestRoot::new("/srv/root").expect("a root");
        assert!(refused(&Given { root: Some(&root), ..given }).contains("cuts it off"));
    }

    #[test]
    fn what_vng_hands_to_a_shell_unquoted_is_quoted_here() {
        let argv =
            made(&Given { kernel: "/my kernels/bzImage", cmdline: &["a=(b)"], ..USUAL }).expect("fits");
        assert!(argv.contains(&"'/my kernels/bzImage'".to_owned()), "{argv:?}");
        assert!(
            argv.iter().any(|word| word.starts_with("--append=") && word.ends_with(" 'a=(b)'")),
            "{argv:?}"
        );
    }

    #[test]
    fn a_word_with_a_blank_goes_without_its_quotes_and_only_to_a_version_that_takes_it() {
        let given = Given { cmdline: &["dyndbg=\"file net/* +p\""], ..USUAL };
        let argv = made(&given).expect("fits");
        assert!(argv.iter().any(|word| word.ends_with(" 'dyndbg=file net/* +p'")), "{argv:?}");
        insta::assert_snapshot!(refused(&Given { version: (1, 25), ..given }), @r#"
        virtme-ng 1.25 tears the word `dyndbg="file net/* +p"` of the kernel command line apart
        hint: virtme-ng 1.42 takes it, and so does `--machine backend=qemu`
        "#);
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_off_is_refused() {
        let long = "x".repeat(1000);
        insta::assert_snapshot!(refused(&Given { cmdline: &[&long], ..USUAL }), @r"
        the kernel command line would have about 2055 bytes, and a kernel cuts it off after 2047
        hint: fewer words in `cmdline`, or a shorter path of the cache; `--machine backend=qemu` needs none of them
        ");
    }

    #[test]
    fn no_version_needs_an_option_that_the_oldest_lacks() {
        assert_eq!(made(&Given { version: OLDEST, ..USUAL }), made(&USUAL));
    }

    #[test]
    fn versions_are_read_and_other_words_are_none() {
        assert_eq!(parse_version("virtme-ng 1.25\n"), Some((1, 25)));
        assert_eq!(parse_version("virtme-ng 1.41-65-g4d9dc4d"), Some((1, 41)));
        assert_eq!(parse_version("virtme-ng v2.0"), Some((2, 0)));
        for other in ["", "1.42", "virtme 1.42", "virtme-ng", "Traceback (most recent call last):"] {
            assert_eq!(parse_version(other), None, "{other}");
        }
    }
}
