//! Files that this server cannot use.

use super::*;

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
