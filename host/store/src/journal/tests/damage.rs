//! What no crash leaves is an error, and the files stay as they are.

use super::*;

/// A journal of four records, and where each begins.
fn journal() -> (Folder, Vec<usize>) {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let mut starts = vec![segment::START];
    for _ in 0..4 {
        write(&mut journal, &every_change());
        starts.push(folder.bytes(1).len());
    }
    (folder, starts)
}

#[track_caller]
fn is_corrupt(folder: &Folder, bytes: &[u8], offset: usize) {
    folder.put(1, bytes);
    let error = folder.error();
    let text = error.to_string();
    match error {
        JournalError::Corrupt { file, offset: at, .. } => {
            assert_eq!((file, at), (folder.segment(1), offset as u64), "{text}");
        }
        other => panic!("{other}"),
    }
    let file = folder.segment(1);
    for part in [format!("at byte {offset}:"), format!("`truncate -s {offset} '{}'`", file.display())] {
        assert!(text.contains(&part), "{text}");
    }
    assert!(folder.bytes(1) == bytes, "nothing is changed");
}

#[test]
fn no_changed_byte_before_the_last_record_is_passed_over() {
    let (folder, starts) = journal();
    let whole = folder.bytes(1);
    let last = starts[3];
    for at in segment::START..last {
        let record = *starts.iter().rfind(|&&start| start <= at).expect("a record");
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            is_corrupt(&folder, &bytes, record);
        }
        let mut bytes = whole.clone();
        bytes[at] = 0;
        if bytes != whole {
            is_corrupt(&folder, &bytes, record);
        }
    }
}

#[test]
fn a_changed_byte_in_the_last_records_header_is_damage() {
    let (folder, starts) = journal();
    let whole = folder.bytes(1);
    for at in starts[3]..starts[3] + record::HEADER {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        is_corrupt(&folder, &bytes, starts[3]);
    }
}

#[test]
fn zeros_and_garbage_in_the_middle_are_damage() {
    let (folder, starts) = journal();
    let whole = folder.bytes(1);
    for (from, to) in [(starts[1], starts[2]), (starts[1] + 3, starts[3]), (starts[2] + 20, starts[3] + 1)] {
        for filling in [0, 0x5a, 0xff] {
            let mut bytes = whole.clone();
            bytes[from..to].fill(filling);
            let record = *starts.iter().rfind(|&&start| start <= from).expect("a record");
            is_corrupt(&folder, &bytes, record);
        }
    }
    let mut bytes = whole.clone();
    bytes.extend_from_slice(b"something else altogether");
    is_corrupt(&folder, &bytes, whole.len());
    let mut bytes = whole.clone();
    bytes.resize(whole.len() + 100_000, 0);
    bytes.push(1);
    is_corrupt(&folder, &bytes, whole.len());
}

#[test]
fn a_record_that_is_none_of_ours_is_damage_even_at_the_end() {
    let (folder, starts) = journal();
    let whole = folder.bytes(1);
    for payload in [&b""[..], b"\x81\xa5Other\x01", b"\x93\x01\x02\x03"] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&record::with_header(payload));
        is_corrupt(&folder, &bytes, starts[4]);
    }
}

#[test]
fn following_the_advice_opens_the_journal_again() {
    let (folder, starts) = journal();
    let (mut journal, ..) = folder.open();
    let _unfinished = journal.begin_compaction().expect("a disk");
    let mut bytes = folder.bytes(1);
    bytes[starts[2] + 20] ^= 1;
    is_corrupt(&folder, &bytes, starts[2]);
    folder.put(1, &bytes[..starts[2]]);
    std::fs::remove_file(folder.segment(2)).expect("a segment");
    assert_eq!(folder.changes(), [every_change(), every_change()].concat());
}

#[test]
fn a_newer_version_asks_for_a_newer_host() {
    let (folder, _) = journal();
    let mut bytes = folder.bytes(1);
    bytes[16] = 2;
    folder.put(1, &bytes);
    let text = folder.error().to_string();
    let file = folder.segment(1).display().to_string();
    for part in [file.as_str(), "version 2", "up to 1", "newer sc-host"] {
        assert!(text.contains(part), "{text}");
    }
    bytes[16] = 0;
    folder.put(1, &bytes);
    assert!(matches!(folder.error(), JournalError::Corrupt { offset: 0, .. }));
}

#[test]
fn another_file_is_no_journal() {
    let (folder, _) = journal();
    let whole = folder.bytes(1);
    for at in 0..16 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        folder.put(1, &bytes);
        assert!(matches!(folder.error(), JournalError::Foreign { file } if file == folder.segment(1)));
    }
    for bytes in [&b"hello"[..], b"sc-host journey\n", b"sc-host journal\n\x02", &[1; 4096]] {
        folder.put(1, bytes);
        assert!(matches!(folder.error(), JournalError::Foreign { .. }));
        assert_eq!(folder.bytes(1), bytes);
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (folder, _) = journal();
    let (mut journal, ..) = folder.open();
    for _ in 0..3 {
        let _unfinished = journal.begin_compaction().expect("a disk");
        write(&mut journal, &[set("a", "1")]);
    }
    assert_eq!(folder.segments(), [1, 2, 3, 4]);
    for missing in 1..4 {
        let bytes = folder.bytes(missing);
        std::fs::remove_file(folder.segment(missing)).expect("a segment");
        let error = folder.error();
        assert!(
            matches!(&error, JournalError::Missing { file } if *file == folder.segment(missing)),
            "{error}"
        );
        assert!(error.to_string().contains(&folder.segment(missing).display().to_string()));
        folder.put(missing, &bytes);
    }
    assert_eq!(folder.changes().len(), 4 * every_change().len() + 3);
}
