//! Disks that are full: nothing is written in part, and nothing is lost.

use std::io::Write;

use super::tail::Medium;
use super::*;

/// A disk with little room. It takes few bytes at a time, like a file may.
struct Disk {
    bytes: Vec<u8>,
    room: usize,
    cuts: bool,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(7).min(self.room - self.bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Medium for Disk {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        if !self.cuts {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.bytes.truncate(usize::try_from(length).expect("a small length"));
        Ok(())
    }
}

#[test]
fn a_write_in_part_is_taken_back_and_tried_again() {
    for room in 10..30 {
        let mut tail = Tail::new(Disk { bytes: b"0123456789".to_vec(), room, cuts: true }, 10);
        tail.buffer.extend_from_slice(b"abcdefghijklmnopqrst");
        for _ in 0..2 {
            tail.write().expect_err("no room");
            assert_eq!((&tail.medium.bytes[..], tail.length), (&b"0123456789"[..], 10));
            assert_eq!(tail.buffer, b"abcdefghijklmnopqrst");
        }
        tail.buffer.extend_from_slice(b"uv");
        tail.medium.room = 32;
        assert_eq!(tail.write().expect("room"), 22);
        assert_eq!((&tail.medium.bytes[..], tail.length), (&b"0123456789abcdefghijklmnopqrstuv"[..], 32));
        assert!(tail.buffer.is_empty());
        assert_eq!(tail.write().expect("nothing"), 0);
    }
}

#[test]
fn what_cannot_be_taken_back_at_once_is_before_the_next_write() {
    let mut tail = Tail::new(Disk { bytes: b"0123".to_vec(), room: 6, cuts: false }, 4);
    tail.buffer.extend_from_slice(b"abcd");
    tail.write().expect_err("no room");
    assert_eq!(tail.medium.bytes, b"0123ab");
    tail.medium.room = 100;
    tail.write().expect_err("still torn");
    assert_eq!((&tail.medium.bytes[..], tail.length), (&b"0123ab"[..], 4));
    tail.medium.cuts = true;
    assert_eq!(tail.write().expect("room"), 4);
    assert_eq!(tail.medium.bytes, b"0123abcd");
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &every_change());
    let position = journal.position();
    let segment = journal.write_to("/dev/full");
    journal.append(&[set("a", "1")]).expect("a small record");
    let error = journal.write().expect_err("a full disk");
    assert!(error.to_string().contains(&folder.segment(1).display().to_string()), "{error}");
    assert!(matches!(error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    journal.append(&[set("b", "2")]).expect("a small record");
    journal.begin_compaction().expect_err("a full disk");
    assert!(journal.is_pending());
    assert_eq!((journal.position(), folder.segments()), (position, vec![1]));
    journal.write_back_to(segment);
    journal.write().expect("room");
    let mut all = every_change();
    all.extend([set("a", "1"), set("b", "2")]);
    assert_eq!(folder.changes(), all);
}

#[test]
fn a_disk_that_is_full_at_a_compactions_end_keeps_the_older_segments() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("a", "1")]);
    let compaction = journal.begin_compaction().expect("a disk");
    journal.append(&[image("a", "1")]).expect("a small record");
    let pending = journal.pending_bytes();
    let segment = journal.write_to("/dev/full");
    journal.finish_compaction(compaction).expect_err("a full disk");
    assert_eq!((journal.pending_bytes(), folder.segments()), (pending, vec![1, 2]));
    journal.write_back_to(segment);
    journal.write().expect("room");
    // An image without its checkpoint counts for nothing.
    assert_eq!(folder.changes(), [set("a", "1")]);
    assert!(journal.wants_compaction(0));
    let compaction = journal.begin_compaction().expect("a disk");
    write(&mut journal, &[image("a", "1")]);
    journal.finish_compaction(compaction).expect("a disk");
    assert_eq!((folder.segments(), folder.changes()), (vec![3], vec![image("a", "1")]));
}

#[test]
fn images_that_find_no_room_stand_in_no_changes_way() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("a", "1")]);
    let compaction = journal.begin_compaction().expect("a disk");
    journal.write_images(&[image("a", "1")]).expect("room");
    journal.append(&[set("b", "2")]).expect("a small record");
    let pending = journal.pending_bytes();
    let segment = journal.write_to("/dev/full");
    journal.write_images(&[image("b", "2"), image("c", "3")]).expect_err("a full disk");
    assert_eq!(journal.pending_bytes(), pending, "the change alone waits");
    journal.write_back_to(segment);
    journal.write().expect("room");
    journal.finish_compaction(compaction).expect("nothing to finish");
    assert_eq!((folder.segments(), folder.changes()), (vec![1, 2], vec![set("a", "1"), set("b", "2")]));
    assert!(journal.wants_compaction(0));
}

#[test]
fn a_disk_that_failed_is_mended_by_a_compaction_at_the_next_opening() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("a", "1")]);
    let segment = journal.write_to("/dev/null");
    let error = journal.begin_compaction().expect_err("not synced");
    assert!(matches!(error, JournalError::NotSynced { .. }), "{error}");
    journal.write_back_to(segment);
    drop(journal);
    for _ in 0..2 {
        let (mut journal, _, changes) = folder.open();
        assert!(journal.is_doubted() && changes == [set("a", "1")]);
        // The next one fails as well, in the middle.
        let _given_up = journal.begin_compaction().expect("a disk");
        journal.write_images(&[image("a", "1")]).expect("a disk");
        journal.give_up();
        assert_eq!(folder.segments(), [1]);
    }
    let (mut journal, ..) = folder.open();
    // The segment in doubt is not asked whether it is on the disk.
    journal.write_to("/dev/null");
    let compaction = journal.begin_compaction().expect("a disk");
    journal.write_images(&[image("a", "1")]).expect("a disk");
    journal.finish_compaction(compaction).expect("a disk");
    assert!(!journal.is_doubted());
    drop(journal);
    let (journal, _, changes) = folder.open();
    assert!(!journal.is_doubted());
    assert_eq!((folder.segments(), changes), (vec![2], vec![image("a", "1")]));
}
