//! Completion notifications on a socket's error queue.
//!
//! Owns their wire format (`struct sock_extended_err`, Documentation/networking/
//! msg_zerocopy.rst) and the one `recvmsg` that reads them; what the numbers in
//! them mean is for [`super::completions`].

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, retry_on_intr};

use super::loopback::Family;
use super::sys;

/// `SO_EE_ORIGIN_ZEROCOPY` of include/uapi/linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;
/// `SO_EE_CODE_ZEROCOPY_COPIED` of the same.
const CODE_COPIED: u8 = 1;

/// Size of `struct cmsghdr`: a length of the machine's word, level and type.
const HEADER: usize = size_of::<usize>() + 8;
/// Size of `struct sock_extended_err`.
const EXTENDED_ERROR: usize = 16;

/// What became of the pages of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// Sent from where they were.
    Shared,
    /// Copied by the kernel after all.
    Copied,
}

/// A range of sends whose buffers the kernel no longer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notification {
    /// Number of the first send.
    pub(super) first: u32,
    /// Number of the last send.
    pub(super) last: u32,
    /// What became of their pages.
    pub(super) pages: Pages,
}

/// Why a message of the error queue is no completion notification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotificationError {
    /// A control message is cut, or its length is impossible.
    #[error("control message at byte {at} claims {length} bytes, {left} are left")]
    Length {
        /// Where it begins.
        at: usize,
        /// Length that its header gives.
        length: usize,
        /// Bytes from there to the end.
        left: usize,
    },
    /// No control message carries an extended error of the socket's family.
    #[error("no control message of level {level} and type {kind} is in it")]
    Missing {
        /// `SOL_IP` or `SOL_IPV6`.
        level: i32,
        /// `IP_RECVERR` or `IPV6_RECVERR`.
        kind: i32,
    },
    /// It is an error of another kind.
    #[error("it is no zerocopy completion: origin `{origin}`, errno `{errno}`, code `{code}`")]
    Foreign {
        /// `ee_origin`.
        origin: u8,
        /// `ee_errno`.
        errno: u32,
        /// `ee_code`.
        code: u8,
    },
}

fn control_kind(family: Family) -> (i32, i32) {
    match family {
        Family::Ipv4 => (libc::SOL_IP, libc::IP_RECVERR),
        Family::Ipv6 => (libc::SOL_IPV6, libc::IPV6_RECVERR),
    }
}

/// Reads the notification out of the control part of a message.
///
/// # Errors
///
/// Whatever keeps it from being exactly one completion of that family.
pub(super) fn parse(control: &[u8], family: Family) -> Result<Notification, NotificationError> {
    let (level, kind) = control_kind(family);
    let mut at = 0;
    while let Some(message) = control.get(at..).filter(|rest| !rest.is_empty()) {
        let (length_bytes, rest) = message.split_at(size_of::<usize>().min(message.len()));
        let length = length_bytes.try_into().map_or(0, usize::from_ne_bytes);
        if length < HEADER || length > message.len() {
            return Err(NotificationError::Length { at, length, left: message.len() });
        }
        let found = (word(rest, 0).cast_signed(), word(rest, 4).cast_signed());
        let payload = &message[HEADER..length];
        if found == (level, kind) {
            if payload.len() < EXTENDED_ERROR {
                return Err(NotificationError::Length { at, length, left: message.len() });
            }
            return extended_error(payload);
        }
        // Never past the end by overflow: the length is at most that of the slice.
        at += length.next_multiple_of(size_of::<usize>());
    }
    Err(NotificationError::Missing { level, kind })
}

/// Four bytes that the caller knows to be there.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn extended_error(bytes: &[u8]) -> Result<Notification, NotificationError> {
    let (errno, origin, code) = (word(bytes, 0), bytes[4], bytes[6]);
    let pages = match code {
        0 => Pages::Shared,
        CODE_COPIED => Pages::Copied,
        _ => return Err(NotificationError::Foreign { origin, errno, code }),
    };
    if origin != ORIGIN_ZEROCOPY || errno != 0 {
        return Err(NotificationError::Foreign { origin, errno, code });
    }
    Ok(Notification { first: word(bytes, 8), last: word(bytes, 12), pages })
}

/// Why the error queue could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueueError {
    /// The call failed.
    #[error("recvmsg with MSG_ERRQUEUE: {0}")]
    Call(#[from] Errno),
    /// The message is not what a zerocopy socket has there.
    #[error("message in the error queue: {0}")]
    Message(#[from] NotificationError),
    /// The kernel had more to say than a notification needs.
    #[error("message in the error queue: cut after {0} bytes of control data")]
    Cut(usize),
}

/// Takes the next notification, `None` when there is none now.
///
/// # Errors
///
/// Any [`QueueError`]; all but a failed call are the kernel's fault.
pub(super) fn next(socket: BorrowedFd<'_>, family: Family) -> Result<Option<Notification>, QueueError> {
    // A notification with its offender's address takes 64 bytes at most.
    let mut control = [0_usize; 32];
    let received = retry_on_intr(|| sys::receive_error(socket.as_raw_fd(), &mut control));
    let (length, flags) = match received {
        Ok(received) => received,
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if flags & libc::MSG_CTRUNC != 0 {
        return Err(QueueError::Cut(length));
    }
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect();
    Ok(Some(parse(&bytes, family)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(level: i32, kind: i32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + payload.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    fn error(errno: u32, origin: u8, code: u8, range: (u32, u32)) -> Vec<u8> {
        let mut bytes = errno.to_ne_bytes().to_vec();
        bytes.extend([origin, 0, code, 0]);
        bytes.extend(range.0.to_ne_bytes());
        bytes.extend(range.1.to_ne_bytes());
        // The offender's address, which the kernel leaves empty.
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn a_completion_of_either_family_is_read() {
        let payload = error(0, 5, 1, (3, 9));
        let expected = Notification { first: 3, last: 9, pages: Pages::Copied };
        let ipv4 = control(libc::SOL_IP, libc::IP_RECVERR, &payload);
        assert_eq!(parse(&ipv4, Family::Ipv4), Ok(expected));
        let ipv6 = control(libc::SOL_IPV6, libc::IPV6_RECVERR, &payload);
        assert_eq!(parse(&ipv6, Family::Ipv6), Ok(expected));
        parse(&ipv6, Family::Ipv4).expect_err("wrong family");
    }

    #[test]
    fn the_code_tells_whether_the_pages_were_shared() {
        let bytes = control(libc::SOL_IP, libc::IP_RECVERR, &error(0, 5, 0, (0, 0)));
        assert_eq!(parse(&bytes, Family::Ipv4).map(|n| n.pages), Ok(Pages::Shared));
        let bytes = control(libc::SOL_IP, libc::IP_RECVERR, &error(0, 5, 2, (0, 0)));
        let error = parse(&bytes, Family::Ipv4).expect_err("no such code");
        assert_eq!(error, NotificationError::Foreign { origin: 5, errno: 0, code: 2 });
    }

    #[test]
    fn other_control_messages_are_passed_over() {
        let mut bytes = control(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[1; 13]);
        bytes.extend(control(libc::SOL_IP, libc::IP_TTL, &[64, 0, 0, 0]));
        bytes.extend(control(libc::SOL_IP, libc::IP_RECVERR, &error(0, 5, 1, (7, 7))));
        assert_eq!(parse(&bytes, Family::Ipv4).map(|n| n.first), Ok(7));
    }

    #[test]
    fn an_icmp_error_is_no_completion() {
        let refused = Errno::CONNREFUSED.raw_os_error().cast_unsigned();
        let bytes = control(libc::SOL_IP, libc::IP_RECVERR, &error(refused, 2, 1, (0, 0)));
        let error = parse(&bytes, Family::Ipv4).expect_err("ICMP");
        assert_eq!(error.to_string(), "it is no zerocopy completion: origin `2`, errno `111`, code `1`");
    }

    #[test]
    fn a_completion_with_an_errno_is_refused() {
        let bytes = control(libc::SOL_IP, libc::IP_RECVERR, &error(5, 5, 1, (0, 0)));
        parse(&bytes, Family::Ipv4).expect_err("errno 5");
    }

    #[test]
    fn an_empty_control_part_lacks_the_completion() {
        let error = parse(&[], Family::Ipv4).expect_err("empty");
        assert_eq!(error, NotificationError::Missing { level: 0, kind: 11 });
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let good = control(libc::SOL_IP, libc::IP_RECVERR, &error(0, 5, 1, (0, 0)));
        for length in [0, 1, HEADER - 1, good.len() + 1, usize::MAX] {
            let mut bytes = good.clone();
            bytes[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            let error = parse(&bytes, Family::Ipv4).expect_err("bad length");
            assert_eq!(error, NotificationError::Length { at: 0, length, left: good.len() });
        }
        let short = control(libc::SOL_IP, libc::IP_RECVERR, &[0; EXTENDED_ERROR - 1]);
        parse(&short, Family::Ipv4).expect_err("a cut extended error");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, Family::Ipv6);
        }

        #[test]
        fn no_prefix_of_a_notification_is_one(cut in 0_usize..48) {
            let whole = control(libc::SOL_IP, libc::IP_RECVERR, &error(0, 5, 1, (1, 2)));
            prop_assert_eq!(whole.len(), 48);
            parse(&whole[..cut], Family::Ipv4).expect_err("cut");
        }

        #[test]
        fn every_range_is_read_as_written(first: u32, last: u32) {
            let bytes = control(libc::SOL_IPV6, libc::IPV6_RECVERR, &error(0, 5, 1, (first, last)));
            let expected = Notification { first, last, pages: Pages::Copied };
            prop_assert_eq!(parse(&bytes, Family::Ipv6), Ok(expected));
        }
    }
}
