//! A QMP client of a few commands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// A connection that has been negotiated.
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a monitor");
        let mut monitor = Self { stream: BufReader::new(stream) };
        let greeting = monitor.read();
        assert_eq!(greeting["QMP"]["version"]["qemu"]["major"], 8, "{greeting}");
        let early = monitor.command("query-status", Value::Null);
        assert_eq!(early["error"]["class"], "CommandNotFound", "{early}");
        assert_eq!(monitor.command("qmp_capabilities", Value::Null)["return"], json!({}));
        monitor
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    fn command(&mut self, name: &str, arguments: Value) -> Value {
        let mut request = json!({"execute": name, "id": name});
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).expect("sent");
        let reply = self.read();
        assert_eq!(reply["id"], name, "{reply}");
        reply
    }

    pub(crate) fn status(&mut self) -> String {
        let reply = self.command("query-status", Value::Null);
        reply["return"]["status"].as_str().expect("a status").to_owned()
    }

    pub(crate) fn instruction_pointer(&mut self) -> String {
        let reply = self.command("human-monitor-command", json!({"command-line": "info registers -a"}));
        let text = reply["return"].as_str().expect("text");
        let (_, after) = text.split_once("RIP=").expect("a register");
        after[..16].to_owned()
    }

    /// Looks at the instruction pointer until it stays where it is.
    pub(crate) fn wait_until_frozen(&mut self) {
        let mut last = self.instruction_pointer();
        loop {
            let next = self.instruction_pointer();
            if next == last {
                return;
            }
            last = next;
        }
    }

    pub(crate) fn inject_nmi(&mut self) {
        assert_eq!(self.command("inject-nmi", Value::Null)["return"], json!({}));
    }

    pub(crate) fn quit(&mut self) {
        let unknown = self.command("frobnicate", Value::Null);
        assert_eq!(unknown["error"]["desc"], "The command frobnicate has not been found");
        assert_eq!(self.command("quit", Value::Null)["return"], json!({}));
        assert_eq!(self.read()["event"], "SHUTDOWN");
    }
}
