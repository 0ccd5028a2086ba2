//! The component's imports, as this library's traits.

use super::bindings::gust::llm::collective;
use super::bindings::gust::llm::weights::{self, WeightsError};
use crate::blob::Blob;
use crate::error::{Error, Result, reserve};
use crate::model::Group;

/// The most that is read at a time, in bytes: a provider may refuse more.
const PIECE: usize = 32 << 20;

/// A blob of the weights provider.
pub(super) struct Weights(weights::Blob);

impl Weights {
    pub(super) fn open(name: &str) -> Result<Self> {
        weights::open(name).map(Self).map_err(error)
    }

    fn piece(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        // The provider's bytes are put into memory that is allocated on the way, where a lack of it ends the instance.
        reserve(&mut Vec::<u8>::new(), length)?;
        let bytes = self.0.read(offset, length as u32).map_err(error)?;
        if bytes.len() != length {
            let found = format!(
                "expected {length} bytes from the provider, found {}",
                bytes.len()
            );
            return Err(Error::Io(found));
        }
        Ok(bytes)
    }
}

impl Blob for Weights {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length <= PIECE {
            return self.piece(offset, length);
        }
        let mut bytes = Vec::new();
        reserve(&mut bytes, length)?;
        while bytes.len() < length {
            let wanted = PIECE.min(length - bytes.len());
            bytes.extend(self.piece(offset + bytes.len() as u64, wanted)?);
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
            Error::Io(format!("range past the end of a blob of {size} bytes"))
        }
        WeightsError::Unsupported => Error::Io("the provider does not support this".to_owned()),
        WeightsError::Io(reason) => Error::Io(reason),
    }
}

/// The group that the host provides. Rank and size do not change, so the first values are kept.
pub(super) struct Instances {
    rank: usize,
    size: usize,
}

impl Instances {
    pub(super) fn new() -> Self {
        let size = collective::size().max(1);
        Self {
            // If the host's numbers are wrong, the rank still lies within the group.
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
