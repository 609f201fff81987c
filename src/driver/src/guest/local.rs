//! The command line of the backend without a guest: our own binary as a process
//! of the host, in namespaces of its own. Pure functions.

use std::path::Path;

use super::qemu::ChannelPaths;
use crate::exec::Cmd;

/// The whole command; `own` is our binary, `plan` the file of the plan.
#[must_use]
pub fn command(own: &Path, plan: &Path, channels: &ChannelPaths) -> Cmd {
    // In this order: `kregress_guest::local`.
    let paths = [plan, &channels.control, &channels.output, &channels.console];
    Cmd::new(own).arg(kregress_guest::LOCAL).args(paths.map(Path::as_os_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_plan_and_the_three_channels() {
        let command =
            command(Path::new("/k"), Path::new("/run/plan.json"), &ChannelPaths::within(Path::new("/s")));
        insta::assert_snapshot!(
            command.argv().join(" "),
            @"/k __local /run/plan.json /s/control /s/output /s/console"
        );
    }
}
