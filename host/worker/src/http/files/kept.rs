//! The files of a folder, the small ones from memory. Names that start with a dot are no files of it.
//!
//! Other threads look at the disk, so that a slow disk never holds up a socket. A trip to such a thread and back costs
//! several times as much as the rest of a request. So what was found, or not found, is kept and believed for
//! [`FRESH`]. After that, the next request has the disk looked at again, and requests that come meanwhile get what is
//! known.

use std::fs::{Metadata, OpenOptions};
use std::future::ready;
use std::io::{self, Cursor, ErrorKind, Read as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper_staticfile::vfs::{FileAccess, FileOpener, FileWithMetadata, IntoFileAccess, TokioFileAccess};
use lru::LruCache;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::fs::File;
use tokio::io::AsyncSeek;
use tokio::task::spawn_blocking;

/// How long what was found is taken for true.
const FRESH: Duration = Duration::from_millis(50);
/// A file changed this recently may change again without its stamp telling so.
const SETTLED: Duration = Duration::from_secs(1);
/// Largest file that is kept in memory, in bytes.
const LARGEST: u64 = 256 * 1024;
/// What one worker keeps, in bytes.
const MOST: usize = 16 * 1024 * 1024;
/// What an entry takes beside its path and its file.
const ENTRY: usize = 256;

/// A folder. Its clones share what they keep.
#[derive(Clone)]
pub(super) struct Folder(Arc<Shared>);

/// Shared with the threads that look at the disk, hence the lock; it is held for no longer than a look into the table.
struct Shared {
    root: PathBuf,
    kept: Mutex<Kept>,
}

struct Kept {
    files: LruCache<PathBuf, Entry>,
    bytes: usize,
}

struct Entry {
    found: Found,
    checked: Instant,
}

/// What there is under a path.
#[derive(Clone)]
enum Found {
    Nothing,
    Folder,
    File { content: Bytes, modified: Option<SystemTime>, stamp: Stamp },
}

/// Tells one state of a file from another. No write leaves the time of a file's last change as it was, while its
/// modification time can be set to anything.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file has rested for long enough.
    fn is_settled(&self) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let age = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds + 1));
        age.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > SETTLED)
    }
}

impl Found {
    fn size(&self) -> usize {
        match self {
            Found::File { content, .. } => content.len(),
            Found::Nothing | Found::Folder => 0,
        }
    }

    fn opened(self) -> io::Result<FileWithMetadata<Content>> {
        let (content, modified, is_dir) = match self {
            Found::Nothing => return Err(ErrorKind::NotFound.into()),
            Found::Folder => (Bytes::new(), None, true),
            Found::File { content, modified, .. } => (content, modified, false),
        };
        Ok(FileWithMetadata { size: content.len() as u64, handle: Content::Kept(content), modified, is_dir })
    }
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        let kept = Kept { files: LruCache::unbounded(), bytes: 0 };
        Folder(Arc::new(Shared { root, kept: Mutex::new(kept) }))
    }
}

impl FileOpener for Folder {
    type File = Content;
    type Future = Pin<Box<dyn Future<Output = io::Result<FileWithMetadata<Content>>> + Send>>;

    fn open(&self, path: &Path) -> Self::Future {
        // Here, where the path is what the system would open, however it was written.
        if path.iter().any(|name| name.as_encoded_bytes().starts_with(b".")) {
            return Box::pin(ready(Found::Nothing.opened()));
        }
        if let Some(found) = self.0.kept().recall(path) {
            return Box::pin(ready(found.opened()));
        }
        let (shared, path) = (Arc::clone(&self.0), path.to_owned());
        Box::pin(async move { spawn_blocking(move || shared.look(path)).await? })
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the disk, and keeps what there is.
    fn look(&self, path: PathBuf) -> io::Result<FileWithMetadata<Content>> {
        // A pipe that nobody writes to must not hold the thread.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(self.root.join(&path)) {
            Ok(file) => file,
            Err(error) => {
                let nothing = names_nothing(&error);
                self.kept().keep(path, nothing.then_some(Found::Nothing));
                return if nothing { Found::Nothing.opened() } else { Err(error) };
            }
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            self.kept().keep(path, Some(Found::Folder));
            return Found::Folder.opened();
        }
        if !metadata.is_file() {
            self.kept().keep(path, Some(Found::Nothing));
            return Found::Nothing.opened();
        }
        let modified = metadata.modified().ok();
        if metadata.len() > LARGEST {
            self.kept().keep(path, None);
            let handle = Content::Open(File::from_std(file));
            return Ok(FileWithMetadata { handle, size: metadata.len(), modified, is_dir: false });
        }
        let stamp = Stamp::of(&metadata);
        let known = self.kept().known(&path, stamp);
        let content = match known {
            Some(content) => content,
            None => {
                let mut content = Vec::new();
                file.by_ref().take(metadata.len()).read_to_end(&mut content)?;
                content.into()
            }
        };
        let found = Found::File { content, modified, stamp };
        let settled = stamp.is_settled() && found.size() as u64 == stamp.size;
        self.kept().keep(path, settled.then(|| found.clone()));
        found.opened()
    }
}

/// Whether a path that cannot be opened is one that names no file.
fn names_nothing(error: &io::Error) -> bool {
    use ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename | InvalidInput)
        || Errno::from_io_error(error) == Some(Errno::LOOP)
}

impl Kept {
    /// What is under the path, if that is known well enough. Whoever is told to look keeps others from looking too.
    fn recall(&mut self, path: &Path) -> Option<Found> {
        let entry = self.files.get_mut(path)?;
        if entry.checked.elapsed() < FRESH {
            return Some(entry.found.clone());
        }
        entry.checked = Instant::now();
        None
    }

    /// The content of a file that has not changed since it was read.
    fn known(&self, path: &Path, now: Stamp) -> Option<Bytes> {
        match &self.files.peek(path)?.found {
            Found::File { content, stamp, .. } if *stamp == now => Some(content.clone()),
            _ => None,
        }
    }

    /// Keeps what was found, or forgets what was kept. The longest unasked goes when there is no room.
    fn keep(&mut self, path: PathBuf, found: Option<Found>) {
        if let Some((path, old)) = self.files.pop_entry(&path) {
            self.bytes -= weight(&path, &old.found);
        }
        let Some(found) = found else { return };
        self.bytes += weight(&path, &found);
        self.files.push(path, Entry { found, checked: Instant::now() });
        while self.bytes > MOST
            && let Some((path, old)) = self.files.pop_lru()
        {
            self.bytes -= weight(&path, &old.found);
        }
    }
}

fn weight(path: &Path, found: &Found) -> usize {
    path.as_os_str().len() + found.size() + ENTRY
}

/// What a file holds: in memory, or still on the disk.
pub(super) enum Content {
    Kept(Bytes),
    Open(File),
}

/// A file that is being sent.
pub(super) enum Sending {
    Kept(Cursor<Bytes>),
    Open(TokioFileAccess),
}

impl IntoFileAccess for Content {
    type Output = Sending;

    fn into_file_access(self) -> Sending {
        match self {
            Content::Kept(content) => Sending::Kept(Cursor::new(content)),
            Content::Open(file) => Sending::Open(file.into_file_access()),
        }
    }
}

impl AsyncSeek for Sending {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        match self.get_mut() {
            Sending::Kept(content) => Pin::new(content).start_seek(position),
            Sending::Open(file) => Pin::new(file).start_seek(position),
        }
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match self.get_mut() {
            Sending::Kept(content) => Pin::new(content).poll_complete(context),
            Sending::Open(file) => Pin::new(file).poll_complete(context),
        }
    }
}

impl FileAccess for Sending {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, len: usize) -> Poll<io::Result<Bytes>> {
        match self.get_mut() {
            Sending::Kept(content) => {
                // The library's own access does not move the cursor on.
                let at = content.position();
                let start = usize::try_from(at).unwrap_or(usize::MAX).min(content.get_ref().len());
                let end = start.saturating_add(len).min(content.get_ref().len());
                content.set_position(end as u64);
                Poll::Ready(Ok(content.get_ref().slice(start..end)))
            }
            Sending::Open(file) => Pin::new(file).poll_read(context, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(folder: &Folder, path: &str) -> Option<String> {
        match folder.open(Path::new(path)).await.ok()?.handle {
            Content::Kept(content) => Some(String::from_utf8_lossy(&content).into_owned()),
            Content::Open(_) => None,
        }
    }

    /// Waits until what was written has rested.
    async fn settle() {
        tokio::time::sleep(2 * SETTLED + FRESH).await;
    }

    fn assert_bounded(kept: &Kept) {
        assert!(kept.bytes <= MOST && kept.bytes > MOST / 2, "{}", kept.bytes);
        let sum: usize = kept.files.iter().map(|(path, entry)| weight(path, &entry.found)).sum();
        assert_eq!(sum, kept.bytes);
    }

    #[tokio::test]
    async fn changes_are_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, file) = (Folder::new(root.path().to_owned()), root.path().join("a"));
        assert_eq!(text(&folder, "a").await, None);
        std::fs::write(&file, "one").expect("written");
        settle().await;
        let began = Instant::now();
        assert_eq!(text(&folder, "a").await.as_deref(), Some("one"));
        std::fs::remove_file(&file).expect("removed");
        let again = text(&folder, "a").await;
        // A machine that took so long for it has forgotten it.
        assert!(again.as_deref() == Some("one") || began.elapsed() >= FRESH, "from memory: {again:?}");
        tokio::time::sleep(FRESH).await;
        assert_eq!(text(&folder, "a").await, None);
        // Until it has rested, a file is looked at each time.
        for content in ["two", "six"] {
            tokio::time::sleep(FRESH).await;
            std::fs::write(&file, content).expect("written");
            assert_eq!(text(&folder, "a").await.as_deref(), Some(content));
        }
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().to_owned());
        let size = usize::try_from(LARGEST).expect("a size");
        for number in 0..100 {
            std::fs::write(root.path().join(number.to_string()), vec![b'x'; size]).expect("written");
        }
        settle().await;
        for number in 0..100 {
            assert_eq!(text(&folder, &number.to_string()).await.map(|text| text.len()), Some(size));
        }
        assert_bounded(&folder.0.kept());
        std::fs::write(root.path().join("large"), vec![b'x'; size + 1]).expect("written");
        let large = folder.open(Path::new("large")).await.expect("a file");
        assert!(matches!(large.handle, Content::Open(_)) && large.size == LARGEST + 1);
    }

    #[tokio::test]
    async fn a_file_put_in_anothers_place_is_another() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, file) = (Folder::new(root.path().to_owned()), root.path().join("a"));
        let (other, past) = (root.path().join("b"), SystemTime::UNIX_EPOCH + SETTLED);
        for (path, content) in [(&file, "one"), (&other, "two")] {
            std::fs::write(path, content).expect("written");
            let same =
                std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(past));
            same.expect("the same time of modification");
        }
        settle().await;
        assert_eq!(text(&folder, "a").await.as_deref(), Some("one"));
        std::fs::rename(&other, &file).expect("renamed");
        tokio::time::sleep(FRESH).await;
        assert_eq!(text(&folder, "a").await.as_deref(), Some("two"));
    }

    #[tokio::test]
    async fn paths_that_name_no_file() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().to_owned());
        for name in ["a", ".hidden", ".b/c"] {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, "x").expect("written");
        }
        std::os::unix::fs::symlink("circle", root.path().join("circle")).expect("a link");
        let pipe = rustix::fs::Mode::from(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), pipe).expect("a pipe");
        let long = "x".repeat(5000);
        for path in ["b", "a/b", &long, "nul\0", "circle", "pipe", ".hidden", ".b/c", ".b"] {
            let kind = folder.open(Path::new(path)).await.map(|_| ()).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::NotFound), "{path}");
        }
        assert_eq!(text(&folder, "a").await.as_deref(), Some("x"));
    }
}
