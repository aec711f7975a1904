"""Compares candidates for the default recipe on validation splits, which is how it was chosen; test lists are not read.

    python3 scripts/accuracy/choose.py --data DATA --backbone BACKBONE --runs runs/choose --jobs 2 --threads 1

Every candidate is trained on the train split of every task, and what stands in the table is the last epoch on the
validation split. Runs that are complete are not repeated. It needs Python's standard library alone, and hours.
"""
import concurrent.futures
import json
import subprocess
import sys

import runs

TASKS = ("cifar10", "gtsrb", "count", "digits")
EPOCHS = ["--epochs", "20"]
CANDIDATES = {
    "reference": [],
    "dropout-0.1": ["--dropout", "0.1"],
    "smoothing-0.1": ["--label-smoothing", "0.1"],
    "fast": ["--consistency", "fast", "--consistency-sigma", "0.5", "--consistency-lambda", "0.1"],
    "fast-mild": ["--consistency", "fast", "--consistency-sigma", "0.25", "--consistency-lambda", "0.02"],
    "full": ["--consistency", "full", "--consistency-sigma", "0.5", "--consistency-lambda", "0.1"],
    "full-mild": ["--consistency", "full", "--consistency-sigma", "0.25", "--consistency-lambda", "0.02"],
    "lr-1e-3": ["--lr", "1e-3"],
    "lr-6e-3": ["--lr", "6e-3"],
}


def main():
    parser = runs.parser(__doc__, "a folder for each task")
    parser.set_defaults(threads=1)
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--candidates", nargs="*", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    planned = [(candidate, task) for candidate in args.candidates for task in args.tasks]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(planned, pool.map(lambda run: validated(args, *run), planned)))
    print("| candidate | " + " | ".join(args.tasks) + " | mean accuracy | mean loss |")
    print("|---" * (len(args.tasks) + 3) + "|")
    for candidate in args.candidates:
        scores = [found[candidate, task] for task in args.tasks]
        means = [sum(score[key] for score in scores) / len(scores) for key in ("accuracy", "loss")]
        cells = [f"{100 * score['accuracy']:.1f}" for score in scores]
        print(f"| {candidate} | " + " | ".join(cells) + f" | {100 * means[0]:.2f} | {means[1]:.4f} |", flush=True)


def validated(args, candidate, task):
    """What the last epoch reached on the validation split."""
    adapter = args.runs / f"{task}-{candidate}.safetensors"
    log = adapter.with_suffix(".run") / "log.jsonl"
    if not adapter.exists():
        recipe = ["--recipe", "reference", "--fit-on", "train", *EPOCHS, *CANDIDATES[candidate]]
        train = runs.train(args, adapter, *recipe, data=args.data / task)
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    scores = json.loads(log.read_text().splitlines()[-1])["validation"]
    print(f"{candidate} {task}: {scores['accuracy']:.4f}, loss {scores['loss']:.4f}", file=sys.stderr, flush=True)
    return scores


if __name__ == "__main__":
    main()
