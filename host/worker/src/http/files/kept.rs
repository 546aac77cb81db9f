//! The files of a folder, the small ones from memory.
//!
//! The system's files are looked at by other threads, so that a slow disk never holds a socket up; a trip to such a
//! thread and back costs several times what the rest of a request does. So what was found there, or not found, is kept
//! and taken for true for [`FRESH`]: then the next who asks has it looked at again, and all others meanwhile get what is
//! known. Nobody sees a change later than that.

use std::future::ready;
use std::io::{self, Cursor, ErrorKind, Read as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper_staticfile::vfs::{FileAccess, FileOpener, FileWithMetadata, IntoFileAccess, TokioFileAccess};
use lru::LruCache;
use tokio::fs::File;
use tokio::io::AsyncSeek;
use tokio::task::spawn_blocking;

/// How long what was found is taken for true.
const FRESH: Duration = Duration::from_millis(50);
/// A file changed this recently may change again without its time telling so.
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
    File { content: Bytes, modified: Option<SystemTime> },
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
            Found::File { content, modified } => (content, modified, false),
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
        let mut file = match std::fs::File::open(self.root.join(&path)) {
            Ok(file) => file,
            Err(error) => {
                let found = (error.kind() == ErrorKind::NotFound).then_some(Found::Nothing);
                self.kept().keep(path, found);
                return Err(error);
            }
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            self.kept().keep(path, Some(Found::Folder));
            return Found::Folder.opened();
        }
        let modified = metadata.modified().ok();
        if !metadata.is_file() || metadata.len() > LARGEST {
            self.kept().keep(path, None);
            let handle = Content::Open(File::from_std(file));
            return Ok(FileWithMetadata { handle, size: metadata.len(), modified, is_dir: false });
        }
        let known = self.kept().known(&path, metadata.len(), modified);
        let content = match known {
            Some(content) => content,
            None => {
                let mut content = Vec::new();
                file.by_ref().take(metadata.len()).read_to_end(&mut content)?;
                content.into()
            }
        };
        let found = Found::File { content, modified };
        let age = modified.and_then(|modified| modified.elapsed().ok());
        let settled = age.is_some_and(|age| age > SETTLED) && found.size() as u64 == metadata.len();
        self.kept().keep(path, settled.then(|| found.clone()));
        found.opened()
    }
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
    fn known(&self, path: &Path, size: u64, modified: Option<SystemTime>) -> Option<Bytes> {
        match &self.files.peek(path)?.found {
            Found::File { content, modified: known }
                if *known == modified && content.len() as u64 == size =>
            {
                Some(content.clone())
            }
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

    fn settle(file: &Path) {
        let past = SystemTime::now() - 2 * SETTLED;
        std::fs::File::options().write(true).open(file).expect("a file").set_modified(past).expect("a time");
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
        settle(&file);
        tokio::time::sleep(FRESH).await;
        assert_eq!(text(&folder, "a").await.as_deref(), Some("one"));
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(text(&folder, "a").await.as_deref(), Some("one"), "from memory");
        tokio::time::sleep(FRESH).await;
        assert_eq!(text(&folder, "a").await, None);
        // As long as its time may stand still, a file is looked at each time.
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
            let file = root.path().join(number.to_string());
            std::fs::write(&file, vec![b'x'; size]).expect("written");
            settle(&file);
            assert_eq!(text(&folder, &number.to_string()).await.map(|text| text.len()), Some(size));
        }
        assert_bounded(&folder.0.kept());
        std::fs::write(root.path().join("large"), vec![b'x'; size + 1]).expect("written");
        let large = folder.open(Path::new("large")).await.expect("a file");
        assert!(matches!(large.handle, Content::Open(_)) && large.size == LARGEST + 1);
    }
}
