//! One file for each kind of help.

pub(crate) mod command;
pub(crate) mod parrot;
pub(crate) mod phrase;
pub(crate) mod random;
pub mod stock;
pub(crate) mod workspace;
