use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::files::read_verified;
use super::state::{Record, StateFault};
use super::*;
use crate::adapter::{Method, Problem};
use crate::backbone::Fingerprint;
use crate::engine::Form;
use crate::hash::content_hash;
use crate::registry::testing::task;

const KEEP: usize = 3;

fn record(bytes: &[u8]) -> Record {
    Record {
        hash: content_hash(bytes),
        bytes: bytes.len() as u64,
        form: Form::Rescaled,
        backbone: Fingerprint("sha256:00".into()),
        method: Method::Rlrr,
        problem: Problem::SingleLabel,
        classes: 2,
        created_unix_s: 1,
    }
}

fn create(store: &mut Store, name: &str, bytes: &[u8], activate: bool) -> u64 {
    let mut writer = store.writer().expect("the only process");
    writer.create(&task(name), bytes, record(bytes), activate, KEEP).expect("room").number
}

/// Every task with its active version and every version's bytes, all read from disk and checked.
type Contents = BTreeMap<String, (Option<u64>, BTreeMap<u64, Vec<u8>>)>;

fn contents(store: &Store) -> Contents {
    let task = |(task, entry): (&TaskName, &Entry)| {
        let state = entry.state.as_ref().expect("a good state");
        let read = |(&number, record): (&u64, &Record)| {
            let bytes = read_verified(&store.folder.version(task, number), record.bytes, &record.hash);
            (number, bytes.expect("whole"))
        };
        (task.to_string(), (state.active, state.versions.iter().map(read).collect()))
    };
    store.tasks().map(task).collect()
}

/// A change, on one of three tasks; versions are picked among those there are.
#[derive(Clone, Debug)]
enum Change {
    Create {
        activate: bool,
    },
    Activate {
        pick: usize,
        merged: bool,
    },
    DeleteVersion {
        pick: usize,
    },
    DeleteTask,
    /// Another process opens the folder after this one died, with such leftovers.
    Reopen {
        leftovers: bool,
    },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => any::<bool>().prop_map(|activate| Change::Create { activate }),
        2 => (0usize..9, any::<bool>()).prop_map(|(pick, merged)| Change::Activate { pick, merged }),
        2 => (0usize..9).prop_map(|pick| Change::DeleteVersion { pick }),
        1 => Just(Change::DeleteTask),
        2 => any::<bool>().prop_map(|leftovers| Change::Reopen { leftovers }),
    ]
}

/// What a store should hold.
#[derive(Default)]
struct Model {
    tasks: Contents,
    used: BTreeMap<String, u64>,
}

impl Model {
    fn create(&mut self, name: &str, bytes: Vec<u8>, activate: bool) -> u64 {
        let number = self.used.get(name).map_or(1, |used| used + 1);
        self.used.insert(name.to_owned(), number);
        let (active, versions) = self.tasks.entry(name.to_owned()).or_default();
        versions.insert(number, bytes);
        if activate {
            *active = Some(number);
        }
        while versions.len() > KEEP {
            let oldest = versions.keys().copied().find(|n| Some(*n) != *active && *n != number).expect("two may stay");
            versions.remove(&oldest);
        }
        number
    }

    /// A version there is.
    fn pick(&self, name: &str, pick: usize) -> Option<u64> {
        let versions = &self.tasks.get(name)?.1;
        versions.keys().nth(pick % versions.len()).copied()
    }

    fn delete_version(&mut self, name: &str, number: u64) -> bool {
        let Some((active, versions)) = self.tasks.get_mut(name) else { return false };
        if *active == Some(number) {
            return false;
        }
        versions.remove(&number);
        self.tasks.retain(|_, (_, versions)| !versions.is_empty());
        true
    }
}

fn leave_leftovers(root: &Path, name: &str, next: u64) {
    let tasks = root.join("tasks");
    fs::create_dir_all(tasks.join(".new-later/versions")).expect("made");
    fs::write(tasks.join(".new-later/versions/1.safetensors"), "cut").expect("written");
    let folder = tasks.join(name);
    if folder.exists() {
        fs::write(folder.join(".new-state.json"), "{").expect("written");
        fs::write(folder.join("versions/.new-9.safetensors"), "cut").expect("written");
        fs::write(folder.join(format!("versions/{next}.safetensors")), "never named").expect("written");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_what_its_changes_say(changes in proptest::collection::vec((0usize..3, change()), 1..24)) {
        let folder = tempdir().expect("a folder");
        let mut store = Store::open(folder.path()).expect("opens");
        let mut follower = Store::open(folder.path()).expect("opens");
        let mut model = Model::default();
        for (step, (name, change)) in changes.into_iter().enumerate() {
            let name = ["a", "b", "c"][name];
            match change {
                Change::Create { activate } => {
                    let bytes = vec![u8::try_from(step).expect("few steps"); step + 1];
                    let number = create(&mut store, name, &bytes, activate);
                    prop_assert_eq!(number, model.create(name, bytes, activate));
                }
                Change::Activate { pick, merged } => if let Some(number) = model.pick(name, pick) {
                    let form = if merged { Form::Merged } else { Form::Rescaled };
                    store.writer().expect("writer").activate(&task(name), number, form).expect("there");
                    model.tasks.get_mut(name).expect("there").0 = Some(number);
                    let state = store.task(&task(name)).expect("there").state.as_ref().expect("good");
                    prop_assert_eq!(state.versions[&number].form, form);
                }
                Change::DeleteVersion { pick } => if let Some(number) = model.pick(name, pick)
                    && model.delete_version(name, number)
                {
                    store.writer().expect("writer").delete_version(&task(name), number).expect("there");
                }
                Change::DeleteTask => {
                    store.writer().expect("writer").delete_task(&task(name)).expect("works");
                    model.tasks.remove(name);
                }
                Change::Reopen { leftovers } => {
                    drop(store);
                    if leftovers {
                        leave_leftovers(folder.path(), name, model.used.get(name).map_or(1, |used| used + 1));
                    }
                    store = Store::open(folder.path()).expect("opens");
                }
            }
            prop_assert_eq!(&contents(&store), &model.tasks);
            follower.refresh().expect("readable");
            prop_assert_eq!(&contents(&follower), &model.tasks);
        }
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        prop_assert_eq!(files_of(folder.path()), expected_files(&model));
        prop_assert_eq!(&contents(&store), &model.tasks);
    }

    #[test]
    fn any_bytes_are_a_state_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = state::TaskState::parse(&bytes);
    }
}

/// Files in `tasks/`, by their path inside it.
fn files_of(root: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path() {
                path if path.is_dir() => walk(&path, &format!("{name}/"), found),
                _ => found.push(name),
            }
        }
    }
    let mut found = Vec::new();
    walk(&root.join("tasks"), "", &mut found);
    found.sort();
    found
}

fn expected_files(model: &Model) -> Vec<String> {
    let states = model.used.keys().map(|name| format!("{name}/state.json"));
    let versions = model.tasks.iter().flat_map(|(name, (_, versions))| {
        versions.keys().map(move |number| format!("{name}/versions/{number}.safetensors"))
    });
    let mut files: Vec<String> = states.chain(versions).collect();
    files.sort();
    files
}

/// A folder with two tasks of two versions, the second of each active.
fn two_tasks() -> TempDir {
    let folder = tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("opens");
    for name in ["a", "b"] {
        create(&mut store, name, b"one", true);
        create(&mut store, name, b"two", true);
    }
    folder
}

#[test]
fn a_newer_folder_is_refused_and_untouched() {
    let folder = tempdir().expect("a folder");
    fs::write(folder.path().join("format_version"), "2\n").expect("written");
    let error = Store::open(folder.path()).map(drop).expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let folder = tempdir().expect("a folder");
    fs::create_dir(folder.path().join("tasks")).expect("made");
    assert!(matches!(Store::open(folder.path()).map(drop), Err(StoreError::NotAStore { .. })));
    fs::write(folder.path().join("format_version"), "one").expect("written");
    assert!(matches!(Store::open(folder.path()).map(drop), Err(StoreError::NotAStore { .. })));
}

#[test]
fn a_task_of_a_newer_release_is_refused_by_name_and_kept() {
    let folder = two_tasks();
    let path = folder.path().join("tasks/a/state.json");
    let newer = r#"{"format_version": 2, "aliases": {}}"#;
    fs::write(&path, newer).expect("written");
    let mut store = Store::open(folder.path()).expect("the rest serves");
    let state = &store.task(&task("a")).expect("listed").state;
    assert_eq!(state.as_ref().expect_err("newer"), &StateFault::Newer(2));
    let mut writer = store.writer().expect("writer");
    assert!(writer.create(&task("a"), b"x", record(b"x"), true, KEEP).is_err());
    assert!(writer.delete_task(&task("a")).is_err());
    assert_eq!(fs::read_to_string(&path).expect("kept"), newer);
    assert!(folder.path().join("tasks/a/versions/2.safetensors").exists());
}

#[test]
fn a_damaged_state_file_is_moved_away_and_its_versions_stay() {
    for damage in ["", "{", "null", r#"{"format_version":1,"active":7,"next":3,"versions":{}}"#] {
        let folder = two_tasks();
        let path = folder.path().join("tasks/a/state.json");
        fs::write(&path, damage).expect("written");
        for _ in 0..2 {
            let store = Store::open(folder.path()).expect("the rest serves");
            let state = &store.task(&task("a")).expect("listed").state;
            assert!(matches!(state, Err(StateFault::Damaged(_))), "{damage}");
            assert_eq!(contents_of(&store, "b"), Some(2));
        }
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(folder.path().join("quarantine/a.1.state.json")).expect("moved"), damage);
        assert!(folder.path().join("tasks/a/versions/2.safetensors").exists());

        let mut store = Store::open(folder.path()).expect("opens");
        store.writer().expect("writer").delete_task(&task("a")).expect("damaged ones may go");
        assert!(store.task(&task("a")).is_none());
        assert_eq!(create(&mut store, "a", b"three", true), 3);
    }
}

#[test]
fn numbers_of_files_in_the_quarantine_are_used_up() {
    let folder = two_tasks();
    fs::write(folder.path().join("tasks/a/versions/2.safetensors"), "tw").expect("written");
    drop(Store::open(folder.path()).expect("opens and moves the damaged version away"));
    assert!(folder.path().join("quarantine/a.1.2.safetensors").exists());
    fs::write(folder.path().join("tasks/a/state.json"), "{").expect("written");
    let mut store = Store::open(folder.path()).expect("opens");
    store.writer().expect("writer").delete_task(&task("a")).expect("damaged ones may go");
    assert_eq!(create(&mut store, "a", b"three", true), 3);
}

fn contents_of(store: &Store, name: &str) -> Option<u64> {
    store.task(&task(name)).expect("there").state.as_ref().expect("good").active
}

#[test]
fn missing_and_cut_files_are_found_at_the_start() {
    let folder = two_tasks();
    let version = |name: &str, number: u64| folder.path().join(format!("tasks/{name}/versions/{number}.safetensors"));
    fs::remove_file(version("a", 1)).expect("there");
    fs::write(version("b", 2), "tw").expect("written");
    let follower_sees = {
        let _writer = WriterLock::take(folder.path()).expect("works").expect("free");
        let store = Store::open(folder.path()).expect("opens");
        assert!(!store.is_writer() && version("b", 2).exists(), "a reader moves nothing");
        store.task(&task("b")).expect("there").damaged.clone()
    };
    let store = Store::open(folder.path()).expect("opens");
    let damaged = |name: &str| store.task(&task(name)).expect("there").damaged.clone();
    assert_eq!(damaged("a").into_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(damaged("b").into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(follower_sees, damaged("b"));
    assert_eq!(fs::read_to_string(folder.path().join("quarantine/b.1.2.safetensors")).expect("moved"), "tw");
}

#[test]
fn a_refused_state_does_not_come_back() {
    let folder = two_tasks();
    let mut store = Store::open(folder.path()).expect("opens");
    let before = contents(&store);
    // A folder in the way of the temporary file: every write of a state fails.
    let blocker = folder.path().join("tasks/a/.new-state.json");
    fs::create_dir(&blocker).expect("made");
    let mut writer = store.writer().expect("writer");
    assert!(writer.create(&task("a"), b"three", record(b"three"), true, KEEP).is_err());
    assert!(writer.activate(&task("a"), 1, Form::Rescaled).is_err());
    assert!(writer.delete_task(&task("a")).is_err());
    assert_eq!(contents(&store), before);
    assert!(!folder.path().join("tasks/a/versions/3.safetensors").exists());
    drop(store);
    let mut store = Store::open(folder.path()).expect("opens");
    assert_eq!(contents(&store), before);
    assert_eq!(create(&mut store, "a", b"three", true), 3);
}
