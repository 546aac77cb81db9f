//! A compaction may stop anywhere.

use super::*;

/// A journal before, and after, a compaction with a change between its images.
struct Compacted {
    folder: Folder,
    old: Vec<u8>,
    new: Vec<u8>,
}

fn compacted() -> Compacted {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("a", "1"), set("b", "1")]);
    write(&mut journal, &[Change::Remove { place: place(&["b"]) }]);
    let old = folder.bytes(1);
    let compaction = journal.begin_compaction().expect("a disk");
    for change in after() {
        write(&mut journal, &[change]);
    }
    journal.finish_compaction(compaction).expect("a disk");
    let new = folder.bytes(2);
    Compacted { folder, old, new }
}

fn before() -> Vec<Change> {
    vec![set("a", "1"), set("b", "1"), Change::Remove { place: place(&["b"]) }]
}

fn after() -> Vec<Change> {
    vec![image("a", "1"), set("c", "2"), image("d", "3")]
}

#[test]
fn only_the_new_segment_is_left() {
    let Compacted { folder, new, .. } = compacted();
    assert_eq!(folder.segments(), [2]);
    let (mut journal, _, changes) = folder.open();
    assert_eq!(changes, after());
    assert_eq!(journal.disk_bytes(), new.len() as u64);
    let mut images = Vec::new();
    for change in [image("a", "1"), image("d", "3")] {
        record::put(&mut images, &Written::Changes(&[change])).expect("a record");
    }
    assert_eq!(journal.live_bytes(), images.len() as u64);
    write(&mut journal, &[set("e", "4")]);
    assert_eq!(folder.changes().last(), Some(&set("e", "4")));
}

#[test]
fn a_crash_before_the_checkpoint_replays_both() {
    let Compacted { folder, old, new } = compacted();
    for end in 0..new.len() {
        folder.put(1, &old);
        folder.put(2, &new[..end]);
        let (journal, _, mut changes) = folder.open();
        let later = changes.split_off(before().len());
        // Without a checkpoint its images are not all there, and what they show is in the segment before.
        assert_eq!(changes, before());
        assert!(later.is_empty() || later == [set("c", "2")], "{later:?}");
        assert!(end < new.len() - 1 || !later.is_empty());
        assert_eq!((folder.segments(), journal.live_bytes()), (vec![1, 2], 0));
        assert_eq!(folder.bytes(1), old);
    }
}

#[test]
fn a_crash_before_the_new_segments_header_is_one_before_all_images() {
    let Compacted { folder, old, .. } = compacted();
    folder.put(1, &old);
    std::fs::remove_file(folder.segment(2)).expect("a segment");
    assert_eq!(folder.changes(), before());
}

#[test]
fn an_unfinished_compaction_is_made_up_for_by_the_next() {
    let Compacted { folder, old, new } = compacted();
    folder.put(1, &old);
    folder.put(2, &new[..new.len() - 1]);
    let (mut journal, ..) = folder.open();
    let stale = journal.begin_compaction().expect("a disk");
    let compaction = journal.begin_compaction().expect("a disk");
    write(&mut journal, &[image("z", "9")]);
    journal.finish_compaction(stale).expect("nothing");
    assert_eq!(folder.segments(), [1, 2, 3, 4]);
    journal.finish_compaction(compaction).expect("a disk");
    assert_eq!((folder.segments(), folder.changes()), (vec![4], vec![image("z", "9")]));
}

/// Whatever is left of the older ones is not looked at, be it damaged, and goes.
#[test]
fn a_crash_while_deleting_replays_the_new_segment_alone() {
    let Compacted { folder, old, new } = compacted();
    std::fs::remove_file(folder.segment(2)).expect("a segment");
    for left in [&[1, 2, 3][..], &[1, 2], &[1, 3], &[2, 3], &[3], &[2], &[1], &[]] {
        for bytes in [&old, &new[..new.len() - 1].to_vec(), &b"damaged".to_vec(), &Vec::new()] {
            for number in left {
                folder.put(*number, bytes);
            }
            folder.put(4, &new);
            assert_eq!(folder.changes(), after());
            assert_eq!(folder.segments(), [4]);
        }
    }
    folder.put(2, &old);
    let mut torn = new;
    torn.extend_from_slice(b"torn");
    folder.put(4, &torn);
    let (_, opened, changes) = folder.open();
    assert_eq!((changes, folder.segments()), (after(), vec![4]));
    assert_eq!(opened.cut.map(|cut| cut.bytes), Some(4));
}

#[test]
fn a_damaged_new_segment_deletes_nothing() {
    let Compacted { folder, old, new } = compacted();
    for at in [segment::START, segment::START + record::HEADER, new.len() - 30] {
        let mut bytes = new.clone();
        bytes[at] ^= 1;
        folder.put(1, &old);
        folder.put(2, &bytes);
        assert!(matches!(folder.error(), JournalError::Corrupt { file, .. } if file == folder.segment(2)));
        assert_eq!((folder.bytes(1), folder.bytes(2)), (old.clone(), bytes));
    }
}

#[test]
fn a_segment_whose_checkpoint_is_lost_is_not_taken_for_the_whole() {
    let Compacted { folder, new, .. } = compacted();
    let torn = &new[..new.len() - 1];
    folder.put(2, torn);
    assert!(matches!(folder.error(), JournalError::Missing { file } if file == folder.segment(1)));
    assert_eq!(folder.bytes(2), torn);
    folder.put(2, b"");
    assert!(matches!(folder.error(), JournalError::Missing { .. }));
    folder.put(2, torn);
    std::fs::rename(folder.segment(2), folder.segment(1)).expect("the advice");
    assert_eq!(folder.open().2, after());
}

#[test]
fn a_compaction_is_wanted_past_the_limit_and_twice_the_data() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let value = "7".repeat(1000);
    for _ in 0..10 {
        write(&mut journal, &[set("a", &value)]);
    }
    assert!(!journal.wants_compaction(COMPACT_OVER) && !journal.wants_compaction(journal.disk_bytes()));
    assert!(journal.wants_compaction(journal.disk_bytes() - 1));
    let compaction = journal.begin_compaction().expect("a disk");
    assert!(!journal.wants_compaction(0), "one is under way");
    for _ in 0..5 {
        write(&mut journal, &[image("a", &value)]);
    }
    journal.finish_compaction(compaction).expect("a disk");
    let (live, again) = (journal.live_bytes(), folder.open().0);
    assert!((5000..5500).contains(&live), "{live}");
    assert_eq!((again.live_bytes(), again.disk_bytes()), (live, journal.disk_bytes()));
    while journal.disk_bytes() <= 2 * live {
        assert!(!journal.wants_compaction(0));
        write(&mut journal, &[set("a", &value)]);
    }
    assert!(journal.wants_compaction(0) && !journal.wants_compaction(1 << 20));
}

/// A large tree is imaged member by member; a crash between two of them loses none of the others.
#[test]
fn a_crash_between_the_images_of_a_large_tree() {
    use sc_wire::store::KeyOp;

    use crate::keyspace::{Imager, Keyspace};

    const MEMBERS: usize = 1_200;
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let mut keys = Keyspace::new(true);
    for number in 0..MEMBERS {
        let set = KeyOp::Set { value: "1".into() };
        keys.act(0, &place(&[&number.to_string()]), set).expect("a path");
    }
    write(&mut journal, &keys.take_changes());
    let mut imager = Imager::new(&keys);
    let _unfinished = journal.begin_compaction().expect("a disk");
    for taken in 0..MEMBERS {
        let image = imager.next(&keys).expect("more images than members");
        write(&mut journal, &[image]);
        if taken % 300 == 0 || taken == MEMBERS - 1 {
            let mut again = Keyspace::new(true);
            let copy = Folder::new();
            for number in [1, 2] {
                copy.put(number, &folder.bytes(number));
            }
            copy.changes().into_iter().for_each(|change| again.apply(change));
            let count = again.act(0, &place(&[]), KeyOp::Count).expect("a path");
            assert_eq!(count.as_deref(), Some(MEMBERS.to_string().as_bytes()), "after {taken} images");
        }
    }
}
