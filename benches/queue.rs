//! What the queue costs a row: push and take while every task has rows waiting.

use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use manylens::registry::TaskName;
use manylens::serving::queue::{Entry, Queue};

fn main() {
    divan::main();
}

const TASKS: [usize; 3] = [1, 64, 1000];
const BATCH_ROWS: usize = 8;

struct Row;

impl Entry for Row {
    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}

fn tasks(n: usize) -> Vec<TaskName> {
    (0..n).map(|i| TaskName::parse(&format!("task-{i}")).expect("a valid name")).collect()
}

fn two_rows_each(tasks: &[TaskName]) -> Queue<TaskName, Row> {
    let mut queue = Queue::default();
    for task in tasks.iter().chain(tasks) {
        queue.push(task.clone(), Row);
    }
    queue
}

/// One batch leaves, as many rows arrive.
#[divan::bench(args = TASKS)]
fn push_and_take_a_batch(bencher: Bencher<'_, '_>, n: usize) {
    let tasks = tasks(n);
    let mut queue = two_rows_each(&tasks);
    let (mut arrivals, now) = (tasks.iter().cycle(), Instant::now());
    bencher.counter(ItemsCount::new(BATCH_ROWS)).bench_local(|| {
        for task in arrivals.by_ref().take(BATCH_ROWS) {
            queue.push(task.clone(), Row);
        }
        black_box(queue.take(BATCH_ROWS, now));
    });
}

/// A caller has left: every row is looked at.
#[divan::bench(args = TASKS)]
fn sweep(bencher: Bencher<'_, '_>, n: usize) {
    let mut queue = two_rows_each(&tasks(n));
    let now = Instant::now();
    bencher.counter(ItemsCount::new(2 * n)).bench_local(|| black_box(queue.sweep(now)));
}
