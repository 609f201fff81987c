//! What is wrong with the first word of a guest.

use kregress_wire::{Hello, Nonce, PROTOCOL};

use crate::model::RootFs;

/// Whether this guest is the one that was started, and can be talked to.
///
/// # Errors
///
/// Says what the guest broke of the protocol.
pub(super) fn of_this_boot(hello: &Hello, nonce: &Nonce) -> Result<(), String> {
    if hello.protocol != PROTOCOL {
        return Err(format!("it speaks protocol {}, we speak {PROTOCOL}", hello.protocol));
    }
    if hello.nonce != *nonce {
        return Err("its hello carries the nonce of another boot".to_owned());
    }
    Ok(())
}

/// What is wrong with the root of a guest: vng falls back to 9p without a word.
pub(super) fn other_root(wanted: RootFs, hello: &Hello) -> Option<String> {
    let root = hello.facts.get("root")?;
    (wanted == RootFs::Virtiofs && root != wanted.name()).then(|| {
        format!(
            "`rootfs=virtiofs` was asked for, and the root of the guest is `{root}`: virtiofsd did not come up in time\n\
             hint: `--machine rootfs=9p` works everywhere"
        )
    })
}
