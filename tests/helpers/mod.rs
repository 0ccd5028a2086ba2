//! What the end-to-end tests share: running the built command, finding the test data, making small models, and a host
//! that is not ours.

mod command;
mod parrot;
mod phrase;
mod random;
pub(crate) mod stock;
mod workspace;

pub(crate) use command::{Ended, Gust, gust};
pub(crate) use parrot::{Parrot, ParrotFile};
pub(crate) use phrase::{find, masked, phrase};
pub(crate) use random::Random;
pub(crate) use workspace::{data, data_json, engine_component, golden, shared, workspace};
