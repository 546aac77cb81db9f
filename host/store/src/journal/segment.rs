//! Segments as files: their names, and the header each begins with. A header is on the disk before the first record
//! is written, so only a segment without records can have a part of one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::JournalError;

/// The format this host writes, and the highest it reads.
pub(super) const VERSION: u32 = 1;
/// Bytes of a segment before its records.
pub(super) const START: usize = 20;

const MAGIC: [u8; 16] = *b"sc-host journal\n";
/// The magic text, then [`VERSION`].
const HEADER: [u8; START] = *b"sc-host journal\n\x01\0\0\0";
const PREFIX: &str = "journal-";
/// The file that says that a sync failed.
const DOUBT: &str = "not-synced";

/// Where a segment is.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(name(number))
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

/// The numbers of all segments in a folder, ascending. Files with other names are left alone.
pub(super) fn list(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let numbers = || -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?.file_name();
            let number = entry.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            numbers.extend(number.filter(|&number| entry.to_str() == Some(&name(number))));
        }
        numbers.sort_unstable();
        Ok(numbers)
    };
    numbers().map_err(JournalError::io("listed", folder))
}

/// Makes the folder, for this user alone, and what is missing on the way to it.
pub(super) fn make_folder(folder: &Path) -> Result<(), JournalError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(JournalError::io("created", folder))?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Has the disk know which files are in the folder.
pub(super) fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::io("synced", folder))
}

/// Notes that what can be read here may not be on the disk. The note need not be there itself: who loses it to a loss
/// of power reads what the disk has.
pub(super) fn doubt(folder: &Path) -> Result<(), JournalError> {
    let path = folder.join(DOUBT);
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    made.map(drop).map_err(JournalError::io("created", &path))
}

/// Whether that was noted.
pub(super) fn is_doubted(folder: &Path) -> Result<bool, JournalError> {
    let path = folder.join(DOUBT);
    path.try_exists().map_err(JournalError::io("looked for", &path))
}

/// Takes the note away.
pub(super) fn trust(folder: &Path) -> Result<(), JournalError> {
    let path = folder.join(DOUBT);
    std::fs::remove_file(&path).map_err(JournalError::io("deleted", &path))
}

/// Makes a segment without records. On an error there is none.
pub(super) fn create(folder: &Path, number: u64) -> Result<File, JournalError> {
    let path = path(folder, number);
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(JournalError::io("created", &path))?;
    let made = begin(&file, &path).and_then(|()| sync_folder(folder));
    if let Err(error) = made {
        // The first error says more than what may become of this one.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(file)
}

/// Opens a segment to append to it. It is cut to so many bytes; to less than a header, it begins anew.
pub(super) fn reopen(path: &Path, cut: Option<u64>) -> Result<File, JournalError> {
    let file = OpenOptions::new().append(true).open(path).map_err(JournalError::io("opened", path))?;
    if let Some(length) = cut {
        file.set_len(length).and_then(|()| file.sync_all()).map_err(JournalError::io("cut", path))?;
        if length == 0 {
            begin(&file, path)?;
        }
    }
    Ok(file)
}

fn begin(mut file: &File, path: &Path) -> Result<(), JournalError> {
    file.write_all(&HEADER).and_then(|()| file.sync_all()).map_err(JournalError::io("written", path))
}

/// Whether a segment may begin so.
pub(super) fn check(header: &[u8; START], file: &Path) -> Result<(), JournalError> {
    let (Some(magic), Some(&version)) = (header.first_chunk(), header.last_chunk()) else { return Ok(()) };
    match u32::from_le_bytes(version) {
        _ if *magic != MAGIC => Err(JournalError::Foreign { file: file.to_owned() }),
        0 => Err(JournalError::Corrupt {
            file: file.to_owned(),
            offset: 0,
            what: "no segment has format version 0".to_owned(),
        }),
        version if version > VERSION => Err(JournalError::Newer { file: file.to_owned(), version }),
        _ => Ok(()),
    }
}

/// Whether a header was being written when these bytes, a segment's first, came to be: it stops somewhere, and zeros
/// may follow.
pub(super) fn is_torn_header(bytes: &[u8]) -> bool {
    let written = bytes.iter().zip(&HEADER).take_while(|(byte, right)| byte == right).count();
    written < START && bytes.iter().skip(written).all(|&byte| byte == 0)
}
