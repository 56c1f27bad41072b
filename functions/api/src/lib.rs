//! The API function.

pub mod producer;
