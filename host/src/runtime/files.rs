//! How files are opened: models and components, which anybody may have written, and what an earlier run has left for
//! this one.
//!
//! What gust reads back without being told to, such as compiled code, must be its own: the file, and the folder that it
//! is found in, belong to the user that the program runs as, and nobody else may write to them. A path says nothing
//! about that, because what it names can be replaced between two looks at it. So files are opened first, without
//! following a symbolic link and without waiting for the other end of a pipe, and what was opened is examined.
//!
//! Systems other than Unix keep such folders in the user's profile, whose rights this module does not examine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why a file or a folder is not used.
#[derive(Debug)]
pub enum Refusal {
    /// It is missing, or the system refuses access.
    Unusable(io::Error),
    /// Somebody else could have written it. Carries what was found, to follow the file's name.
    Untrusted(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Unusable(error)
    }
}

/// Opens a regular file for reading. Anything else, such as a folder or a pipe, is an error, and nothing is waited for.
///
/// # Errors
/// Those of opening a file; [`io::ErrorKind::InvalidInput`] for something that is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    at_once(&mut options);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(file);
    }
    let found = if metadata.is_dir() {
        "expected a file, found a folder"
    } else {
        "expected a file, found something that is not a regular file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, found))
}

/// Reads a regular file.
///
/// # Errors
/// As [`open_regular`], and those of reading.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of the user's own for reading and writing, and makes it if it is missing.
///
/// # Errors
/// [`Refusal::Untrusted`] for one that somebody else may have written.
pub fn open_own(path: &Path) -> Result<File, Refusal> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    itself(&mut options);
    match options.clone().create_new(true).open(path) {
        // Nobody else had a part in it.
        Ok(file) => return Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    not_a_link(path)?;
    let file = options.open(path)?;
    own_file(&file)?;
    Ok(file)
}

/// Writes a file as a whole: until all of it is on the disk, what was there before stays. Links are followed, and what is no
/// regular file, such as a terminal, is written to.
///
/// # Errors
/// Those of writing a file; then it is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let old = fs::metadata(&path).ok();
    if let Some(old) = &old {
        // It may be replaced if it may be written to.
        let mut file = OpenOptions::new().write(true).open(&path)?;
        if !old.is_file() {
            return file.write_all(bytes);
        }
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether there is a file of the user's own.
pub fn is_own(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.read(true);
    itself(&mut options);
    let file = options.open(path);
    file.is_ok_and(|file| own_file(&file).is_ok())
}

/// A folder that nobody but the user can write to.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    path: PathBuf,
    /// The folder itself, whatever its path leads to by now.
    #[cfg(unix)]
    handle: File,
}

impl OwnFolder {
    /// Opens the folder at `path`, and makes it, for the user alone, if it is missing.
    pub(crate) fn open(path: &Path) -> Result<OwnFolder, Refusal> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
            let _ = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            not_a_link(path)?;
            let handle = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(path)?;
            distrust(&handle.metadata()?, user()).map_or(Ok(()), Err)?;
            let path = path.to_owned();
            Ok(OwnFolder { path, handle })
        }
        #[cfg(not(unix))]
        {
            let _ = fs::create_dir_all(path);
            if !path.is_dir() {
                return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
            }
            let path = path.to_owned();
            Ok(OwnFolder { path })
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file `name` in this folder, if it is the user's own.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        #[cfg(unix)]
        let mut file = {
            use rustix::fs::{Mode, OFlags, openat};
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = openat(&self.handle, name, flags, Mode::empty());
            let opened = opened.map_err(|error| match error {
                rustix::io::Errno::LOOP => Refusal::Untrusted(LINK.to_owned()),
                other => Refusal::Unusable(other.into()),
            })?;
            let file = File::from(opened);
            own_file(&file)?;
            file
        };
        #[cfg(not(unix))]
        let mut file = open_regular(&self.path.join(name))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// What is said of a symbolic link.
const LINK: &str = "is a symbolic link";

/// Says so if `path` is a symbolic link. Only the message depends on it: opening does not follow one either.
fn not_a_link(path: &Path) -> Result<(), Refusal> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(Refusal::Untrusted(LINK.to_owned())),
        _ => Ok(()),
    }
}

/// Checks that an open file is a regular one of the user's own, known by one name.
#[cfg(unix)]
fn own_file(file: &File) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::Untrusted("is not a regular file".to_owned()));
    }
    if metadata.nlink() > 1 {
        return Err(Refusal::Untrusted(
            "has other names (hard links)".to_owned(),
        ));
    }
    distrust(&metadata, user()).map_or(Ok(()), Err)
}

#[cfg(not(unix))]
fn own_file(file: &File) -> Result<(), Refusal> {
    match file.metadata()?.is_file() {
        true => Ok(()),
        false => Err(Refusal::Untrusted("is not a regular file".to_owned())),
    }
}

/// Why the owner or the mode of a file or a folder keeps `user` from trusting it.
#[cfg(unix)]
fn distrust(metadata: &fs::Metadata, user: u32) -> Option<Refusal> {
    use std::os::unix::fs::MetadataExt;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let found = if owner != user {
        format!("belongs to user {owner}, and this program runs as user {user}")
    } else if mode & 0o022 != 0 {
        format!("can be written to by others (its mode is {mode:03o})")
    } else {
        return None;
    };
    Some(Refusal::Untrusted(found))
}

/// The user that the program runs as.
#[cfg(unix)]
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes opening return at once, whatever the path leads to.
fn at_once(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK);
    #[cfg(not(unix))]
    let _ = options;
}

/// Makes opening return at once, and not follow a symbolic link. A new file can be written by the user alone.
fn itself(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o644);
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    }
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn untrusted<T>(result: Result<T, Refusal>) -> String {
        match result {
            Err(Refusal::Untrusted(found)) => found,
            Err(Refusal::Unusable(error)) => panic!("unusable: {error}"),
            Ok(_) => panic!("it is trusted"),
        }
    }

    fn pipe(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pipe");
        pipe(&path);
        for path in [path.as_path(), dir.path()] {
            let error = open_regular(path).expect_err("no regular file");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(untrusted(open_own(&path)), "is not a regular file");
    }

    #[test]
    fn only_a_file_of_ones_own_is_written_to_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        assert!(!is_own(&path), "there is none");
        for _ in 0..2 {
            open_own(&path).expect("new, then one's own");
            assert!(is_own(&path));
        }
        let metadata = path.metadata().expect("it was made");
        assert!(distrust(&metadata, user()).is_none());
        let found = distrust(&metadata, user() + 1).map(Err::<(), _>);
        assert!(untrusted(found.expect("another user's")).contains("belongs to user"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("it is ours");
        assert!(untrusted(open_own(&path)).contains("664"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        fs::hard_link(&path, dir.path().join("other")).expect("a second name");
        assert!(untrusted(open_own(&path)).contains("hard links"));

        let link = dir.path().join("link");
        symlink(&path, &link).expect("a link");
        assert_eq!(untrusted(open_own(&link)), LINK);
        assert!(!is_own(&link));
        let dangling = dir.path().join("dangling");
        symlink(dir.path().join("missing"), &dangling).expect("a link");
        assert_eq!(untrusted(open_own(&dangling)), LINK);
        assert!(!dir.path().join("missing").exists(), "it was followed");
    }
}
