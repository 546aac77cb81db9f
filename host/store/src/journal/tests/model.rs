//! Random lives of a journal against a model: the changes of each segment.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Change>),
    Write,
    Reopen,
    /// With so many bytes less than were written by the last write.
    Tear(usize),
    Begin,
    Finish,
}

fn change() -> impl Strategy<Value = Change> {
    let place = (".{0,3}", proptest::collection::vec(".{0,4}", 0..3))
        .prop_map(|(name, path)| Place { tree: Tree::Named(name), path });
    let value = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (place, value, any::<u64>(), 0..5).prop_map(|(place, value, number, kind)| match kind {
        0 => Change::Set { place, value },
        1 => Change::Remove { place },
        2 => Change::RemoveElements { place, from: number, to: number / 2 },
        3 => Change::Expire { place, at: number },
        // Images count only where the data begin: the tests of compaction have them.
        _ => Change::Unexpire { place },
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(change(), 0..4).prop_map(Step::Append),
        4 => Just(Step::Write),
        2 => Just(Step::Reopen),
        1 => (1usize..12).prop_map(Step::Tear),
        2 => Just(Step::Begin),
        2 => Just(Step::Finish),
    ]
}

/// The changes that replay must give.
#[derive(Debug, Default)]
struct Model {
    older: Vec<Change>,
    /// Of the last segment, as they were appended.
    last: Vec<Vec<Change>>,
    pending: Vec<Vec<Change>>,
    /// There is nothing but the checkpoint in the last record of the file.
    ends_in_checkpoint: bool,
}

impl Model {
    fn write(&mut self) {
        self.ends_in_checkpoint &= self.pending.is_empty();
        self.last.append(&mut self.pending);
    }

    fn all(&self) -> Vec<Change> {
        self.older.iter().chain(self.last.iter().flatten()).cloned().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_journal_gives_what_it_took(steps in proptest::collection::vec(step(), 0..40)) {
        let folder = Folder::new();
        let (mut journal, ..) = folder.open();
        let (mut model, mut compaction) = (Model::default(), None);
        for step in steps {
            match step {
                Step::Append(changes) => {
                    journal.append(&changes).expect("a small record");
                    model.pending.extend(Some(changes).filter(|changes| !changes.is_empty()));
                }
                Step::Write => {
                    journal.write().expect("a disk");
                    model.write();
                    prop_assert!(!journal.is_pending());
                }
                Step::Reopen => {
                    model.pending.clear();
                    compaction = None;
                    let (again, opened, changes) = folder.open();
                    prop_assert_eq!(changes, model.all());
                    prop_assert_eq!(opened.cut, None);
                    prop_assert_eq!(again.disk_bytes(), journal.disk_bytes());
                    prop_assert_eq!(again.live_bytes(), journal.live_bytes());
                    journal = again;
                }
                Step::Tear(bytes) => {
                    if model.ends_in_checkpoint || model.last.is_empty() {
                        continue;
                    }
                    model.last.pop();
                    model.pending.clear();
                    compaction = None;
                    let number = journal.number;
                    let mut content = folder.bytes(number);
                    content.truncate(content.len() - bytes);
                    folder.put(number, &content);
                    let (again, opened, changes) = folder.open();
                    prop_assert_eq!(changes, model.all());
                    prop_assert!(opened.cut.is_some());
                    model.ends_in_checkpoint = model.last.is_empty();
                    journal = again;
                }
                Step::Begin => {
                    compaction = Some(journal.begin_compaction().expect("a disk"));
                    model.write();
                    model.older = model.all();
                    model.last.clear();
                }
                Step::Finish => {
                    if let Some(compaction) = compaction.take() {
                        journal.finish_compaction(compaction).expect("a disk");
                        model.write();
                        model.older = model.all().split_off(model.older.len());
                        model.last.clear();
                        model.ends_in_checkpoint = true;
                        prop_assert_eq!(folder.segments(), [journal.number]);
                    }
                }
            }
            let on_disk: u64 = folder.segments().into_iter().map(|number| folder.bytes(number).len() as u64).sum();
            prop_assert_eq!(journal.disk_bytes(), on_disk);
        }
        drop(journal);
        prop_assert_eq!(folder.changes(), model.all());
    }
}
