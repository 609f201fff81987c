//! How a bisection is shown: on the screen while it goes on and at its end, as a mail,
//! in a pull request, as a page (`html::bisected`), for programs, and as a log of
//! `git bisect`.
//!
//! Reads [`Bisected`](crate::bisect::bisected::Bisected) and decides nothing about it.
//! `words` has the sentences that the forms share, `course` what became of the
//! commits on the way. Whatever commits and kernels say goes through `text_safety`.

pub(crate) mod course;
mod gitlog;
mod human;
mod json;
mod markdown;
mod progress;
#[cfg(test)]
pub(crate) mod testdata;
mod text;
pub(crate) mod words;

pub use gitlog::of_bisection as gitlog;
pub use human::write as human;
pub use json::write as json;
pub use markdown::of_bisection as markdown;
pub use progress::{begins, stands};
pub use text::of_bisection as text;

pub use super::html::of_bisection as html;
