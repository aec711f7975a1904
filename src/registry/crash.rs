//! What a data folder looks like after its process was killed, and when its disk is full: tests that run this test
//! binary again as a child.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::testing::{Fixture, task};
use super::{Manager, UploadOptions};
use crate::adapter::format::AdapterFile;
use crate::hash::content_hash;
use crate::random::Random;
use crate::registry::{ManageError, Probed};

/// Where the child works. Set by its parent only.
const FOLDER: &str = "MANYLENS_TEST_FOLDER";
/// How often the child is killed; few unless said.
const KILLS: &str = "MANYLENS_TEST_KILLS";

/// What the child says when an upload was acknowledged.
const ACKNOWLEDGED: &str = "acknowledged";

/// Runs one of the ignored tests below in a process of its own.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(["--exact", &format!("registry::crash::{test}"), "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn managed(fixture: &Fixture) -> Option<Manager> {
    let folder = std::env::var_os(FOLDER)?;
    Some(fixture.manager_of(Path::new(&folder)).expect("opens"))
}

#[test]
#[ignore = "the child of the test below"]
fn child_uploads_for_ever() {
    let fixture = Fixture::new();
    let Some(manager) = managed(&fixture) else { return };
    assert!(manager.is_writer(), "the kernel frees a killed process's lock");
    for seed in u64::from(std::process::id()) << 32.. {
        let name = ["a", "b", "c"][seed as usize % 3];
        let uploaded = manager.upload(&task(name), &fixture.adapter(seed), &UploadOptions::default()).expect("good");
        println!("\n{ACKNOWLEDGED} {name} {} {}", uploaded.version, uploaded.hash);
    }
}

/// A version that a child acknowledged.
struct Acknowledged {
    name: String,
    number: u64,
    hash: String,
}

impl Acknowledged {
    /// A line of the child's, unless it was cut or says something else.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(ACKNOWLEDGED)?.split_whitespace();
        let name = words.next()?.to_owned();
        let number = words.next()?.parse().ok()?;
        let hash = words.next().filter(|hash| hash.len() == 71)?.to_owned();
        Some(Self { name, number, hash })
    }
}

/// When a child is killed.
enum Instant {
    /// This long after it was started; perhaps before it opened the folder.
    AfterStart(Duration),
    /// This long after its first upload was acknowledged.
    AfterUpload(Duration),
}

impl Instant {
    fn any(random: &mut Random) -> Self {
        let mut within = |ms: u64| Duration::from_micros(random.bits() % (ms * 1000));
        match within(2).as_micros() % 4 {
            0 => Self::AfterStart(within(250)),
            _ => Self::AfterUpload(within(60)),
        }
    }
}

/// Kills the child, and reads what it had acknowledged by then.
fn run_and_kill(mut child: Child, instant: &Instant) -> Vec<Acknowledged> {
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut acknowledged = Vec::new();
    match instant {
        Instant::AfterStart(time) => std::thread::sleep(*time),
        Instant::AfterUpload(time) => {
            acknowledged.extend(lines.by_ref().find_map(|line| Acknowledged::parse(&line)));
            std::thread::sleep(*time);
        }
    }
    child.kill().expect("runs for ever");
    acknowledged.extend(lines.filter_map(|line| Acknowledged::parse(&line)));
    child.wait().expect("was killed");
    acknowledged
}

#[test]
fn every_acknowledged_version_survives_a_kill_at_any_instant() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(12);
    let fixture = Fixture::new();
    let keep = fixture.limits.versions_per_task_max as u64;
    let mut random = Random::seeded(u64::from(std::process::id()));
    let mut all = Vec::new();
    for kill in 0..kills {
        let child = child("child_uploads_for_ever", fixture.folder.path()).spawn().expect("starts");
        all.extend(run_and_kill(child, &Instant::any(&mut random)));
        let manager = fixture.manager();
        assert!(manager.is_writer(), "kill {kill}");
        for Acknowledged { name, number, hash } in &all {
            let view = manager.describe(&task(name)).expect("acknowledged");
            let active = view.active.expect("every upload was activated");
            assert!(active >= *number, "kill {kill}: {name} went back from {number} to {active}");
            if *number + keep > active {
                let bytes = manager.adapter_bytes(&task(name), *number).expect("acknowledged");
                assert_eq!(content_hash(&bytes), *hash, "kill {kill}: {name} {number}");
            }
        }
        for view in manager.list(None, 9).tasks {
            assert_eq!(view.active, view.versions.last().map(|version| version.version), "kill {kill}");
            assert!(manager.registry().active(&view.task).is_ok(), "kill {kill}");
            for version in view.versions {
                manager.adapter_bytes(&view.task, version.version).expect("none is torn");
            }
        }
    }
    assert!(!all.is_empty(), "no child lived long enough to acknowledge an upload");
    println!("{kills} kills, {} acknowledged uploads", all.len());
}

/// The disk of this folder, or the process's file size limit, has room for small adapters only.
#[test]
#[ignore = "the child of the test below; or by hand with a folder on a full disk"]
fn child_meets_a_full_disk() {
    let fixture = Fixture::new();
    let Some(manager) = managed(&fixture) else { return };
    let digits = task("digits");
    let upload = |bytes: &[u8]| manager.upload(&digits, bytes, &UploadOptions::default());
    let large = |file: &mut AdapterFile| file.adapter.lineage = "x".repeat(200_000).into();
    for seed in 1..4 {
        let name = task(["digits", "other", "third"][seed as usize - 1]);
        let result = manager.upload(&name, &fixture.adapter_with(9, large), &UploadOptions::default());
        assert!(matches!(result, Err(ManageError::DiskFull(_))), "{result:?}");
        let small = upload(&fixture.adapter(seed)).expect("there is room for it");
        assert_eq!((small.version, small.active), (seed, true));
        assert!(matches!(small.probe, Probed::Passed(_)));
    }
    let view = manager.list(None, 9).tasks;
    assert_eq!(view.len(), 1);
    assert_eq!(view[0].versions.len(), 3);
    println!("\n{ACKNOWLEDGED} digits 3 {}", view[0].versions[2].hash);
}

#[test]
fn a_full_disk_fails_the_upload_and_nothing_else() {
    let fixture = Fixture::new();
    let probe = child("child_meets_a_full_disk", fixture.folder.path());
    // The shell's limit on file sizes is the kernel's fault injection: with the signal ignored, a write is an error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]).arg(probe.get_program());
    let status = command.args(probe.get_args()).env(FOLDER, fixture.folder.path()).stdout(Stdio::null()).status();
    assert!(status.expect("starts").success());
    let manager = fixture.manager();
    assert_eq!(manager.registry().active(&task("digits")).expect("serves").number, 3);
    let leftovers = std::fs::read_dir(fixture.folder.path().join("tasks")).expect("a folder").count();
    assert_eq!(leftovers, 1);
}
