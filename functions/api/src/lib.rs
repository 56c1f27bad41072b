//! The API function.
