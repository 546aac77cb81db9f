//! Ends that crashes leave are cut off, and nothing before them.

use super::*;

/// A journal of three records; where the last one begins, and the changes before it.
fn journal() -> (Folder, usize, Vec<Change>) {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    write(&mut journal, &every_change());
    write(&mut journal, &[set("a", "1"), set("b", "2")]);
    let last = folder.bytes(1).len();
    write(&mut journal, &[set("c", "3"), set("d", "4")]);
    let mut before = every_change();
    before.extend([set("a", "1"), set("b", "2")]);
    (folder, last, before)
}

/// Opens with this as the last segment: the end is cut off at the offset, once, and the journal goes on there.
#[track_caller]
fn cuts(folder: &Folder, bytes: &[u8], offset: usize, before: &[Change]) {
    folder.put(1, bytes);
    let (mut journal, opened, changes) = folder.open();
    assert_eq!(changes, before);
    let cut = Cut { file: folder.segment(1), offset: offset as u64, bytes: (bytes.len() - offset) as u64 };
    assert_eq!(opened.cut, Some(cut));
    assert_eq!(folder.bytes(1).len(), offset.max(segment::START));
    write(&mut journal, &[set("e", "5")]);
    let mut after = before.to_vec();
    after.push(set("e", "5"));
    assert_eq!(folder.changes(), after);
}

#[test]
fn a_last_record_that_stops_anywhere_is_cut_off() {
    let (folder, last, before) = journal();
    let whole = folder.bytes(1);
    for end in last + 1..whole.len() {
        cuts(&folder, &whole[..end], last, &before);
    }
}

#[test]
fn a_last_record_that_stops_anywhere_and_goes_on_as_zeros_is_cut_off() {
    let (folder, last, before) = journal();
    let whole = folder.bytes(1);
    for end in last..whole.len() {
        for length in [whole.len(), whole.len() + 1, whole.len() + 5000] {
            let mut bytes = whole[..end].to_vec();
            bytes.resize(length, 0);
            if bytes.starts_with(&whole) {
                continue;
            }
            cuts(&folder, &bytes, last, &before);
        }
    }
}

#[test]
fn zeros_after_the_last_record_are_cut_off() {
    let (folder, _, mut before) = journal();
    before.extend([set("c", "3"), set("d", "4")]);
    let whole = folder.bytes(1);
    for zeros in [1, record::HEADER - 1, record::HEADER, record::HEADER + 1, 300_000] {
        let mut bytes = whole.clone();
        bytes.resize(whole.len() + zeros, 0);
        cuts(&folder, &bytes, whole.len(), &before);
    }
}

#[test]
fn a_write_of_many_records_that_stops_anywhere_keeps_the_whole_ones() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let changes: Vec<Change> = (0..5).map(|n| set("k", &n.to_string())).collect();
    let mut ends = vec![segment::START];
    for change in &changes {
        write(&mut journal, std::slice::from_ref(change));
        ends.push(folder.bytes(1).len());
    }
    let whole = folder.bytes(1);
    for end in segment::START..whole.len() {
        for zeros in [0, 1, 700] {
            let mut bytes = whole[..end].to_vec();
            bytes.resize(end + zeros, 0);
            let kept = ends.iter().rposition(|&record| record <= end).expect("the header");
            if bytes.len() > ends[kept] {
                cuts(&folder, &bytes, ends[kept], &changes[..kept]);
            }
        }
    }
}

#[test]
fn a_last_record_with_a_wrong_checksum_is_cut_off() {
    let (folder, last, before) = journal();
    let whole = folder.bytes(1);
    for at in last + record::HEADER..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        cuts(&folder, &bytes, last, &before);
    }
}

#[test]
fn a_part_of_a_segments_header_is_an_empty_segment() {
    let folder = Folder::new();
    let header = {
        folder.open();
        folder.bytes(1)
    };
    for end in 0..header.len() {
        for length in [end, header.len(), 4096] {
            let mut bytes = header[..end].to_vec();
            bytes.resize(length.max(end), 0);
            if !bytes.starts_with(&header) {
                cuts(&folder, &bytes, 0, &[]);
            }
        }
    }
    let (mut journal, ..) = folder.open();
    write(&mut journal, &[set("f", "6")]);
    let before = folder.changes();
    folder.put(2, b"sc-host");
    let (mut journal, opened, changes) = folder.open();
    assert_eq!(changes, before);
    assert_eq!(opened.cut, Some(Cut { file: folder.segment(2), offset: 0, bytes: 7 }));
    write(&mut journal, &[set("g", "7")]);
    assert_eq!(folder.changes().len(), before.len() + 1);
}

#[test]
fn a_torn_end_is_damage_when_another_segment_follows() {
    let (folder, last, _) = journal();
    let whole = folder.bytes(1);
    let (mut journal, ..) = folder.open();
    let _unfinished = journal.begin_compaction().expect("a disk");
    for end in last + 1..whole.len() {
        folder.put(1, &whole[..end]);
        match folder.error() {
            JournalError::Corrupt { file, offset, .. } => {
                assert_eq!((file, offset), (folder.segment(1), last as u64));
            }
            other => panic!("{other}"),
        }
        assert_eq!(folder.bytes(1).len(), end, "nothing is cut off");
    }
}
