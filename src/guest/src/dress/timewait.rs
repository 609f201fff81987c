//! Connections that were closed a moment ago and wait for late packets.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::context::Stop;
use crate::{clock, ffi};

/// Pause between two looks.
const POLL: Duration = Duration::from_micros(200);

/// Looks before giving up: ten seconds and more. Closing takes some packets over
/// `lo`, and one that is dropped on a busy machine is sent again only after 0.2,
/// 0.4 or 0.8 s.
const LOOKS: u32 = 50_000;

/// Leaves at least that many sockets in TIME_WAIT in the namespace of the calling thread.
pub(super) fn leave(count: usize) -> Result<(), Stop> {
    let failed =
        |what: &str, error: io::Error| Stop::Fail(format!("{what} in a fresh network namespace: {error}"));
    let listener = {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .map_err(|error| failed("a socket", error))?;
        ffi::bring_up(&socket, "lo").map_err(|error| failed("`lo` up", error))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("a listener", error))?
    };
    let address = listener.local_addr().map_err(|error| failed("the listener's address", error))?;
    for _ in 0..count {
        let client = TcpStream::connect(address).map_err(|error| failed("a connection", error))?;
        let (server, _) = listener.accept().map_err(|error| failed("a connection", error))?;
        // Who closes first has to wait; both, where the second one has not heard of
        // it yet.
        drop(client);
        drop(server);
    }
    for _ in 0..LOOKS {
        let text = std::fs::read_to_string("/proc/thread-self/net/sockstat")
            .map_err(|error| failed("/proc/thread-self/net/sockstat", error))?;
        if waiting(&text).is_some_and(|waiting| waiting >= count) {
            return Ok(());
        }
        clock::poll_interval(POLL);
    }
    Err(Stop::Fail(format!("{count} connections were closed, and not all of them are in TIME_WAIT")))
}

/// Sockets in TIME_WAIT: `TCP: inuse 1 orphan 0 tw 8 alloc 3 mem 0`.
fn waiting(sockstat: &str) -> Option<usize> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_sockets_are_those_of_tcp() {
        let text = "sockets: used 9\nTCP: inuse 1 orphan 0 tw 8 alloc 3 mem 0\nUDP: inuse 0 mem 0\n";
        assert_eq!(waiting(text), Some(8));
        assert_eq!(waiting("UDP: inuse 0 tw 3\n"), None);
    }
}
