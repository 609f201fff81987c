//! Network devices, by `ioctl`.

use std::io;
use std::os::fd::AsRawFd;

use rustix::fd::AsFd;

use super::check;

/// Sets a network device of the caller's namespace up.
pub(crate) fn bring_up(socket: impl AsFd, device: &str) -> io::Result<()> {
    let mut request = request_of(device)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: `request` is a valid `ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: SIOCGIFFLAGS filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: as above; the kernel only reads.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw mut request) }).map(drop)
}

/// Sets the largest size of packet of a device, in the namespace of the socket.
pub(crate) fn set_mtu(socket: impl AsFd, device: &str, bytes: i32) -> io::Result<()> {
    let mut request = request_of(device)?;
    request.ifr_ifru.ifru_mtu = bytes;
    // SAFETY: `request` is a valid `ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFMTU, &raw mut request) }).map(drop)
}

/// A request about a device, by its name.
fn request_of(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is a plain C structure for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0: the name is a C string.
    if device.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// What goes through a device of the tun driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunLayer {
    /// Packets (`IFF_TUN`).
    Packets,
    /// Frames (`IFF_TAP`).
    Frames,
}

/// Makes a device of the tun driver, or takes up one that was left there, in the
/// namespace in which `file` was opened (`TUNSETIFF`).
pub(crate) fn tun_attach(file: impl AsFd, device: &str, layer: TunLayer) -> io::Result<()> {
    let layer = match layer {
        TunLayer::Packets => libc::IFF_TUN,
        TunLayer::Frames => libc::IFF_TAP,
    };
    let mut request = request_of(device)?;
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(layer | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: `request` is a valid `ifreq` and outlives the call. A file of another
    // kind does not know the request.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// Lets the device stay when its last descriptor is closed (`TUNSETPERSIST`).
pub(crate) fn tun_keep(file: impl AsFd) -> io::Result<()> {
    let yes: libc::c_ulong = 1;
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNSETPERSIST, yes) }).map(drop)
}

/// Name of the device (`TUNGETIFF`). `EBADFD` when there is none any more.
pub(crate) fn tun_device(file: impl AsFd) -> io::Result<String> {
    let mut request = request_of("")?;
    // SAFETY: `request` is a valid `ifreq`, writable, and outlives the call.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    let name = request.ifr_name.map(|byte| u8::from_ne_bytes(byte.to_ne_bytes()));
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_device_of_the_tun_driver_says_so() {
        let file = std::fs::File::open("/dev/null").expect("open");
        assert_eq!(tun_device(&file).expect_err("no device").raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(tun_keep(&file).expect_err("no device").raw_os_error(), Some(libc::ENOTTY));
        let long = tun_attach(&file, "sixteen-letters!", TunLayer::Frames).expect_err("too long");
        assert_eq!(long.raw_os_error(), Some(libc::ENAMETOOLONG));
        let other = tun_attach(&file, "x0", TunLayer::Packets).expect_err("no device");
        assert_eq!(other.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn a_device_name_without_room_for_its_end_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let error = bring_up(&socket, "sixteen-letters!").expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        let error = bring_up(&socket, "no-such-device").expect_err("missing");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn the_mtu_of_a_device_that_is_not_there_cannot_be_set() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let error = set_mtu(&socket, "sixteen-letters!", 1).expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        set_mtu(&socket, "no-such-device", 1500).expect_err("missing, or not permitted");
    }
}
