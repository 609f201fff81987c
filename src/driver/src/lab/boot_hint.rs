//! What to do about a kernel that did not come up. Pure.

use crate::guest::accel::NO_HELLO;

/// What to do about a kernel that did not come up, where its words tell.
pub(super) fn boot_hint(reason: &str) -> Option<&'static str> {
    let known = [
        (
            "No working init found",
            "the kernel needs CONFIG_BLK_DEV_INITRD=y and CONFIG_BINFMT_ELF=y to run our init",
        ),
        (
            "Unable to mount root fs",
            "the qemu backend needs CONFIG_BLK_DEV_INITRD=y; the virtme-ng backend needs the fragment `virtme-ng`",
        ),
        (
            "no virtio-serial port",
            "the kernel needs CONFIG_VIRTIO_PCI=y and CONFIG_VIRTIO_CONSOLE=y, or its modules directory must be given",
        ),
        (
            "id=charvirtfs",
            "virtiofsd did not listen yet when QEMU wanted it: `--machine rootfs=9p` needs none",
        ),
        (
            NO_HELLO,
            "console.log shows how far it came; an empty one means no CONFIG_SERIAL_8250_CONSOLE or an accelerator that does not work",
        ),
    ];
    known.iter().find(|(words, _)| reason.contains(words)).map(|(_, hint)| *hint)
}
