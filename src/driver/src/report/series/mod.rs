//! How a series is shown: on the screen, as a reply to the list, in a pull request, as
//! a page (`html::series`), as JUnit (`junit::series`), and for programs.
//!
//! Reads [`Checked`](crate::series::checked::Checked) and decides nothing about it.
//! `words` has the sentences that the forms share. Whatever patches, compilers and
//! kernels say goes through `text_safety`.

mod human;
mod markdown;
#[cfg(test)]
pub(crate) mod testdata;
mod text;
pub(crate) mod words;

use std::io::{self, Write};

pub use human::write as human;
pub use markdown::of_series as markdown;
pub use text::of_series as text;
pub use words::{basis, begins, built, change_text};

pub use super::html::of_series as html;
pub use super::junit::of_series as junit;
use super::indented;
use crate::series::checked::Checked;

/// Writes it for programs; `results/series.schema.json` describes it.
///
/// # Errors
///
/// Fails when `out` does.
pub fn json(checked: &Checked, out: impl Write) -> io::Result<()> {
    indented::write(checked, out)
}
