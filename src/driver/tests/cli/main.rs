//! The whole command line against a fake QEMU and real git repositories: what a
//! user types, sees, and finds on disk. Nothing here needs a kernel, KVM or the
//! network.

mod fake_kernel;
mod rig;
mod verdicts;
