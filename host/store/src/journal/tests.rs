//! What the tests of the journal share, and what holds when nothing goes wrong: files, format, reopening. Damage, full
//! disks, compaction and torn ends have rooms of their own.

mod compaction;
mod damage;
mod full;
mod model;
mod timing;
mod torn;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use sc_wire::store::Tree;

use super::*;
use crate::keyspace::Place;

/// A folder in the temporary folder, which goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sc-journal-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        Folder(folder)
    }

    fn segment(&self, number: u64) -> PathBuf {
        segment::path(&self.0, number)
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        std::fs::read(self.segment(number)).expect("a segment")
    }

    fn put(&self, number: u64, bytes: &[u8]) {
        std::fs::write(self.segment(number), bytes).expect("a segment");
    }

    fn segments(&self) -> Vec<u64> {
        segment::list(&self.0).expect("a folder")
    }

    fn try_open(&self) -> Result<(Journal, Opened, Vec<Change>), JournalError> {
        let mut changes = Vec::new();
        let (journal, opened) = Journal::open_now(&self.0, |change| changes.push(change))?;
        assert_eq!(opened.changes, changes.len() as u64);
        Ok((journal, opened, changes))
    }

    fn open(&self) -> (Journal, Opened, Vec<Change>) {
        self.try_open().expect("a journal")
    }

    fn error(&self) -> JournalError {
        self.try_open().expect_err("a damaged journal")
    }

    /// What a replay gives; nothing must have been cut off.
    fn changes(&self) -> Vec<Change> {
        let (_, opened, changes) = self.open();
        assert_eq!(opened.cut, None);
        changes
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn place(path: &[&str]) -> Place {
    Place { tree: Tree::Named("rooms".to_owned()), path: path.iter().map(|&part| part.to_owned()).collect() }
}

fn set(key: &str, value: &str) -> Change {
    Change::Set { place: place(&[key]), value: Bytes::copy_from_slice(value.as_bytes()) }
}

fn image(key: &str, value: &str) -> Change {
    Change::Image {
        place: place(&[key]),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expiries: Vec::new(),
    }
}

/// One of each.
fn every_change() -> Vec<Change> {
    vec![
        Change::Set { place: place(&["a", "0"]), value: Bytes::from_static(b"{\"n\":1}") },
        Change::Set {
            place: Place { tree: Tree::Global, path: vec!["ü".to_owned()] },
            value: Bytes::from_static(b"2"),
        },
        Change::Remove { place: Place { tree: Tree::Session("s".to_owned()), path: Vec::new() } },
        Change::RemoveElements { place: place(&["list"]), from: 0, to: u64::MAX },
        Change::Expire { place: place(&["a"]), at: 1_800_000_000_000 },
        Change::Unexpire { place: place(&["a"]) },
        Change::Image {
            place: place(&[]),
            value: Bytes::from_static(b"{\"a\":[1]}"),
            expiries: vec![(vec!["a".to_owned(), "0".to_owned()], 7), (Vec::new(), 8)],
        },
    ]
}

fn write(journal: &mut Journal, changes: &[Change]) {
    journal.append(changes).expect("a small record");
    journal.write().expect("a disk");
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = Folder::new();
    let mut all = Vec::new();
    for round in 0..3 {
        let (mut journal, opened, changes) = folder.open();
        assert_eq!(changes, all, "round {round}");
        assert_eq!((opened.cut, opened.changes), (None, all.len() as u64));
        assert_eq!(opened.bytes, if round == 0 { 0 } else { journal.disk_bytes() });
        write(&mut journal, &every_change());
        all.extend(every_change());
        for change in every_change() {
            journal.append(std::slice::from_ref(&change)).expect("a small record");
            all.push(change);
        }
        journal.append(&[]).expect("nothing");
        journal.write().expect("a disk");
        assert_eq!(journal.disk_bytes(), folder.bytes(1).len() as u64);
    }
    assert_eq!(folder.segments(), [1]);
}

#[test]
fn what_was_not_written_is_pending_and_then_gone() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    assert!(!journal.is_pending());
    journal.append(&[set("a", "1")]).expect("a small record");
    let pending = journal.pending_bytes();
    assert!(journal.is_pending() && pending > 0);
    assert_eq!((journal.position(), folder.bytes(1).len()), (0, segment::START));
    journal.write().expect("a disk");
    assert_eq!((journal.position(), journal.pending_bytes()), (pending as u64, 0));
    journal.append(&[set("b", "1")]).expect("a small record");
    drop(journal);
    assert_eq!(folder.changes(), [set("a", "1")]);
}

#[test]
fn a_sync_handle_is_the_file() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &every_change());
    let handle = journal.sync_handle();
    let synced =
        std::thread::spawn(move || handle.sync_data().map(|()| handle.metadata().map(|data| data.len())));
    let length = synced.join().expect("a thread").expect("a disk").expect("its data");
    assert_eq!(length, journal.disk_bytes());
}

#[test]
fn folder_and_segments_are_for_the_user_alone() {
    let folder = Folder::new();
    let inner = folder.0.join("data").join("store-0");
    Journal::open_now(&inner, |_| {}).expect("a journal");
    let mode = |path: &Path| path.metadata().expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&segment::path(&inner, 1)), 0o600);
}

#[test]
fn values_are_bytes_and_not_arrays_of_numbers() {
    let mut buffer = Vec::new();
    let value = Bytes::from(vec![0xff; 1000]);
    record::put(&mut buffer, &Written::Changes(&[Change::Set { place: place(&["k"]), value }]))
        .expect("a record");
    assert!(buffer.len() < 1060, "{}", buffer.len());
    assert!(buffer.windows(1000).any(|window| window == [0xff; 1000]));
}

/// Journals of version 1 are on disks: a change that fails this needs a new version.
#[test]
fn the_format_is_as_it_was() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let compaction = journal.begin_compaction().expect("a disk");
    write(&mut journal, &every_change());
    write(&mut journal, &[image("k", "1")]);
    journal.finish_compaction(compaction).expect("a disk");
    let bytes = folder.bytes(2).escape_ascii().to_string();
    assert_eq!(bytes, include_str!("tests/version-1.txt").trim_end());
}

#[test]
fn other_files_are_left_alone() {
    let folder = Folder::new();
    for name in ["journal-1", "journal-00000001.bak", "journal-0000000a", "journal-000000009", "notes"] {
        std::fs::write(folder.0.join(name), "mine").expect("a file");
    }
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("a", "1")]);
    let compaction = journal.begin_compaction().expect("a disk");
    journal.finish_compaction(compaction).expect("a disk");
    assert_eq!(folder.segments(), [2]);
    assert_eq!(std::fs::read_dir(&folder.0).expect("a folder").count(), 6);
}

#[test]
fn errors_of_the_system_name_the_path() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    std::fs::write(&file, "").expect("a file");
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/sc-host")] {
        let error = Journal::open_now(&path, |_| {}).expect_err("no folder").to_string();
        assert!(error.contains(&format!("{} cannot be created", path.display())), "{error}");
    }
    std::fs::create_dir(folder.segment(1)).expect("a folder in a segment's place");
    let error = folder.error().to_string();
    assert!(error.contains(&format!("{} cannot be read", folder.segment(1).display())), "{error}");
}
