//! The init of virtme-ng, where it comes to start nothing.
//!
//! Without udev its ports have no names. From 1.42 on it says so and starts its script
//! all the same; 1.25 says the same words, greets, and waits in a shell that nobody asked
//! for (both seen by running them).

/// What it says first, in every version.
const NO_PORTS: &str = "cannot find script I/O ports";

/// What a version says that goes on.
const GOES_ON: &str = "starting script";

/// A line of the greeting that stands before a shell.
const GREETING: &str = "__   _(_)_ __| |_ _ __ ___";

/// How it stands with a boot of virtme-ng.
#[derive(Debug, Default)]
pub(super) struct Init {
    without_ports: bool,
}

impl Init {
    /// Takes a message of the kernel log.
    pub(super) fn message(&mut self, message: &str) {
        let Some(words) = message.strip_prefix("virtme-ng-init: ") else { return };
        if words.contains(NO_PORTS) {
            self.without_ports = true;
        } else if words.starts_with(GOES_ON) {
            self.without_ports = false;
        }
    }

    /// Takes a line that is not the kernel's; says why nothing will be started, and what
    /// helps.
    pub(super) fn foreign(&mut self, line: &str) -> Option<String> {
        if !line.contains(GREETING) || !std::mem::take(&mut self.without_ports) {
            return None;
        }
        Some(
            "the init of virtme-ng cannot find its ports, so that it starts nothing\n\
             hint: its root, or this host, lacks udevd, which old versions need: `apt-get install udev`, or virtme-ng 1.42 or later"
                .to_owned(),
        )
    }
}
