//! The whole command line against a fake QEMU and real git repositories: what a
//! user types, sees, and finds on disk. Nothing here needs a kernel, KVM or the
//! network.

mod accelerator;
mod bisect;
mod boots;
mod chaos;
mod compare;
mod death;
mod fake_kernel;
mod guests;
mod hangs;
mod history;
mod host;
mod input;
mod jobs;
mod kunit;
mod messages;
mod programs;
mod record;
mod retries;
mod rig;
mod selection;
mod series;
mod shards;
mod shell;
mod sources;
mod verdicts;
mod virtme;
