//! The Lambda binary: wiring only, the function is in the library.
fn main() {}
