//! One binary, both sides: the host's command line, and PID 1 of the guest.
fn main() {}
