//! What the end-to-end tests share: running the built command, finding the shared data, and making small models.

mod helpers;

pub use helpers::command::{Ended, Gust, gust};
pub use helpers::parrot::{Parrot, ParrotFile};
pub use helpers::random::Random;
pub use helpers::workspace::{engine_component, golden, shared, shared_json, workspace};
