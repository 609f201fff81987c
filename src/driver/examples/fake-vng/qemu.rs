//! The command line of QEMU that `virtme-run` makes for a script, as far as a test
//! could notice (taken from virtme-ng 1.42 on x86-64).

use std::path::PathBuf;

/// What `virtme-run` was told.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) qemu: PathBuf,
    kernel: String,
    script: String,
    cmdline: Vec<String>,
    cpus: String,
    memory: String,
    kvm: Kvm,
    shares: Vec<(String, String)>,
    /// What the guest's root is made of.
    pub(crate) root: Root,
    /// The directory that it is, if not that of the host.
    directory: Option<PathBuf>,
    cwd: Option<PathBuf>,
    more: Vec<String>,
}

/// How the host's files come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Root {
    /// What is tried first.
    #[default]
    Virtiofs,
    NineP,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kvm {
    #[default]
    WhereItOpens,
    Off,
}

impl Machine {
    /// Reads the arguments as argparse does.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut machine = Self { cpus: "1".to_owned(), memory: "1G".to_owned(), ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--qemu-opts" {
                // It takes all that follow.
                machine.more = args.by_ref().cloned().collect();
                break;
            }
            let mut value =
                || args.next().cloned().ok_or_else(|| format!("argument {arg}: expected one argument"));
            match arg.as_str() {
                "--qemu-bin" => machine.qemu = value()?.into(),
                "--kimg" => machine.kernel = value()?,
                "--script-sh" => machine.script = value()?,
                "--kopt" => machine.cmdline.push(value()?),
                "--cpus" => machine.cpus = value()?,
                "--memory" => machine.memory = value()?,
                "--rodir" => {
                    let value = value()?;
                    let (guest, host) = value.split_once('=').unwrap_or((&value, &value));
                    if !std::path::Path::new(host).exists() {
                        return Err(format!("error: cannot access {host} on the host"));
                    }
                    machine.shares.push((guest.to_owned(), host.to_owned()));
                }
                "--user" => drop(value()?),
                "--cwd" => machine.cwd = Some(value()?.into()),
                "--root" => machine.directory = Some(value()?.into()),
                "--disable-kvm" => machine.kvm = Kvm::Off,
                "--force-9p" => machine.root = Root::NineP,
                "--disable-microvm" | "--verbose" => {}
                other => return Err(format!("unrecognized arguments: {other}")),
            }
        }
        match (&machine.directory, &machine.cwd) {
            (Some(root), Some(cwd)) if !cwd.starts_with(root) => {
                Err("specified working directory is not contained in the root".to_owned())
            }
            _ => Ok(machine),
        }
    }

    /// The arguments of QEMU.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let root = self.directory.as_deref().unwrap_or(std::path::Path::new("/")).display();
        let fixed = "-fsdev local,id=virtfs5,path=ROOT,security_model=none,readonly=on,multidevs=remap \
            -device virtio-9p-pci,fsdev=virtfs5,mount_tag=/dev/root \
            -device i6300esb,id=watchdog0 -parallel none -net none -vga none -display none \
            -serial chardev:console -chardev file,id=console,path=/dev/null \
            -chardev stdio,id=stdin,signal=on,mux=off -device virtio-serial-pci \
            -device virtserialport,name=virtme.stdin,chardev=stdin \
            -chardev file,id=stdout,path=/proc/self/fd/1 -device virtio-serial-pci \
            -device virtserialport,name=virtme.stdout,chardev=stdout \
            -chardev file,id=stderr,path=/proc/self/fd/2 -device virtio-serial-pci \
            -device virtserialport,name=virtme.stderr,chardev=stderr -no-reboot";
        let machine = match self.kvm {
            Kvm::WhereItOpens => "accel=kvm:tcg",
            Kvm::Off => "q35",
        };
        let fixed = fixed.replace("ROOT", &root.to_string());
        let mut args: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
        let mut add = |option: &str, value: &str| args.extend([option.to_owned(), value.to_owned()]);
        add("-machine", machine);
        add("-m", &self.memory);
        add("-smp", &self.cpus);
        add("-kernel", &self.kernel);
        add("-append", &self.kernel_cmdline());
        for (at, (_, host)) in self.shares.iter().enumerate() {
            let host = host.replace(',', ",,");
            add("-fsdev", &format!("local,id=share{at},path={host},security_model=none,readonly=on"));
            add("-device", &format!("virtio-9p-pci,fsdev=share{at},mount_tag=virtme.initmount{at}"));
        }
        args.extend(self.more.iter().cloned());
        args
    }

    fn kernel_cmdline(&self) -> String {
        let modules = self.kernel.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut words = vec![
            "virtme_hostname=virtme-ng nr_open=1048576".to_owned(),
            format!("virtme_link_mods={modules}/lib/modules/6.12.0-fake"),
            "virtme_rw_overlay0=/etc virtme_rw_overlay1=/lib virtme_rw_overlay2=/home virtme_rw_overlay3=/opt \
             virtme_rw_overlay4=/srv virtme_rw_overlay5=/usr virtme_rw_overlay6=/var virtme_rw_overlay7=/tmp \
             virtme_console=ttyS0 console=ttyS0 earlyprintk=serial,ttyS0,115200 quiet loglevel=0 panic=-1"
                .to_owned(),
            format!("virtme.exec=`{}`", encode(self.script.as_bytes())),
            "virtme_chdir=. virtme_root_user=1".to_owned(),
            match self.root {
                Root::Virtiofs => "rootfstype=virtiofs root=ROOTFS",
                Root::NineP => {
                    "rootfstype=9p rootflags=version=9p2000.L,trans=virtio,access=any,msize=524288"
                }
            }
            .to_owned(),
            "raid=noautodetect ro quiet loglevel=1".to_owned(),
        ];
        words.extend(self.shares.iter().enumerate().map(|(at, (guest, _))| {
            format!(
                "virtme_initmount{at}={guest} virtme_initmount{at}_fstype=9p virtme_initmount{at}_access=ro"
            )
        }));
        words.extend(
            self.cmdline
                .iter()
                .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() }),
        );
        // At the end: what is too long costs this first.
        words.push(match self.directory {
            None => "init=/usr/lib/python3/dist-packages/virtme/guest/bin/virtme-ng-init".to_owned(),
            Some(_) => "init=/bin/sh -- -c \"mount -t tmpfs run /run; mount -t devtmpfs devtmpfs /dev; \
                 mkdir -p /run/virtme/guesttools; /bin/mount -n -t 9p \
                 -o ro,version=9p2000.L,trans=virtio,access=any,msize=524288 virtme.guesttools \
                 /run/virtme/guesttools; mount --bind /usr/lib/python3/dist-packages/virtme/guest/fstab \
                 /etc/fstab; exec /run/virtme/guesttools/bin/virtme-ng-init\""
                .to_owned(),
        });
        words.join(" ")
    }
}

/// Base64 with padding.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut four = [0; 4];
        four[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(four);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_as_base64_does() {
        assert_eq!(encode(b"/k __agent '/run dir/plan'"), "L2sgX19hZ2VudCAnL3J1biBkaXIvcGxhbic=");
        assert_eq!([encode(b""), encode(b"a"), encode(b"ab"), encode(b"abc")], ["", "YQ==", "YWI=", "YWJj"]);
    }
}
