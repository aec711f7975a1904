use super::*;
use crate::adapter::Problem;
use crate::engine::Form;
use crate::registry::testing::{Fixture, task};
use crate::registry::{LabelsDiff, Status, StoreLimit};

fn upload(manager: &Manager, bytes: &[u8]) -> Result<Uploaded, ManageError> {
    manager.upload(&task("digits"), bytes, &UploadOptions::default())
}

fn staged() -> UploadOptions {
    UploadOptions { activate: Some(false), ..Default::default() }
}

fn active(manager: &Manager, name: &str) -> Result<u64, LookupError> {
    manager.registry().active(&task(name)).map(|version| version.number)
}

/// Every file of the data folder that belongs to tasks.
fn files(fixture: &Fixture) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path => found.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            }
        }
    }
    let mut found = Vec::new();
    walk(&fixture.folder.path().join("tasks"), &mut found);
    found.sort();
    found
}

fn counted(fixture: &Fixture, line: &str) -> bool {
    fixture.metrics.render().lines().any(|found| found == line)
}

#[test]
fn an_upload_is_probed_stored_and_live() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let uploaded = upload(&manager, &fixture.adapter(1)).expect("good");
    assert!(matches!(&uploaded.probe, Probed::Passed(report) if report.pictures == 2), "{uploaded:?}");
    assert!(uploaded.created && uploaded.active && uploaded.version == 1);
    assert_eq!(active(&manager, "digits"), Ok(1));
    assert!(counted(&fixture, "manylens_adapters_resident 1"));
    assert!(counted(&fixture, r#"manylens_rows_total{outcome="ok",task="digits"} 0"#));
    let info = format!(r#"manylens_task_info{{hash="{}",task="digits",version="1"}} 1"#, uploaded.hash);
    assert!(counted(&fixture, &info), "{}", fixture.metrics.render());
}

#[test]
fn a_file_without_a_probe_is_taken_and_says_so() {
    let fixture = Fixture::new();
    let bytes = fixture.adapter_with(1, |file| file.probe = None);
    assert_eq!(upload(&fixture.manager(), &bytes).expect("good").probe, Probed::Absent);
}

#[test]
fn what_was_acknowledged_is_served_after_a_restart() {
    let fixture = Fixture::new();
    let first = fixture.manager();
    for seed in 1..4 {
        upload(&first, &fixture.adapter(seed)).expect("good");
    }
    first.activate(&task("digits"), 2, None, None).expect("there");
    drop(first);
    let second = fixture.manager();
    assert_eq!(active(&second, "digits"), Ok(2));
    assert_eq!(second.adapter_bytes(&task("digits"), 3).expect("there"), fixture.adapter(3));
}

#[test]
fn a_replayed_upload_rolls_nothing_back() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let (v1, v2) = (fixture.adapter(1), fixture.adapter(2));
    upload(&manager, &v1).expect("good");
    upload(&manager, &v2).expect("good");
    let again = upload(&manager, &v1).expect("known");
    assert_eq!((again.version, again.active, again.created, again.probe), (1, false, false, Probed::NotRun));
    assert_eq!(active(&manager, "digits"), Ok(2));
    assert!(counted(&fixture, r#"manylens_uploads_total{outcome="unchanged"} 1"#));

    let options = UploadOptions { activate: Some(true), ..Default::default() };
    let again = manager.upload(&task("digits"), &v1, &options).expect("known");
    assert!(again.active && !again.created && matches!(again.probe, Probed::Passed(_)), "{again:?}");
    assert_eq!(active(&manager, "digits"), Ok(1));
}

#[test]
fn a_staged_version_answers_by_number_only() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let uploaded = manager.upload(&task("digits"), &fixture.adapter(1), &staged()).expect("good");
    assert!(!uploaded.active);
    assert_eq!(active(&manager, "digits"), Err(LookupError::NoActiveVersion { task: task("digits") }));
    assert_eq!(manager.describe(&task("digits")).expect("there").status, Status::Staged);
    let version = manager.load_version(&task("digits"), 1).expect("there");
    assert!(Arc::ptr_eq(&version, &manager.load_version(&task("digits"), 1).expect("held")));
    assert!(counted(&fixture, "manylens_adapters_resident 1"));
    manager.activate(&task("digits"), 1, None, None).expect("there");
    assert_eq!(active(&manager, "digits"), Ok(1));
    assert!(counted(&fixture, "manylens_adapters_resident 1"));
}

#[test]
fn a_failed_upload_leaves_nothing() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let mut lying = fixture.tiny.file();
    lying.probe = lying.probe.map(|probe| Probe { logits: vec![9.0; 6], ..probe });
    let lying = fixture.write(&lying);
    assert!(matches!(upload(&manager, &lying), Err(ManageError::ProbeMismatch(report)) if !report.passed));
    assert!(matches!(upload(&manager, b"no adapter"), Err(ManageError::Adapter(_))));
    let other = Fixture::seeded(2).adapter(1);
    assert!(matches!(upload(&manager, &other), Err(ManageError::Adapter(_))));
    assert_eq!(files(&fixture), [""; 0]);
    assert_eq!(active(&manager, "digits"), Err(LookupError::UnknownTask { task: "digits".into() }));
    assert!(counted(&fixture, r#"manylens_uploads_total{outcome="refused"} 3"#));
    assert!(!fixture.metrics.render().contains("digits"));
}

#[test]
fn other_labels_need_a_word_or_a_stage() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    upload(&manager, &fixture.adapter(1)).expect("good");
    let renamed = fixture.adapter_with(2, |file| file.adapter.labels[0] = "lynx".into());
    let Err(ManageError::LabelsChanged { active: 1, diff }) = upload(&manager, &renamed) else { panic!("taken") };
    let expected = LabelsDiff { added: vec!["lynx".into()], removed: vec!["cat".into()], ..Default::default() };
    assert_eq!(diff, expected);
    let multi = fixture.adapter_with(3, |file| file.adapter.problem = Problem::MultiLabel);
    assert!(matches!(upload(&manager, &multi), Err(ManageError::LabelsChanged { .. })));

    manager.upload(&task("digits"), &renamed, &staged()).expect("staging is free");
    let replay = UploadOptions { activate: Some(true), ..Default::default() };
    let refused = manager.upload(&task("digits"), &renamed, &replay);
    assert!(matches!(refused, Err(ManageError::LabelsChanged { .. })));
    let allowed = UploadOptions { allow_labels_changed: true, ..replay };
    assert!(manager.upload(&task("digits"), &renamed, &allowed).expect("allowed").active);
}

#[test]
fn if_match_guards_every_change() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let digits = task("digits");
    let matching = |tag: &str| UploadOptions { if_match: Some(tag.into()), ..Default::default() };
    let refused = manager.upload(&digits, &fixture.adapter(1), &matching("*"));
    assert!(matches!(refused, Err(ManageError::PreconditionFailed { current: None })));
    upload(&manager, &fixture.adapter(1)).expect("good");
    manager.upload(&digits, &fixture.adapter(2), &matching("\"1\"")).expect("matches");
    let stale = |result: Result<(), ManageError>| {
        assert!(matches!(result, Err(ManageError::PreconditionFailed { current: Some(tag) }) if tag == "\"2\""));
    };
    stale(manager.upload(&digits, &fixture.adapter(3), &matching("\"1\"")).map(drop));
    stale(manager.activate(&digits, 1, None, Some("\"1\"")).map(drop));
    stale(manager.delete_version(&digits, 1, Some("\"1\"")));
    stale(manager.delete_task(&digits, Some("\"1\"")));
    assert_eq!(manager.describe(&digits).expect("there").etag().as_deref(), Some("\"2\""));
    manager.delete_task(&digits, Some("\"2\"")).expect("matches");
}

#[test]
fn deleting_spares_the_active_version_and_reuses_no_number() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let digits = task("digits");
    upload(&manager, &fixture.adapter(1)).expect("good");
    upload(&manager, &fixture.adapter(2)).expect("good");
    assert!(matches!(manager.delete_version(&digits, 2, None), Err(ManageError::Conflict(_))));
    manager.delete_version(&digits, 1, None).expect("inactive");
    let gone = manager.load_version(&digits, 1).map(drop);
    assert_eq!(gone, Err(LookupError::UnknownVersion { task: digits.clone(), number: 1 }));
    manager.delete_task(&digits, None).expect("there");
    assert_eq!(active(&manager, "digits"), Err(LookupError::UnknownTask { task: "digits".into() }));
    assert!(!fixture.metrics.render().contains("digits"));
    drop(manager);
    let manager = fixture.manager();
    assert_eq!(manager.list(None, 9).tasks, []);
    assert_eq!(upload(&manager, &fixture.adapter(1)).expect("good").version, 3);
}

#[test]
fn old_versions_go_but_never_the_active_one() {
    let mut fixture = Fixture::new();
    fixture.limits.versions_per_task_max = 3;
    let manager = fixture.manager();
    upload(&manager, &fixture.adapter(1)).expect("good");
    for seed in 2..7 {
        manager.upload(&task("digits"), &fixture.adapter(seed), &staged()).expect("good");
    }
    let view = manager.describe(&task("digits")).expect("there");
    assert_eq!(view.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 5, 6]);
    assert_eq!(files(&fixture), ["1.safetensors", "5.safetensors", "6.safetensors", "state.json"]);
    assert_eq!(active(&manager, "digits"), Ok(1));
}

#[test]
fn the_form_is_stored_and_merging_has_a_budget() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let digits = task("digits");
    upload(&manager, &fixture.adapter(1)).expect("good");
    manager.activate(&digits, 1, Some(Form::Merged), None).expect("fits");
    let form = |manager: &Manager| manager.registry().active(&digits).expect("there").lens.form;
    assert_eq!(form(&manager), Form::Merged);
    let merged = UploadOptions { form: Some(Form::Merged), ..Default::default() };
    let second = manager.upload(&task("other"), &fixture.adapter(2), &merged);
    assert!(matches!(second, Err(ManageError::Limit { which: StoreLimit::MergeBytes, .. })), "{second:?}");
    drop(manager);
    let manager = fixture.manager();
    assert_eq!(form(&manager), Form::Merged);
    manager.activate(&digits, 1, Some(Form::Rescaled), None).expect("there");
    assert_eq!(form(&manager), Form::Rescaled);
}

#[test]
fn limits_are_named() {
    let mut fixture = Fixture::new();
    fixture.limits.tasks_max = 1;
    let manager = fixture.manager();
    upload(&manager, &fixture.adapter(1)).expect("good");
    let limit = |result: Result<Uploaded, ManageError>| match result {
        Err(ManageError::Limit { which, .. }) => which,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit(manager.upload(&task("b"), &fixture.adapter(1), &Default::default())), StoreLimit::Tasks);
    drop(manager);
    fixture.limits.adapter_bytes_max = 100;
    assert_eq!(limit(upload(&fixture.manager(), &fixture.adapter(2))), StoreLimit::AdapterBytes);
    fixture.limits = Limits { free_disk_bytes_min: u64::MAX, ..Limits::default() };
    assert_eq!(limit(upload(&fixture.manager(), &fixture.adapter(2))), StoreLimit::FreeDisk);
}

#[test]
fn a_dry_run_reports_and_stores_nothing() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let good = manager.validate(&fixture.adapter(1)).expect("runs");
    assert!(good.file.valid && matches!(good.probe, Probed::Passed(_)));
    let bad = manager.validate(b"no adapter").expect("runs");
    assert!(!bad.file.valid && !bad.file.problems.is_empty() && bad.probe == Probed::NotRun);
    let mut lying = fixture.tiny.file();
    lying.probe = lying.probe.map(|probe| Probe { logits: vec![9.0; 6], ..probe });
    let lying = manager.validate(&fixture.write(&lying)).expect("runs");
    assert!(!lying.file.valid && matches!(lying.probe, Probed::Failed(_)));
    assert_eq!(files(&fixture), [""; 0]);
}

#[test]
fn a_damaged_active_version_answers_an_error_and_an_upload_mends_it() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let digits = task("digits");
    for name in ["digits", "other"] {
        manager.upload(&task(name), &fixture.adapter(1), &Default::default()).expect("good");
        manager.upload(&task(name), &fixture.adapter(2), &Default::default()).expect("good");
    }
    drop(manager);
    let path = fixture.folder.path().join("tasks/digits/versions/2.safetensors");
    let mut bytes = std::fs::read(&path).expect("there");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&path, &bytes).expect("written");

    let manager = fixture.manager();
    assert!(matches!(active(&manager, "digits"), Err(LookupError::Damaged { .. })));
    assert_eq!(active(&manager, "other"), Ok(2));
    let view = manager.describe(&digits).expect("there");
    assert_eq!((view.status, view.active), (Status::Damaged, Some(2)));
    assert!(view.versions[1].damaged.is_some() && view.reason.is_some());
    let moved = fixture.folder.path().join("quarantine/digits.1.2.safetensors");
    assert_eq!(std::fs::read(moved).expect("moved away"), bytes);

    let uploaded = upload(&manager, &fixture.adapter(2)).expect("mends");
    assert_eq!((uploaded.version, uploaded.created, uploaded.active), (2, false, true));
    assert_eq!(active(&manager, "digits"), Ok(2));
    drop(manager);
    assert_eq!(active(&fixture.manager(), "digits"), Ok(2));
}

#[test]
fn a_task_of_another_backbone_is_listed_and_untouched() {
    let mut fixture = Fixture::new();
    let bytes = fixture.adapter(1);
    upload(&fixture.manager(), &bytes).expect("good");
    let other = Fixture::seeded(2);
    fixture.backbone = other.backbone.clone();
    fixture.backend = other.backend.clone();
    let manager = fixture.manager();
    assert!(matches!(active(&manager, "digits"), Err(LookupError::Incompatible { .. })));
    assert_eq!(manager.describe(&task("digits")).expect("there").status, Status::Incompatible);
    assert_eq!(manager.adapter_bytes(&task("digits"), 1).expect("untouched"), bytes);
    let renamed = other.adapter_with(2, |file| file.adapter.labels[0] = "lynx".into());
    assert!(matches!(upload(&manager, &renamed), Err(ManageError::LabelsChanged { .. })));
    upload(&manager, &other.adapter(2)).expect("the same labels");
    assert_eq!(active(&manager, "digits"), Ok(2));
}

#[test]
fn listing_goes_by_pages_in_name_order() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    for name in ["c", "a", "b"] {
        manager.upload(&task(name), &fixture.adapter(1), &Default::default()).expect("good");
    }
    let page = manager.list(None, 2);
    assert_eq!(page.tasks.iter().map(|view| view.task.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(page.next, Some(task("b")));
    let page = manager.list(Some("b"), 2);
    assert_eq!((page.tasks.len(), page.next), (1, None));
}

#[test]
fn a_second_process_follows_and_takes_over() {
    let fixture = Fixture::new();
    let first = fixture.manager();
    upload(&first, &fixture.adapter(1)).expect("good");
    let second = fixture.manager();
    assert!(first.is_writer() && !second.is_writer());
    assert!(matches!(upload(&second, &fixture.adapter(2)), Err(ManageError::ReadOnly)));
    assert!(matches!(second.delete_task(&task("digits"), None), Err(ManageError::ReadOnly)));

    upload(&first, &fixture.adapter(2)).expect("good");
    first.upload(&task("new"), &fixture.adapter(1), &Default::default()).expect("good");
    second.follow();
    assert_eq!((active(&second, "digits"), active(&second, "new")), (Ok(2), Ok(1)));
    first.activate(&task("digits"), 1, None, None).expect("there");
    first.delete_task(&task("new"), None).expect("there");
    second.follow();
    assert_eq!(active(&second, "digits"), Ok(1));
    assert_eq!(active(&second, "new"), Err(LookupError::UnknownTask { task: "new".into() }));

    first.step_down();
    assert!(matches!(upload(&first, &fixture.adapter(3)), Err(ManageError::ReadOnly)));
    first.follow();
    assert!(!first.is_writer());
    second.follow();
    assert!(second.is_writer());
    assert_eq!(upload(&second, &fixture.adapter(3)).expect("good").version, 3);
    first.follow();
    assert_eq!(active(&first, "digits"), Ok(3));
}

/// Answers once two probes wait, so that neither could have been run after the other.
struct Together {
    inner: crate::registry::testing::Direct,
    both: std::sync::Barrier,
}

impl Prober for Together {
    fn logits(&self, lens: &Lens, pictures: &[Pixels]) -> Result<Vec<Vec<f32>>, ProbeFailure> {
        self.both.wait();
        self.inner.logits(lens, pictures)
    }
}

#[test]
fn probes_of_two_uploads_overlap_and_equal_bytes_become_one_version() {
    let fixture = Fixture::new();
    let inner = crate::registry::testing::Direct(fixture.backend.clone());
    let prober = Arc::new(Together { inner, both: std::sync::Barrier::new(2) });
    let manager = Manager::open(fixture.folder.path(), Parts { prober, ..fixture.parts() }).expect("opens");
    let bytes = fixture.adapter(1);
    let mut created = std::thread::scope(|scope| {
        let uploads = [(); 2].map(|()| scope.spawn(|| upload(&manager, &bytes).expect("good")));
        uploads.map(|upload| upload.join().expect("ends"))
    });
    created.sort_by_key(|uploaded| uploaded.created);
    assert_eq!(created.map(|uploaded| (uploaded.version, uploaded.created)), [(1, false), (1, true)]);
}

#[test]
fn a_task_answers_at_every_instant_while_it_is_replaced_here_and_in_a_follower() {
    let mut fixture = Fixture::new();
    fixture.limits.versions_per_task_max = 2;
    let writer = fixture.manager();
    upload(&writer, &fixture.adapter(0)).expect("good");
    let follower = fixture.manager();
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    let watch = |manager: &Manager, step: fn(&Manager)| {
        let mut seen = 0;
        while !is_done() {
            step(manager);
            let now = active(manager, "digits").expect("answers");
            assert!(now >= seen, "went back from {seen} to {now}");
            seen = now;
        }
    };
    std::thread::scope(|scope| {
        let watchers = [
            scope.spawn(|| watch(&writer, |_| std::thread::yield_now())),
            scope.spawn(|| watch(&follower, Manager::follow)),
        ];
        for seed in 1..40 {
            upload(&writer, &fixture.adapter(seed)).expect("good");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        watchers.map(|watcher| watcher.join().expect("never without an answer"));
    });
    follower.follow();
    assert_eq!(active(&follower, "digits"), Ok(40));
}
