//! gust.
fn main() {}
