//! Blocking netlink: one request, and its answers, at a time.
//!
//! Messages are those of the rust-netlink packet crates. A connection belongs
//! to the network namespace in which its thread was when it was made, and keeps
//! that namespace alive.

pub(crate) mod ip;
pub(crate) mod link;
mod listen;
pub(crate) mod nft;
pub(crate) mod nsid;
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

pub(crate) use listen::{Listener, Notice};
use reply::Reply;

use crate::context::Stop;

/// A connection of the routing family.
pub(crate) type Route = Connection<RouteNetlinkMessage>;

/// A socket for requests of one family.
pub(crate) struct Connection<M> {
    socket: Socket,
    sequence: u32,
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
        Ok(Self { socket, sequence: 0, message: std::marker::PhantomData })
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
            self.send(message.clone(), NLM_F_DUMP)?;
            let mut answers = Vec::new();
            if self.collect(&mut answers)? == Consistency::Whole {
                return Ok(answers);
            }
        }
        Err(RequestError::Interrupted(DUMP_ATTEMPTS))
    }

    /// Sends messages that belong together in one piece, and takes as many
    /// acknowledgements as ask for one (`NLM_F_ACK`): a batch of nf_tables.
    ///
    /// # Errors
    ///
    /// The kernel's first refusal.
    pub(crate) fn batch(&mut self, messages: Vec<(M, u16)>) -> Result<(), RequestError> {
        let mut bytes = Vec::new();
        let mut asked = Vec::new();
        for (message, flags) in messages {
            let sequence = self.next();
            if flags & NLM_F_ACK != 0 {
                asked.push(sequence);
            }
            bytes.extend(encode(message, flags | NLM_F_REQUEST, sequence));
        }
        self.socket.send(&bytes, 0).map_err(RequestError::Socket)?;
        for sequence in asked {
            self.sequence = sequence;
            self.collect(&mut Vec::new())?;
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
            let bytes = receive(&self.socket)?;
            for reply in reply::split(&bytes, self.sequence) {
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
enum Consistency {
    Whole,
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

fn receive(socket: &Socket) -> Result<Vec<u8>, RequestError> {
    let mut buffer = Vec::with_capacity(RECEIVE);
    loop {
        match socket.recv(&mut buffer, 0) {
            Ok(_) => return Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => buffer.clear(),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(RequestError::Lost),
            Err(error) => return Err(RequestError::Socket(error)),
        }
    }
}
