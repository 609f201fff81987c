//! Blocking netlink: one request, and its answers, at a time.
//!
//! Messages are those of the rust-netlink packet crates. A connection belongs
//! to the network namespace in which its thread was when it was made, and keeps
//! that namespace alive.

pub(crate) mod ip;
pub(crate) mod link;
mod listen;
pub(crate) mod neigh;
pub(crate) mod nft;
pub(crate) mod nsid;
pub(crate) mod raw;
mod reply;
pub(crate) mod xfrm;

use std::fmt;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

pub(crate) use listen::{Listener, Notice, Reach};
use reply::{Reply, Span};

use crate::context::Stop;
use crate::ffi;

/// A connection of the routing family.
pub(crate) type Route = Connection<RouteNetlinkMessage>;

/// A socket for requests of one family.
pub(crate) struct Connection<M> {
    socket: Socket,
    /// Of the last message sent.
    sequence: u32,
    /// Room for one datagram, kept from one to the next.
    buffer: Vec<u8>,
    message: std::marker::PhantomData<fn(M) -> M>,
}

/// The kernel's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The number.
    pub(crate) errno: Errno,
    /// Its words (extended acknowledgement), if it had any.
    pub(crate) text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{} ({text})", self.errno),
            None => self.errno.fmt(f),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The kernel refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not be sent, or nothing could be received.
    #[error("the netlink socket failed: {0}")]
    Socket(io::Error),
    /// The kernel dropped messages for want of room in the socket (`ENOBUFS`).
    #[error("netlink messages were lost: the socket's buffer was full")]
    Lost,
    /// A dump was interrupted by a change (`NLM_F_DUMP_INTR`) too often.
    #[error("a netlink dump was interrupted by changes {0} times")]
    Interrupted(u32),
    /// An answer that cannot be understood.
    #[error("a netlink answer cannot be understood: {0}")]
    Garbled(String),
}

impl RequestError {
    /// The kernel's error number, if it was the kernel who refused.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }

    /// As the end of a test: the kernel's refusal is its failure, all else is
    /// the harness's error. `what` is the request in words.
    pub(crate) fn stop(&self, what: &str) -> Stop {
        match self {
            Self::Refused(refusal) => Stop::Fail(format!("{what} was refused: {refusal}")),
            other => Stop::Error(format!("{what}: {other}")),
        }
    }
}

/// How often a dump is begun again because the tables changed meanwhile.
const DUMP_ATTEMPTS: u32 = 100;

/// Larger than any message of the kernel: dumps come in pieces of at most 32 KiB
/// (`netlink_recvmsg`, net/netlink/af_netlink.c).
const RECEIVE: usize = 65_536;

/// Bytes of answers that may wait: thousands of acknowledgements, of which each
/// takes about 800 with the kernel's bookkeeping.
const ANSWERS: u32 = 4 << 20;

impl<M: NetlinkSerializable + NetlinkDeserializable + Clone + fmt::Debug> Connection<M> {
    /// Opens one in the namespace of the calling thread. `protocol` is a number
    /// of `netlink_sys::protocols`.
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT` where the kernel lacks the family.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The error without the request, and the kernel's words with it.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // The answers to a large batch wait all at once. Without the right to
        // it the system's limit has to do; what does not fit is noticed.
        let _ = ffi::force_receive_buffer(&socket, ANSWERS);
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(RECEIVE),
            message: std::marker::PhantomData,
        })
    }

    /// Lets the kernel look at every attribute of a request for something: it
    /// refuses those that it would pass over, and heeds filters of dumps
    /// (`NETLINK_GET_STRICT_CHK`).
    pub(crate) fn strict(self) -> io::Result<Self> {
        self.socket.set_netlink_get_strict_chk(true)?;
        Ok(self)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn act(&mut self, message: M, flags: u16) -> Result<(), RequestError> {
        self.send(message, flags | NLM_F_ACK)?;
        let mut nothing = Vec::new();
        self.collect(&mut nothing).map(|_| ())
    }

    /// Asks for one thing: the answers, of which there is one as a rule.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn get(&mut self, message: M) -> Result<Vec<M>, RequestError> {
        // With the acknowledgement the end of the answers is known.
        self.send(message, NLM_F_ACK)?;
        let mut answers = Vec::new();
        self.collect(&mut answers)?;
        Ok(answers)
    }

    /// Asks for a whole table, again when it changed meanwhile.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn dump(&mut self, message: &M) -> Result<Vec<M>, RequestError> {
        for _ in 0..DUMP_ATTEMPTS {
            let (answers, consistency) = self.dump_once(message.clone())?;
            if consistency == Consistency::Whole {
                return Ok(answers);
            }
        }
        Err(RequestError::Interrupted(DUMP_ATTEMPTS))
    }

    /// Asks for a whole table, and says whether it changed meanwhile.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn dump_once(&mut self, message: M) -> Result<(Vec<M>, Consistency), RequestError> {
        self.send(message, NLM_F_DUMP)?;
        let mut answers = Vec::new();
        let consistency = self.collect(&mut answers)?;
        Ok((answers, consistency))
    }

    /// Sends messages that belong together in one piece, and takes as many
    /// acknowledgements as ask for one (`NLM_F_ACK`): a batch of nf_tables.
    ///
    /// # Errors
    ///
    /// The kernel's first refusal, also of a message that asked for no
    /// acknowledgement as long as one that did is still open.
    pub(crate) fn batch(&mut self, messages: Vec<(M, u16)>) -> Result<(), RequestError> {
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut asked = 0_usize;
        for (message, flags) in messages {
            asked += usize::from(flags & NLM_F_ACK != 0);
            let sequence = self.next();
            bytes.extend(encode(message, flags | NLM_F_REQUEST, sequence));
        }
        self.socket.send(&bytes, 0).map_err(RequestError::Socket)?;
        let answers_to = Span { first, last: self.sequence };
        while asked > 0 {
            for reply in reply::split::<M>(receive(&self.socket, &mut self.buffer)?, answers_to) {
                match reply.map_err(RequestError::Garbled)? {
                    Reply::Message { .. } => {}
                    // One that was not asked for is no news.
                    Reply::End { .. } => asked = asked.saturating_sub(1),
                    Reply::Refused(refusal) => return Err(RequestError::Refused(refusal)),
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&mut self, message: M, flags: u16) -> Result<(), RequestError> {
        let sequence = self.next();
        let bytes = encode(message, flags | NLM_F_REQUEST, sequence);
        self.socket.send(&bytes, 0).map(|_| ()).map_err(RequestError::Socket)
    }

    /// Takes the answers of the last request up to their end.
    fn collect(&mut self, answers: &mut Vec<M>) -> Result<Consistency, RequestError> {
        let mut consistency = Consistency::Whole;
        loop {
            let answers_to = Span { first: self.sequence, last: self.sequence };
            for reply in reply::split(receive(&self.socket, &mut self.buffer)?, answers_to) {
                match reply.map_err(RequestError::Garbled)? {
                    Reply::Message { message, interrupted } => {
                        if interrupted {
                            consistency = Consistency::Changed;
                        }
                        answers.push(message);
                    }
                    Reply::End { interrupted: true } => return Ok(Consistency::Changed),
                    Reply::End { interrupted: false } => return Ok(consistency),
                    Reply::Refused(refusal) => return Err(RequestError::Refused(refusal)),
                }
            }
        }
    }
}

impl Route {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn here() -> Result<Self, Stop> {
        Self::open(NETLINK_ROUTE).map_err(|error| Stop::Error(format!("socket(NETLINK_ROUTE): {error}")))
    }
}

impl<M> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Whether a dump is one state of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// It is.
    Whole,
    /// The table changed on the way (`NLM_F_DUMP_INTR`).
    Changed,
}

fn encode<M: NetlinkSerializable>(message: M, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    packet.finalize();
    // Messages that follow in a batch begin at a multiple of four.
    let mut bytes = vec![0; packet.buffer_len().next_multiple_of(4)];
    packet.serialize(&mut bytes);
    bytes
}

/// Takes one datagram, waiting for it.
fn receive<'a>(socket: &Socket, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    loop {
        buffer.clear();
        // With MSG_TRUNC the length is that of the datagram, whatever fits.
        match socket.recv(buffer, libc::MSG_TRUNC) {
            Ok(length) if length > buffer.len() => {
                return Err(RequestError::Garbled(format!(
                    "a datagram of {length} bytes does not fit into {}",
                    buffer.len()
                )));
            }
            Ok(_) => return Ok(buffer),
            Err(error) => interpret(error)?,
        }
    }
}

/// What an error of a receive means; nothing if it is to be tried again.
fn interpret(error: io::Error) -> Result<(), RequestError> {
    match error.raw_os_error() {
        Some(libc::EINTR) => Ok(()),
        Some(libc::ENOBUFS) => Err(RequestError::Lost),
        _ => Err(RequestError::Socket(error)),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

    use super::*;

    fn nsid(id: i32) -> RouteNetlinkMessage {
        let mut message = NsidMessage::default();
        message.attributes = vec![NsidAttribute::Id(id)];
        RouteNetlinkMessage::GetNsId(message)
    }

    #[test]
    fn a_lost_message_is_an_error_of_the_harness_and_a_refusal_is_the_kernels() {
        let stop = RequestError::Lost.stop("RTM_GETLINK");
        let text = "RTM_GETLINK: netlink messages were lost: the socket's buffer was full";
        assert_eq!(stop, Stop::Error(text.into()));
        let refusal = Refusal { errno: Errno::NODEV, text: None };
        assert!(matches!(RequestError::Refused(refusal).stop("RTM_DELLINK"), Stop::Fail(_)));
    }

    #[test]
    fn a_full_buffer_is_told_from_other_errors_of_a_socket() {
        let of = |code| interpret(io::Error::from_raw_os_error(code));
        assert!(matches!(of(libc::ENOBUFS), Err(RequestError::Lost)));
        assert!(matches!(of(libc::EINTR), Ok(())));
        assert!(matches!(of(libc::EBADF), Err(RequestError::Socket(_))));
    }

    #[test]
    fn a_message_says_its_length_and_its_number() {
        let bytes = encode(nsid(7), NLM_F_REQUEST | NLM_F_ACK, 5);
        let mut expected = vec![28, 0, 0, 0, 90, 0, 5, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0, 0, 0, 0, 8, 0, 1, 0, 7, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_kernel_answers_and_refuses_on_one_connection() {
        // Requests for information need no privilege.
        let mut route = Route::here().expect("a socket");
        let lo = link::find(&mut route, "lo").expect("lo");
        assert_eq!((lo.header.index, link::name(&lo)), (1, Some("lo")));
        let error = link::find(&mut route, "no-such-device").expect_err("missing");
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert!(link::all(&mut route).expect("dump").iter().any(|link| link.header.index == 1));
        assert_eq!(
            nsid::number(&mut route, nsid::Peer::Id(-1)).expect_err("no id").errno(),
            Some(Errno::NOENT)
        );
    }

    #[test]
    fn a_batch_ends_with_the_acknowledgement_of_its_last_message() {
        let mut route = Route::here().expect("a socket");
        let lo = || {
            let mut message = netlink_packet_route::link::LinkMessage::default();
            message.header.index = 1;
            RouteNetlinkMessage::GetLink(message)
        };
        route.batch(vec![(lo(), 0), (lo(), NLM_F_ACK)]).expect("both are answered");
        // One that fails and did not ask is told all the same.
        let error = route.batch(vec![(nsid(-1), 0), (lo(), NLM_F_ACK)]).expect_err("no id");
        assert_eq!(error.errno(), Some(Errno::NOENT));
        // What is left of it does not disturb the next request.
        assert_eq!(link::index(&mut route, "lo").expect("lo"), 1);
    }
}
