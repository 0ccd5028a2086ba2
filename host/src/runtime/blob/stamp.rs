//! Whether a file is still what was opened.
//!
//! A model is read, or stays mapped, for as long as it is used. Another program that writes to the file in place, as
//! `rsync --inplace` and downloads that are resumed do, changes the weights of a model that is running. The file's size
//! and times tell, without reading it again.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

/// What a file was like when it was opened.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
    content: Content,
    inode: Inode,
}

/// What changes whenever the file is written to.
#[derive(Debug, PartialEq)]
struct Content {
    size: u64,
    /// When it was last written to. Programs may set it, and with it the time of [`Inode::changed`].
    modified: Option<std::time::SystemTime>,
}

#[cfg(unix)]
#[derive(Debug, PartialEq)]
struct Inode {
    /// Seconds and nanoseconds of when anything about it last changed. No program can set it.
    changed: (i64, i64),
    /// What changes that time and not the content: links, permissions, owners.
    around: (u64, u32, u32, u32),
    /// The device and the number of the inode.
    identity: (u64, u64),
}

#[cfg(not(unix))]
#[derive(Debug, PartialEq)]
struct Inode {}

impl Stamp {
    pub(super) fn new(path: &Path, metadata: &Metadata) -> Stamp {
        Stamp {
            path: path.to_owned(),
            content: Content::of(metadata),
            inode: Inode::of(metadata),
        }
    }

    /// Whether the file has been written to since. A file that cannot be asked has not.
    pub(super) fn has_changed(&self, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else {
            return false;
        };
        self.content != Content::of(&metadata)
            || self
                .inode
                .tells_of_writing(&Inode::of(&metadata), &self.path)
    }
}

impl Content {
    fn of(metadata: &Metadata) -> Content {
        Content {
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

#[cfg(unix)]
impl Inode {
    fn of(metadata: &Metadata) -> Inode {
        use std::os::unix::fs::MetadataExt;
        Inode {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            around: (
                metadata.nlink(),
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
            ),
            identity: (metadata.dev(), metadata.ino()),
        }
    }

    /// Whether the file was written to and its time of modification was set back. Removing or renaming a file, or
    /// changing its permissions, also changes the inode, and does no harm.
    fn tells_of_writing(&self, now: &Inode, path: &Path) -> bool {
        self.changed != now.changed
            && self.around == now.around
            && path
                .metadata()
                .is_ok_and(|metadata| Inode::of(&metadata).identity == self.identity)
    }
}

#[cfg(not(unix))]
impl Inode {
    fn of(_: &Metadata) -> Inode {
        Inode {}
    }

    fn tells_of_writing(&self, _: &Inode, _: &Path) -> bool {
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{FileTimes, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    /// A file of an hour ago, and its stamp: files have the time of the system's last tick, which may be that of a change.
    fn file() -> (tempfile::TempDir, PathBuf, File, Stamp) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model");
        std::fs::write(&path, "weights").expect("written");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it is there");
        let now = std::time::SystemTime::now();
        let times = FileTimes::new().set_modified(now - Duration::from_secs(3600));
        file.set_times(times).expect("it is ours");
        std::thread::sleep(Duration::from_millis(50));
        let stamp = Stamp::new(&path, &file.metadata().expect("it is open"));
        (folder, path, file, stamp)
    }

    #[test]
    fn every_way_to_write_is_seen() {
        let (_folder, path, file, stamp) = file();
        assert!(!stamp.has_changed(&file));
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        let modified = modified.expect("it has a time");
        let mut other = File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        other.write_all(b"w").expect("space");
        assert!(stamp.has_changed(&file), "the same size");
        let times = FileTimes::new().set_modified(modified);
        other.set_times(times).expect("it is ours");
        assert!(stamp.has_changed(&file), "the same size and time");
        other.set_len(3).expect("it is ours");
        other.set_times(times).expect("it is ours");
        assert!(stamp.has_changed(&file), "another size");
    }

    #[test]
    fn what_leaves_the_bytes_alone_is_no_change() {
        let (folder, path, file, stamp) = file();
        std::fs::read(&path).expect("readable");
        assert!(!stamp.has_changed(&file));
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("it is ours");
        assert!(!stamp.has_changed(&file));
        let (_folder, path, file, stamp) = self::file();
        std::fs::rename(&path, folder.path().join("elsewhere")).expect("the same folder");
        assert!(!stamp.has_changed(&file));
        let (_folder, path, file, stamp) = self::file();
        std::fs::hard_link(&path, folder.path().join("link")).expect("the same file system");
        assert!(!stamp.has_changed(&file));
        let (_folder, path, file, stamp) = self::file();
        std::fs::remove_file(&path).expect("it is ours");
        std::fs::write(&path, "a newer version").expect("space");
        assert!(
            !stamp.has_changed(&file),
            "the old one is still what it was"
        );
    }
}
