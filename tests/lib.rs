//! What the end-to-end tests share: running the built command, finding the shared data, making small models, and a host
//! that is not ours.

mod helpers;

pub use helpers::command::{Ended, Gust, gust};
pub use helpers::parrot::{Parrot, ParrotFile};
pub use helpers::phrase::{find, masked, phrase};
pub use helpers::random::Random;
pub use helpers::stock;
pub use helpers::workspace::{engine_component, golden, shared, shared_json, workspace};
