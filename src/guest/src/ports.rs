//! Finds and opens what leads to the host: virtio-serial ports, or UARTs.
//!
//! A port is known by its name, which the device tells some time after the
//! driver has found it; the kernel announces that by a uevent. UARTs have
//! numbers and are there from the start.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kregress_wire::{CONTROL_PORT, CONTROL_UART, Carrier, OUTPUT_PORT, OUTPUT_UART};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

use crate::clock;

const CLASS: &str = "/sys/class/virtio-ports";

/// The channels to the host.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Frames.
    pub(crate) control: File,
    /// Raw output of tests; not every machine has it.
    pub(crate) output: Option<File>,
    /// What they are made of.
    pub(crate) carrier: Carrier,
}

/// Why there is no way to the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// The kernel has no driver for the ports.
    #[error(
        "no virtio-serial port `{CONTROL_PORT}`: the kernel has no {CLASS}\n\
         hint: it needs CONFIG_VIRTIO_CONSOLE=y and CONFIG_VIRTIO_PCI=y, or these modules in the guest image"
    )]
    NoDriver,
    /// The driver is there, the port is not.
    #[error(
        "no virtio-serial port `{CONTROL_PORT}` within {} s: {CLASS} holds {found}\n\
         hint: the kernel needs CONFIG_VIRTIO_PCI=y, and QEMU a virtserialport of this name",
        waited.as_secs()
    )]
    Missing {
        /// Names that were there instead.
        found: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no such UART, or none behind its node.
    #[error(
        "no serial line `{}`: {source}\n\
         hint: virtual time needs three UARTs of the kernel: CONFIG_SERIAL_8250=y and \
         CONFIG_SERIAL_8250_RUNTIME_UARTS=4",
        path.display()
    )]
    Uart {
        /// Its device node.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The port is there and cannot be used.
    #[error("cannot open virtio-serial port `{}`: {source}", path.display())]
    Open {
        /// Its device node.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens the control channel and that of output; waits for virtio ports at most
/// `patience` long.
///
/// # Errors
///
/// Fails when there is no control channel. A missing one of output is `None`.
pub(crate) fn open(carrier: Carrier, patience: Duration) -> Result<Ports, PortError> {
    match carrier {
        Carrier::VirtioSerial => open_virtio(patience),
        Carrier::Uart => {
            let control = uart(CONTROL_UART)?;
            Ok(Ports { control, output: uart(OUTPUT_UART).ok(), carrier })
        }
    }
}

/// Opens a serial line for bytes as they are: no echo, no translation, no modem.
fn uart(name: &str) -> Result<File, PortError> {
    let path = Path::new("/dev").join(name);
    let prepared = || {
        // Without a carrier an ordinary open would wait for one.
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
        let line = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        let mut modes = tcgetattr(&line)?;
        modes.make_raw();
        modes.control_modes |= ControlModes::CLOCAL;
        tcsetattr(&line, OptionalActions::Now, &modes)?;
        fcntl_setfl(&line, fcntl_getfl(&line)? - OFlags::NONBLOCK)?;
        Ok(line)
    };
    prepared().map_err(|source| PortError::Uart { path: path.clone(), source })
}

fn open_virtio(patience: Duration) -> Result<Ports, PortError> {
    // Listens before it looks: what appears in between is announced.
    let announcements = uevents().ok();
    let deadline = clock::monotonic_ns().saturating_add(clock::duration_ns(patience));
    let class = Path::new(CLASS);
    loop {
        let ports = named_ports(class);
        let left = deadline.saturating_sub(clock::monotonic_ns());
        match (device(&ports, CONTROL_PORT), device(&ports, OUTPUT_PORT)) {
            (Some(control), Some(output)) => return open_both(&control, Some(&output)),
            // The ports of one device are named one after the other, so one
            // without its sibling is worth the rest of the wait only where an
            // announcement can end it.
            (Some(control), None) if left == 0 => return open_both(&control, None),
            (None, _) if left == 0 => {
                let found = if ports.is_empty() { "no named port".to_owned() } else { names(&ports) };
                return Err(PortError::Missing { found, waited: patience });
            }
            _ if !class.exists() => return Err(PortError::NoDriver),
            _ => wait(announcements.as_ref(), Duration::from_nanos(left)),
        }
    }
}

/// Pairs of port name and device name, `org.kregress.control` and `vport0p1`.
fn named_ports(class: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut ports: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = fs::read_to_string(entry.path().join("name")).ok()?;
            Some((name.trim_end().to_owned(), entry.file_name().to_str()?.to_owned()))
        })
        .collect();
    ports.sort();
    ports
}

fn device(ports: &[(String, String)], name: &str) -> Option<PathBuf> {
    ports.iter().find(|(known, _)| known == name).map(|(_, device)| Path::new("/dev").join(device))
}

fn names(ports: &[(String, String)]) -> String {
    ports.iter().map(|(name, _)| format!("`{}`", name.escape_default())).collect::<Vec<_>>().join(", ")
}

fn open_both(control: &Path, output: Option<&Path>) -> Result<Ports, PortError> {
    let open = |path: &Path| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| PortError::Open { path: path.to_owned(), source })
    };
    let output = output.map(open).transpose()?;
    Ok(Ports { control: open(control)?, output, carrier: Carrier::VirtioSerial })
}

fn uevents() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
    // Group 1 carries the kernel's own announcements.
    bind(&socket, &SocketAddrNetlink::new(0, 1))?;
    Ok(socket)
}

/// Returns when something was announced or `limit` has passed.
fn wait(announcements: Option<&OwnedFd>, limit: Duration) {
    let Some(socket) = announcements else {
        // A kernel without netlink; it has no networking to test, but its
        // guest can still say so.
        return clock::poll_interval(limit.min(Duration::from_millis(20)));
    };
    let timeout = Timespec::try_from(limit).ok();
    let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref());
    if ready.is_ok_and(|count| count > 0) {
        // What was announced does not matter: the caller looks again. An
        // overrun shows as an error and means the same.
        let mut message = [0; 4096];
        while recv(socket, &mut message, RecvFlags::empty()).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(ports: &[(&str, Option<&str>)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("directory");
        for (device, name) in ports {
            let port = directory.path().join(device);
            fs::create_dir(&port).expect("port");
            if let Some(name) = name {
                fs::write(port.join("name"), format!("{name}\n")).expect("name");
            }
        }
        directory
    }

    #[test]
    fn a_port_is_found_by_its_name_whatever_its_number() {
        let class = class(&[("vport3p2", Some(CONTROL_PORT)), ("vport0p1", Some(OUTPUT_PORT))]);
        let ports = named_ports(class.path());
        assert_eq!(device(&ports, CONTROL_PORT), Some(PathBuf::from("/dev/vport3p2")));
        assert_eq!(device(&ports, OUTPUT_PORT), Some(PathBuf::from("/dev/vport0p1")));
    }

    #[test]
    fn a_port_without_a_name_yet_is_not_taken() {
        let class = class(&[("vport0p1", None), ("vport0p2", Some("org.kregress.controller"))]);
        assert_eq!(device(&named_ports(class.path()), CONTROL_PORT), None);
    }

    #[test]
    fn a_missing_port_says_what_was_there_instead() {
        let class = class(&[("vport0p1", Some("com.example.other"))]);
        let found = names(&named_ports(class.path()));
        let error = PortError::Missing { found, waited: Duration::from_secs(15) };
        assert_eq!(
            error.to_string(),
            "no virtio-serial port `org.kregress.control` within 15 s: /sys/class/virtio-ports holds \
             `com.example.other`\nhint: the kernel needs CONFIG_VIRTIO_PCI=y, and QEMU a virtserialport of \
             this name"
        );
    }

    #[test]
    fn a_class_that_is_not_there_has_no_ports() {
        assert_eq!(named_ports(Path::new("/sys/class/no-such-class")), []);
    }
}
