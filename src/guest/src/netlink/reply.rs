//! Takes apart what one datagram of a netlink socket holds. Pure.

use netlink_packet_core::{NetlinkDeserializable, NetlinkMessage, NetlinkPayload};
use rustix::io::Errno;

use super::Refusal;

/// One message out of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply<M> {
    /// A part of the answer.
    Message {
        /// What the kernel says.
        message: M,
        /// The table has changed since the dump began.
        interrupted: bool,
    },
    /// The request is done.
    End {
        /// As above.
        interrupted: bool,
    },
    /// The request is refused.
    Refused(Refusal),
}

/// Size of `struct nlmsghdr` (include/uapi/linux/netlink.h).
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The request's payload does not follow the error.
const NLM_F_CAPPED: u16 = 0x100;
/// Attributes follow the error.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const ATTRIBUTE_TEXT: u16 = 1;

/// Numbers of the requests that are asked about, both ends included. They
/// wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Of the first one.
    pub(super) first: u32,
    /// Of the last one.
    pub(super) last: u32,
}

impl Span {
    fn contains(self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.first) <= self.last.wrapping_sub(self.first)
    }
}

/// The messages of a datagram that answer one of these requests; others are of
/// an earlier request that was given up.
pub(super) fn split<M: NetlinkDeserializable>(
    bytes: &[u8],
    requests: Span,
) -> impl Iterator<Item = Result<Reply<M>, String>> {
    Frames { rest: bytes }.filter_map(move |frame| match frame {
        Ok(frame) if !requests.contains(frame.sequence) => None,
        Ok(frame) => Some(frame.reply()),
        Err(error) => Some(Err(error)),
    })
}

/// One message, still in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// Header included.
    bytes: &'a [u8],
}

/// Iterates over the messages of a datagram.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Of a whole datagram.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.rest);
        let length = u32_at(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let (Some(length), Some(kind), Some(flags), Some(sequence)) =
            (length, u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8))
        else {
            return Some(Err(format!("{} bytes are too few for a header", bytes.len())));
        };
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else {
            return Some(Err(format!("a message says it has {length} bytes, {} are there", bytes.len())));
        };
        self.rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Frame { kind, flags, sequence, bytes: message }))
    }
}

impl Frame<'_> {
    /// What the message means.
    pub(super) fn reply<M: NetlinkDeserializable>(self) -> Result<Reply<M>, String> {
        let interrupted = self.flags & NLM_F_DUMP_INTR != 0;
        match self.kind {
            NLMSG_DONE => self.done(interrupted),
            NLMSG_ERROR => self.acknowledgement(interrupted),
            _ => {
                let parsed = NetlinkMessage::<M>::deserialize(self.bytes)
                    .map_err(|error| format!("type {}: {error}", self.kind))?;
                match parsed.payload {
                    NetlinkPayload::InnerMessage(message) => Ok(Reply::Message { message, interrupted }),
                    _ => Err(format!("a message of type {} has no content", self.kind)),
                }
            }
        }
    }

    /// A dump that fails half way says so here.
    fn done<M>(self, interrupted: bool) -> Result<Reply<M>, String> {
        match u32_at(self.bytes, HEADER).map(u32::cast_signed) {
            // Here the attributes follow the number at once (`netlink_dump_done`).
            Some(code) if code < 0 => {
                let text = self.text_from(HEADER + 4);
                Ok(Reply::Refused(Refusal { errno: errno(code)?, text }))
            }
            _ => Ok(Reply::End { interrupted }),
        }
    }

    fn acknowledgement<M>(self, interrupted: bool) -> Result<Reply<M>, String> {
        let code = u32_at(self.bytes, HEADER).ok_or("an error without a number")?.cast_signed();
        if code == 0 {
            return Ok(Reply::End { interrupted });
        }
        Ok(Reply::Refused(Refusal { errno: errno(code)?, text: self.text() }))
    }

    /// The kernel's words.
    fn text(self) -> Option<String> {
        // The header of the request follows the number, then its payload unless
        // it was left out.
        let mut at = HEADER + 4 + HEADER;
        if self.flags & NLM_F_CAPPED == 0 {
            let request = usize::try_from(u32_at(self.bytes, HEADER + 4)?).ok()?;
            at = HEADER + 4 + request.checked_next_multiple_of(4)?.max(HEADER);
        }
        self.text_from(at)
    }

    /// The kernel's words, among the attributes that begin there.
    fn text_from(self, mut at: usize) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        loop {
            let length = usize::from(u16_at(self.bytes, at)?);
            let kind = u16_at(self.bytes, at.checked_add(2)?)?;
            if length < 4 {
                return None;
            }
            if kind == ATTRIBUTE_TEXT {
                let text = self.bytes.get(at + 4..at + length)?;
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                return Some(String::from_utf8_lossy(text).into_owned());
            }
            at += length.next_multiple_of(4);
        }
    }
}

fn errno(code: i32) -> Result<Errno, String> {
    // `MAX_ERRNO`, include/linux/err.h. Anything else makes no `Errno`.
    match code.checked_neg() {
        Some(number @ 1..=4095) => Ok(Errno::from_raw_os_error(number)),
        _ => Err(format!("{code} is no error number")),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use proptest::prelude::*;

    use super::*;

    type R = Reply<RouteNetlinkMessage>;

    fn frame(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).expect("short");
        let mut bytes = [length.to_ne_bytes()].concat();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn all(bytes: &[u8]) -> Vec<Result<R, String>> {
        split(bytes, Span { first: 7, last: 7 }).collect()
    }

    #[test]
    fn an_error_of_zero_is_the_acknowledgement() {
        let bytes = frame(NLMSG_ERROR, NLM_F_CAPPED, 7, &[0; 20]);
        assert_eq!(all(&bytes), [Ok(R::End { interrupted: false })]);
    }

    #[test]
    fn a_refusal_has_the_kernels_words() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        let text = b"The interface netns is immutable.\0";
        payload.extend(u16::try_from(4 + text.len()).expect("short").to_ne_bytes());
        payload.extend(ATTRIBUTE_TEXT.to_ne_bytes());
        payload.extend(text);
        let bytes = frame(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 7, &payload);
        let [Ok(R::Refused(refusal))] = &all(&bytes)[..] else { panic!("a refusal") };
        assert_eq!(refusal.errno, Errno::INVAL);
        assert_eq!(refusal.text.as_deref(), Some("The interface netns is immutable."));
    }

    #[test]
    fn answers_of_another_request_are_left_out() {
        let bytes = [frame(NLMSG_ERROR, 0, 6, &[0; 4]), frame(NLMSG_DONE, 0, 7, &[0; 4])].concat();
        assert_eq!(all(&bytes), [Ok(R::End { interrupted: false })]);
    }

    #[test]
    fn a_dump_that_was_interrupted_says_so() {
        let bytes = frame(NLMSG_DONE, NLM_F_DUMP_INTR, 7, &[0; 4]);
        assert_eq!(all(&bytes), [Ok(R::End { interrupted: true })]);
    }

    #[test]
    fn a_number_that_no_error_has_is_garbled() {
        for code in [1, -4096, i32::MIN] {
            let [Err(error)] = &all(&frame(NLMSG_ERROR, 0, 7, &code.to_ne_bytes()))[..] else {
                panic!("garbled")
            };
            assert_eq!(*error, format!("{code} is no error number"));
        }
    }

    #[test]
    fn a_dump_that_fails_at_its_end_is_refused() {
        let bytes = frame(NLMSG_DONE, 0, 7, &(-105_i32).to_ne_bytes());
        assert_eq!(all(&bytes), [Ok(R::Refused(Refusal { errno: Errno::NOBUFS, text: None }))]);
    }

    #[test]
    fn a_dump_that_is_refused_has_the_kernels_words() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        let text = b"Unsupported attribute in dump request\0";
        payload.extend(u16::try_from(4 + text.len()).expect("short").to_ne_bytes());
        payload.extend(ATTRIBUTE_TEXT.to_ne_bytes());
        payload.extend(text);
        let bytes = frame(NLMSG_DONE, NLM_F_ACK_TLVS, 7, &payload);
        let text = Some("Unsupported attribute in dump request".to_owned());
        assert_eq!(all(&bytes), [Ok(R::Refused(Refusal { errno: Errno::INVAL, text }))]);
    }

    #[test]
    fn numbers_of_requests_wrap_around() {
        let span = Span { first: u32::MAX, last: 1 };
        assert!([u32::MAX, 0, 1].iter().all(|sequence| span.contains(*sequence)));
        assert!(![u32::MAX - 1, 2].iter().any(|sequence| span.contains(*sequence)));
    }

    #[test]
    fn a_message_that_is_cut_off_is_garbled() {
        let bytes = frame(NLMSG_DONE, 0, 7, &[0; 4]);
        let [Err(error)] = &all(&bytes[..18])[..] else { panic!("garbled") };
        assert_eq!(error, "a message says it has 20 bytes, 18 are there");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Frames::of(&bytes).count() <= bytes.len());
            let _ = split::<RouteNetlinkMessage>(&bytes, Span { first: 0, last: u32::MAX }).collect::<Vec<_>>();
        }

        #[test]
        fn errors_of_any_shape_are_read_without_a_panic(
            payload in proptest::collection::vec(any::<u8>(), 4..80), flags: u16,
        ) {
            prop_assert_eq!(all(&frame(NLMSG_ERROR, flags, 7, &payload)).len(), 1);
        }
    }
}
