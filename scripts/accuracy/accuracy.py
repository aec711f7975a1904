"""Trains and tests adapters on folders with VTAB-1k's lists, one run after another, and writes a row for each into
docs/accuracy.md. What has a row is passed over and what was stopped goes on, so it can be run again and again.

    cargo build --release
    python3 scripts/accuracy/accuracy.py --data DATA --backbone BACKBONE --reference REFERENCE --runs runs/accuracy

DATA has a folder for each task, REFERENCE a TASK.json with `last_epoch_test_accuracy_f32` for each. It needs Python's
standard library alone, and hours.
"""
import concurrent.futures
import json
import pathlib
import platform
import shlex
import subprocess
import sys
import threading
import time

import runs

WRITING = threading.Lock()
TABLE = runs.ROOT / "docs" / "accuracy.md"
THREE_SEEDS = ("digits", "count", "gtsrb", "cifar10")
VARIANTS = {
    "reference": ["--recipe", "reference"],
    # As the reference: on all labelled pictures. Its own consistency is `fast`.
    "default": ["--recipe", "default", "--fit-on", "all"],
    "full": ["--recipe", "default", "--fit-on", "all", "--consistency", "full"],
    "linear": ["--recipe", "reference", "--method", "linear"],
    "ssf": ["--recipe", "reference", "--method", "ssf"],
    "shifts": ["--recipe", "reference", "--method", "shifts"],
}
HEAD = """# Accuracy

Test accuracy of adapters that `manylens train` made, one row for each finished run, by scripts/accuracy/accuracy.py.
`PyTorch` is the accuracy that the reference states for the task (its last epoch, seed 1); `points` is ours less that.
`seconds` are those of training, on a machine that may have been busy with other work.

| task | variant | seed | test pictures | accuracy | PyTorch | points | seconds | processor | commit | command |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def main():
    parser = runs.parser(__doc__, "a folder for each task")
    parser.add_argument("--reference", type=pathlib.Path, help="TASK.json for each task")
    parser.add_argument("--tasks", nargs="*", help="instead of all")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, help="instead of all")
    parser.add_argument("--seeds", nargs="*", type=int, help="instead of 1, and 1 2 3 for four tasks")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--commit", action="store_true", help="commit the table after every run")
    parser.add_argument("--summary", action="store_true", help="only say what the table says")
    args = parser.parse_args()
    if not args.summary:
        done = {(row["task"], row["variant"], row["seed"]) for row in rows()}
        waiting = [run for run in planned(args) if run not in done]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for row in pool.map(lambda run: measured(args, run), waiting):
                print(f"{row['task']} {row['variant']} {row['seed']}: {row['accuracy']:.4f}", file=sys.stderr, flush=True)
    summarise()


def measured(args, run):
    row = measure(args, *run)
    with WRITING:
        add(row, args.commit)
    return row


def planned(args):
    """The reference recipe on every task first, then everything else on four tasks."""
    tasks = args.tasks or sorted(path.name for path in args.data.iterdir() if (path / "train800.txt").exists())
    found = []
    for variant in args.variants or VARIANTS:
        for task in tasks:
            if variant != "reference" and task not in THREE_SEEDS and not args.tasks:
                continue
            seeds = args.seeds or ((1, 2, 3) if task in THREE_SEEDS else (1,))
            found += [(task, variant, seed) for seed in seeds]
    return sorted(found, key=lambda run: (run[1] != "reference", run[2]))


def measure(args, task, variant, seed):
    args.runs.mkdir(parents=True, exist_ok=True)
    adapter = args.runs / f"{task}-{variant}-{seed}.safetensors"
    train = runs.train(args, adapter, "--seed", seed, *VARIANTS[variant], data=args.data / task)
    # A run that was stopped has spent time before; it is kept beside the adapter.
    clock = adapter.with_suffix(".seconds")
    before, start = float(clock.read_text()) if clock.exists() else 0.0, time.monotonic()
    try:
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    finally:
        seconds = before + time.monotonic() - start
        clock.write_text(f"{seconds}")
    tested = subprocess.run(runs.command(args, "eval", adapter, data=args.data / task), check=True, capture_output=True)
    report = json.loads(tested.stdout)
    return {
        "task": task,
        "variant": variant,
        "seed": seed,
        "test pictures": report["n"],
        "accuracy": report["top1"],
        "PyTorch": reference(args.reference, task),
        "seconds": round(seconds),
        "processor": processor(),
        "commit": git("rev-parse", "--short", "HEAD"),
        "command": spelled(args, train),
    }


def spelled(args, train):
    """The command with names in place of this machine's folders."""
    command = shlex.join(["manylens", *train[1:]])
    for name, folder in (("BACKBONE", args.backbone), ("DATA", args.data), ("RUNS", args.runs)):
        command = command.replace(str(folder), name)
    return command


def reference(folder, task):
    if folder is None or not (folder / f"{task}.json").exists():
        return None
    return json.loads((folder / f"{task}.json").read_text())["last_epoch_test_accuracy_f32"]


def processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x{len(names)}" if names else platform.machine()


def git(*words):
    return subprocess.run(["git", "-C", str(runs.ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()


def add(row, commit):
    if not TABLE.exists():
        TABLE.write_text(HEAD)
    known = row["PyTorch"] is not None
    cells = [
        row["task"],
        row["variant"],
        row["seed"],
        row["test pictures"],
        f"{row['accuracy']:.4f}",
        f"{row['PyTorch']:.4f}" if known else "",
        f"{100 * (row['accuracy'] - row['PyTorch']):+.1f}" if known else "",
        row["seconds"],
        row["processor"],
        row["commit"],
        f"`{row['command']}`",
    ]
    with TABLE.open("a") as table:
        table.write("| " + " | ".join(map(str, cells)) + " |\n")
    if commit:
        name = f"docs/accuracy.md: {row['task']}, {row['variant']}, seed {row['seed']}"
        subprocess.run(["git", "-C", str(runs.ROOT), "commit", "-qm", name, "--", str(TABLE)], check=True)


def rows():
    """What the table says."""
    found = []
    for line in TABLE.read_text().splitlines() if TABLE.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 11 and cells[2].isdigit():
            points = float(cells[6]) if cells[6] else None
            found.append({"task": cells[0], "variant": cells[1], "seed": int(cells[2]), "accuracy": float(cells[4]), "points": points})
    return found


def summarise():
    table = rows()
    first = [row for row in table if row["variant"] == "reference" and row["seed"] == 1 and row["points"] is not None]
    if first:
        points = [row["points"] for row in first]
        print(f"reference recipe, seed 1, {len(first)} tasks: mean {sum(points) / len(points):+.2f} points, lowest {min(points):+.1f}")
    for variant in VARIANTS:
        of_variant = [row for row in table if row["variant"] == variant and row["task"] in THREE_SEEDS]
        tasks = {task: [row["accuracy"] for row in of_variant if row["task"] == task] for task in THREE_SEEDS}
        if all(tasks.values()):
            means = {task: sum(values) / len(values) for task, values in tasks.items()}
            listed = ", ".join(f"{task} {100 * mean:.1f} ({len(tasks[task])})" for task, mean in means.items())
            print(f"{variant}: mean of four {100 * sum(means.values()) / 4:.2f} %: {listed}")


if __name__ == "__main__":
    main()
