//! Several callers, several processes.

use super::*;

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
    assert!(matches!(upload(&first, &fixture.adapter(3)), Err(ManageError::Ending)));
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
        for watcher in watchers {
            watcher.join().expect("never without an answer");
        }
    });
    follower.follow();
    assert_eq!(active(&follower, "digits"), Ok(40));
}
