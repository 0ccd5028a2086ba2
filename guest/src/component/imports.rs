//! What the component asks of its surroundings, as the traits of this library.

use super::bindings::gust::llm::collective;
use super::bindings::gust::llm::weights::{self, WeightsError};
use crate::blob::Blob;
use crate::error::{Error, Result};
use crate::model::Group;

/// A blob of the provider.
pub(super) struct Weights(weights::Blob);

impl Weights {
    pub(super) fn open(name: &str) -> Result<Self> {
        weights::open(name).map(Self).map_err(error)
    }
}

impl Blob for Weights {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let bytes = self.0.read(offset, length as u32).map_err(error)?;
        if bytes.len() != length {
            let found = format!(
                "asked for {length} bytes, the provider gave {}",
                bytes.len()
            );
            return Err(Error::Io(found));
        }
        Ok(bytes)
    }

    fn map(&self, offset: u64, length: usize, address: usize) -> Result<bool> {
        match self.0.map_pages(offset, length as u64, address as u64) {
            Ok(()) => Ok(true),
            Err(WeightsError::Unsupported) => Ok(false),
            Err(other) => Err(error(other)),
        }
    }
}

fn error(error: WeightsError) -> Error {
    match error {
        WeightsError::NotFound(name) => Error::NotFound(name),
        WeightsError::Denied(reason) => Error::Io(format!("access denied: {reason}")),
        WeightsError::OutOfRange(size) => {
            Error::Io(format!("a range behind the end of {size} bytes"))
        }
        WeightsError::Unsupported => Error::Io("the provider cannot do this".to_owned()),
        WeightsError::Io(reason) => Error::Io(reason),
    }
}

/// The group as the host makes it. Rank and size do not change, so what counts is what they were at first.
pub(super) struct Instances {
    rank: usize,
    size: usize,
}

impl Instances {
    pub(super) fn new() -> Self {
        let size = collective::size().max(1);
        Self {
            // A host that counts wrongly gets a group it can be part of.
            rank: collective::rank().min(size - 1) as usize,
            size: size as usize,
        }
    }
}

impl Group for Instances {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, part: &[u8]) -> Result<Vec<u8>> {
        collective::all_gather(part).map_err(aborted)
    }

    fn checkpoint(&self) -> Result<()> {
        collective::checkpoint().map_err(aborted)
    }
}

fn aborted(collective::CollectiveError::Aborted(reason): collective::CollectiveError) -> Error {
    Error::Aborted(reason)
}
