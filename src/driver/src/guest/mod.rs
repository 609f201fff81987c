//! What a guest is made of, and how it is started: the initramfs, the command
//! lines of QEMU and virtme-ng, the choice of the accelerator.
//!
//! Command lines and choices are pure functions. Nothing here judges a test.

pub mod accel;
pub mod closure;
pub mod foreign_root;
pub mod initramfs;
pub mod local;
pub mod modules;
pub mod programs;
pub mod qemu;
pub mod selftests;
pub mod tools;
pub mod tsc;
pub mod virtiofsd;
pub mod virtme;
