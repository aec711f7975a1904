//! What becomes of an uploaded file.

use super::*;

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
