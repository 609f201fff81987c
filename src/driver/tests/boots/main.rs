//! Real boots under TCG, on kernels of the store and on a distribution's.
//!
//! `make test` runs these; they take minutes and need QEMU, virtme-ng, a
//! compiler, and `KREGRESS_TEST_DEB`, the package of a prebuilt kernel.

mod death;
mod failures;
mod kernels;
mod programs;
mod rig;
mod selftests;
mod shell;
mod suites;
mod virtual_time;
