//! What the binary carries: the default `kregress.yaml`, the suites and the
//! kconfig fragments, each table written by `build.rs` from the directories of
//! the repository: `CONFIG`, and `(stem, text)` in `FRAGMENTS` and `SUITES`.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
