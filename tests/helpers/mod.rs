//! One file for each kind of help.

pub(crate) mod command;
pub(crate) mod parrot;
pub(crate) mod random;
pub(crate) mod workspace;
