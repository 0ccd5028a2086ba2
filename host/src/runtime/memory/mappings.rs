//! How many mappings the linear memories of this process consist of.
//!
//! The kernel gives a process a limited number of them (`vm.max_map_count`, 65,530 unless somebody has changed it), and
//! every file that is mapped into the middle of a memory splits one mapping into three. At the limit nothing works any
//! more: no allocation, no thread, not even the way back from a mapping that failed. So they are counted, and
//! `map-pages` answers `unsupported` when half of the limit is used: the engine then copies. The other half is for
//! everything else in the process.
//!
//! The count is never below the kernel's. A mapping that continues the one before it, in memory and in the file, counts
//! as part of it, because the kernel merges them: the new one has no pages of its own yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The kernel's limit if it does not say.
const DEFAULT_LIMIT: usize = 65_530;
/// What one file adds: its own mapping, and what follows it. Mapped into the middle of another file, it leaves two parts
/// of that, each of which counts like this.
const PER_FILE: usize = 2;
/// The most that mapping one file can add.
const MOST: usize = 2 * PER_FILE;

/// A number of mappings, and how many there may be.
#[derive(Debug)]
pub(super) struct Mappings {
    used: AtomicUsize,
    limit: usize,
}

impl Mappings {
    pub(super) fn new(limit: usize) -> Mappings {
        let used = AtomicUsize::new(0);
        Mappings { used, limit }
    }

    /// Those of this process.
    pub(super) fn of_the_process() -> &'static Mappings {
        static PROCESS: OnceLock<Mappings> = OnceLock::new();
        PROCESS.get_or_init(|| {
            let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
            let limit = limit.ok().and_then(|text| text.trim().parse().ok());
            Mappings::new(limit.unwrap_or(DEFAULT_LIMIT) / 2)
        })
    }

    /// Adds `more`, unless that exceeds the limit.
    fn take(&'static self, more: usize) -> Option<Place> {
        let take = |used: usize| used.checked_add(more).filter(|&used| used <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.ok().map(|_| Place {
            of: self,
            count: more,
        })
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Some mappings of a count, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: &'static Mappings,
    count: usize,
}

impl Place {
    /// Takes over what `other` has, and gives back what exceeds `count`.
    fn join(&mut self, mut other: Place, count: usize) {
        self.count += std::mem::take(&mut other.count);
        let excess = self.count.saturating_sub(count);
        self.count -= excess;
        self.of.used.fetch_sub(excess, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// What is mapped into one memory.
#[derive(Debug)]
pub(super) struct Layout {
    mappings: &'static Mappings,
    /// The files' ranges, by their first address. They do not overlap.
    files: BTreeMap<usize, (usize, Mapped)>,
    /// `PER_FILE` for each of them.
    place: Place,
}

/// What a range shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mapped {
    /// Stays open, and so keeps its number, as long as the instance that the memory belongs to.
    pub(super) file: RawFd,
    /// Where in the file the range begins.
    pub(super) offset: u64,
}

impl Mapped {
    /// What is shown `bytes` further on.
    fn after(self, bytes: usize) -> Mapped {
        let offset = self.offset + bytes as u64;
        Mapped { offset, ..self }
    }
}

impl Layout {
    pub(super) fn new(mappings: &'static Mappings) -> Layout {
        Layout {
            mappings,
            files: BTreeMap::new(),
            place: Place {
                of: mappings,
                count: 0,
            },
        }
    }

    /// Makes sure that one more file can be mapped, wherever it is. `None` if there would be too many mappings.
    pub(super) fn place_for_one(&self) -> Option<Place> {
        self.mappings.take(MOST)
    }

    /// Notes that `range` now shows `mapped`.
    pub(super) fn put(&mut self, place: Place, range: Range<usize>, mapped: Mapped) {
        self.cut(&range);
        let before = self.files.range_mut(..range.start).next_back();
        match before {
            Some((&start, (end, shown)))
                if *end == range.start && shown.after(*end - start) == mapped =>
            {
                *end = range.end;
            }
            _ => _ = self.files.insert(range.start, (range.end, mapped)),
        }
        self.place.join(place, PER_FILE * self.files.len());
    }

    /// Removes what was mapped into `range`.
    fn cut(&mut self, range: &Range<usize>) {
        while let Some((&start, &(end, shown))) = self.files.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.files.remove(&start);
            if range.end < end {
                let rest = shown.after(range.end - start);
                self.files.insert(range.end, (end, rest));
            }
            if start < range.start {
                self.files.insert(start, (range.start, shown));
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(limit: usize) -> Layout {
        Layout::new(Box::leak(Box::new(Mappings::new(limit))))
    }

    /// Maps a range from a file's offset, and returns the count.
    fn map(layout: &mut Layout, range: Range<usize>, file: RawFd, offset: u64) -> Option<usize> {
        let place = layout.place_for_one()?;
        layout.put(place, range, Mapped { file, offset });
        Some(layout.mappings.used())
    }

    #[test]
    fn a_file_in_a_gap_of_its_own_counts_twice() {
        let mut layout = layout(100);
        assert_eq!(map(&mut layout, 10..20, 3, 0), Some(2));
        assert_eq!(map(&mut layout, 30..40, 3, 0), Some(4));
        assert_eq!(
            map(&mut layout, 30..40, 4, 0),
            Some(4),
            "the same place again"
        );
        let mappings = layout.mappings;
        drop(layout);
        assert_eq!(mappings.used(), 0);
    }

    #[test]
    fn what_continues_the_range_before_it_is_one_with_it() {
        let mut layout = layout(100);
        for (start, offset) in [(10, 0), (20, 10), (30, 20)] {
            assert_eq!(map(&mut layout, start..start + 10, 3, offset), Some(2));
        }
        assert_eq!(layout.files.len(), 1);
        for (file, offset) in [(4, 30), (3, 31)] {
            assert_eq!(
                map(&mut layout, 40..50, file, offset),
                Some(4),
                "another file or place"
            );
        }
        // What comes before a range is not merged with it: the pages of that one may have been written to.
        assert_eq!(map(&mut layout, 5..10, 4, 0), Some(6));
    }

    #[test]
    fn a_range_within_another_leaves_two_parts_of_it() {
        let mut layout = layout(100);
        map(&mut layout, 10..40, 3, 0);
        assert_eq!(map(&mut layout, 20..30, 4, 0), Some(6));
        let found: Vec<_> = layout
            .files
            .iter()
            .map(|(start, (end, shown))| (*start, *end, shown.file, shown.offset))
            .collect();
        assert_eq!(found, [(10, 20, 3, 0), (20, 30, 4, 0), (30, 40, 3, 20)]);
        assert_eq!(
            map(&mut layout, 5..45, 5, 0),
            Some(2),
            "it covers all of them"
        );
        assert_eq!(
            map(&mut layout, 0..10, 6, 0),
            Some(4),
            "and this covers its beginning"
        );
        assert_eq!(layout.files[&10], (45, Mapped { file: 5, offset: 5 }));
    }

    #[test]
    fn the_limit_is_never_exceeded() {
        let mut layout = layout(100);
        let mut mapped = 0;
        for i in 0..1000 {
            mapped += usize::from(map(&mut layout, 2 * i..2 * i + 1, 3, 0).is_some());
            assert!(layout.mappings.used() <= 100);
        }
        assert_eq!(mapped, 100 / PER_FILE - 1);
    }
}
