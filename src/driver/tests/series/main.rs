//! What a user names as a series against real git: what is read, what becomes of
//! it, and what is left in the user's repository, which is nothing.

mod mails;
mod ranges;
mod refused;
mod repository;
mod traces;
