//! gust.
