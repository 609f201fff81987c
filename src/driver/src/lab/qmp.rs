//! A client of QEMU's monitor (QMP), for questions about a guest that is silent.
//!
//! QEMU may be stuck itself: nothing here waits, and whoever asks sets the
//! limit. What it says has a bound, whatever it is. Does not know why it asks.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest line that is read, in bytes. Registers are 5 KB for each CPU.
const LONGEST: usize = 1 << 20;

/// Most that is taken out of the socket at once, in pieces of 64 KiB.
const PIECES: u32 = 32;

/// Id of the message that opens the talk.
const OPENING: u64 = 0;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Whether the guest's CPUs are let run.
    Status,
    /// Registers of all of them.
    Registers,
    /// An NMI to all of them.
    Nmi,
}

impl Query {
    /// Name of the command, and its arguments.
    fn command(self) -> Value {
        match self {
            Self::Status => json!({ "execute": "query-status" }),
            Self::Registers => json!({
                "execute": "human-monitor-command",
                "arguments": { "command-line": "info registers -a" },
            }),
            Self::Nmi => json!({ "execute": "inject-nmi" }),
        }
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The state, the registers, or nothing.
    Said(String),
    /// QEMU is there and will not do it.
    Refused(String),
    /// Nobody is there, or somebody who does not speak QMP.
    Gone(String),
}

/// The talk without its socket.
#[derive(Debug, Default)]
struct Talk {
    line: Vec<u8>,
    opened: bool,
    /// Number of the last question; the answer to any other is stale.
    last: u64,
    asked: Option<Query>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<Complaint>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Complaint {
    desc: String,
}

impl Talk {
    /// Bytes that put the question. The greeting need not be waited for: QEMU
    /// takes commands in order, the first of which has to open the talk.
    fn ask(&mut self, query: Query) -> Vec<u8> {
        let mut text = String::new();
        if !std::mem::replace(&mut self.opened, true) {
            text = format!("{}\n", json!({ "execute": "qmp_capabilities", "id": OPENING }));
        }
        self.last += 1;
        self.asked = Some(query);
        let mut command = query.command();
        command["id"] = self.last.into();
        (text + &format!("{command}\n")).into_bytes()
    }

    /// Takes bytes; the answer if they complete it.
    fn hear(&mut self, bytes: &[u8]) -> Option<Answer> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() > LONGEST {
                return self.answer(Answer::Gone(format!("it said more than {LONGEST} bytes in one line")));
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if let Some(answer) = self.line(&line) {
                    return self.answer(answer);
                }
            }
        }
        None
    }

    fn answer(&mut self, answer: Answer) -> Option<Answer> {
        self.asked.take().map(|_| answer)
    }

    fn line(&self, line: &[u8]) -> Option<Answer> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let Ok(message) = serde_json::from_slice::<Message>(line) else {
            return Some(Answer::Gone("it does not speak QMP".to_owned()));
        };
        // Greeting and events have no id.
        match (message.id?, message.returned, message.error) {
            (OPENING, _, None) => None,
            (id, ..) if id != OPENING && id != self.last => None,
            (_, _, Some(error)) => Some(Answer::Refused(error.desc)),
            (_, Some(value), None) => Some(match self.asked? {
                Query::Status => text_of(&value["status"]),
                Query::Registers => text_of(&value),
                Query::Nmi => Answer::Said(String::new()),
            }),
            (_, None, None) => Some(Answer::Gone("it does not speak QMP".to_owned())),
        }
    }
}

fn text_of(value: &Value) -> Answer {
    match value.as_str() {
        Some(text) => Answer::Said(text.to_owned()),
        None => Answer::Gone("its answer is not what QEMU would say".to_owned()),
    }
}

/// A connection to the monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: UnixStream,
    talk: Talk,
}

impl Monitor {
    /// Connects. Does not wait, also where QEMU does not look at its socket.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self { stream: UnixStream::from(socket), talk: Talk::default() })
    }

    /// Puts a question.
    ///
    /// # Errors
    ///
    /// Fails when QEMU is gone, or has not read what was asked before.
    pub(super) fn ask(&mut self, query: Query) -> io::Result<()> {
        let bytes = self.talk.ask(query);
        self.stream.write_all(&bytes)
    }

    /// Takes what was said; the answer if there is one now.
    pub(super) fn receive(&mut self) -> Option<Answer> {
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..PIECES {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.talk.answer(Answer::Gone("it closed the connection".to_owned())),
                Ok(n) => {
                    if let Some(answer) = self.talk.hear(&buffer[..n]) {
                        return Some(answer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return self.talk.answer(Answer::Gone(error.to_string())),
            }
        }
        None
    }

    /// Whether an answer is still to come.
    pub(super) fn is_asked(&self) -> bool {
        self.talk.asked.is_some()
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    const GREETING: &[u8] =
        b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, \"capabilities\": [\"oob\"]}}\r\n\
          {\"return\": {}, \"id\": 0}\r\n";

    fn asked(query: Query) -> Talk {
        let mut talk = Talk::default();
        talk.ask(query);
        assert_eq!(talk.hear(GREETING), None);
        talk
    }

    fn said(text: &str) -> Option<Answer> {
        Some(Answer::Said(text.to_owned()))
    }

    #[test]
    fn the_first_question_opens_the_talk_and_later_ones_do_not() {
        let mut talk = Talk::default();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(
            text(talk.ask(Query::Status)),
            "{\"execute\":\"qmp_capabilities\",\"id\":0}\n{\"execute\":\"query-status\",\"id\":1}\n"
        );
        assert_eq!(text(talk.ask(Query::Nmi)), "{\"execute\":\"inject-nmi\",\"id\":2}\n");
    }

    #[test]
    fn an_answer_is_taken_out_of_events_and_pieces() {
        let mut talk = asked(Query::Status);
        assert_eq!(
            talk.hear(b"{\"event\": \"NIC_RX_FILTER_CHANGED\", \"data\": {}}\r\n{\"return\": {\"sta"),
            None
        );
        assert_eq!(talk.hear(b"tus\": \"running\", \"running\": true}, \"id\": 1}\r\n"), said("running"));
    }

    #[test]
    fn registers_are_text_and_an_nmi_has_no_answer_but_that_it_was_sent() {
        let mut talk = asked(Query::Registers);
        assert_eq!(talk.hear(b"{\"return\": \"\\r\\nCPU#0\\r\\n\", \"id\": 1}\n"), said("\r\nCPU#0\r\n"));
        talk.ask(Query::Nmi);
        assert_eq!(talk.hear(b"{\"return\": {}, \"id\": 2}\n"), said(""));
    }

    #[test]
    fn the_answer_to_an_earlier_question_is_not_taken_for_this_one() {
        let mut talk = asked(Query::Status);
        talk.ask(Query::Nmi);
        assert_eq!(talk.hear(b"{\"return\": {\"status\": \"running\"}, \"id\": 1}\n"), None);
        assert_eq!(talk.hear(b"{\"return\": {}, \"id\": 2}\n"), said(""));
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_qemu() {
        let mut talk = asked(Query::Nmi);
        let refusal = b"{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"machine does not provide NMIs\"}}\n";
        assert_eq!(talk.hear(refusal), Some(Answer::Refused("machine does not provide NMIs".to_owned())));
    }

    #[test]
    fn whoever_does_not_speak_qmp_is_nobody() {
        for text in ["hello\n", "[1]\n", "{\"return\": 7, \"id\": 1}\n", "{\"id\": 1}\n"] {
            let answer = asked(Query::Status).hear(text.as_bytes());
            assert!(matches!(answer, Some(Answer::Gone(_))), "{text}: {answer:?}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut talk = asked(Query::Status);
        let piece = [b'x'; 1 << 16];
        let answers: Vec<_> = (0..64).filter_map(|_| talk.hear(&piece)).collect();
        assert!(matches!(answers.as_slice(), [Answer::Gone(_)]), "{answers:?}");
        assert!(talk.line.len() <= LONGEST);
    }

    #[test]
    fn a_monitor_that_is_not_looked_after_is_connected_to_without_waiting() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("monitor");
        assert!(Monitor::connect(&path).is_err(), "nobody listens");
        let listener = UnixListener::bind(&path).expect("a listener");
        let mut monitor = Monitor::connect(&path).expect("a connection");
        monitor.ask(Query::Status).expect("room in the socket");
        assert_eq!(monitor.receive(), None);
        let (mut qemu, _) = listener.accept().expect("a client");
        qemu.write_all(b"{\"return\": {\"status\": \"paused\"}, \"id\": 1}\n").expect("write");
        assert_eq!(monitor.receive(), said("paused"));
        monitor.ask(Query::Status).expect("ask");
        drop(qemu);
        assert!(matches!(monitor.receive(), Some(Answer::Gone(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_talk_panic_or_answer_twice(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut talk = asked(Query::Registers);
            let answers = pieces.iter().filter(|piece| talk.hear(piece).is_some()).count();
            prop_assert!(answers <= 1);
        }
    }
}
