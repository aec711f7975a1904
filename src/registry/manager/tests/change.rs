//! What becomes of stored versions.

use super::*;

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
fn a_merged_version_without_room_is_served_rescaled_after_a_restart() {
    let fixture = Fixture::new();
    let manager = fixture.manager();
    let merged = UploadOptions { form: Some(Form::Merged), ..Default::default() };
    manager.upload(&task("a"), &fixture.adapter(1), &merged).expect("fits");
    manager.upload(&task("b"), &fixture.adapter(2), &Default::default()).expect("good");
    drop(manager);
    let path = fixture.folder.path().join("tasks/b/state.json");
    let state = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, state.replace("rescaled", "merged")).expect("written");

    let manager = fixture.manager();
    let forms = |manager: &Manager| {
        let view = manager.describe(&task("b")).expect("there");
        (view.form, view.versions[0].form)
    };
    assert_eq!(forms(&manager), (Some(Form::Rescaled), Form::Merged));
    manager.activate(&task("b"), 1, Some(Form::Rescaled), None).expect("there");
    assert_eq!(forms(&manager), (Some(Form::Rescaled), Form::Rescaled));
}
