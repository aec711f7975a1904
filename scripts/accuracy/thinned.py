"""Thins one class of a task to 1 % of its training pictures, trains without and with what is meant to help, and prints
what each does on the test list: accuracy, balanced accuracy, the thinned class's recall, and whether operating points
that were fitted on the validation list hold there.

    python3 scripts/accuracy/thinned.py --data DATA/digits --backbone BACKBONE --runs runs/thinned --epochs 20

DATA/digits has VTAB-1k's lists. Validation and test lists stay whole, and nothing is fitted on the test list. What is
complete is not repeated and what was stopped goes on. It needs Python's standard library alone.
"""
import json
import subprocess
import sys

import runs

KEPT_ONE_IN = 100
VARIANTS = {
    "none": [],
    "balanced weights": ["--class-weight", "balanced"],
    "balanced sampler": ["--sampler", "balanced"],
}


def main():
    parser = runs.parser(__doc__, "folder of one task", runs="the thinned task, adapters and run folders")
    parser.add_argument("--thinned", type=int, default=8, help="the class, counted from 0")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--precision", default="0.95", help="of what is answered")
    parser.add_argument("--recall", default="0.9", help="of the thinned class")
    args = parser.parse_args()
    task = args.runs / f"class-{args.thinned}"
    label, kept, all_of_it = thin(args.data, task, args.thinned)
    print(f"class {label!r}: {kept} of {all_of_it} training pictures, {args.epochs} epochs\n")
    titles = ["variant", "seed", "accuracy", "balanced accuracy", f"recall of {label}"]
    titles += [f"recall={args.recall}:{label} on test", f"precision={args.precision} on test", "abstained"]
    print("| " + " | ".join(titles) + " |")
    print("|---" * len(titles) + "|", flush=True)
    for seed in args.seeds:
        for variant in VARIANTS:
            print("| " + " | ".join(row(args, task, label, variant, seed)) + " |", flush=True)


def thin(data, task, thinned):
    """Makes the task's folder; answers with the class's name, its pictures that are left, and how many there were."""
    task.mkdir(parents=True, exist_ok=True)
    lines = (data / "train800.txt").read_text().splitlines()
    of_class = [line for line in lines if line.rsplit(" ", 1)[1] == str(thinned)]
    kept = of_class[: max(1, len(of_class) // KEPT_ONE_IN)]
    left = [line for line in lines if line in kept or line not in of_class]
    (task / "train800.txt").write_text("\n".join(left) + "\n")
    for entry in data.iterdir():
        link = task / entry.name
        if not entry.name.startswith("train800") and not link.exists():
            link.symlink_to(entry.resolve())
    names = data / "classes.txt"
    label = names.read_text().splitlines()[thinned] if names.exists() else str(thinned)
    return label, len(kept), len(of_class)


def row(args, task, label, variant, seed):
    adapter = args.runs / f"{args.thinned}-{variant.replace(' ', '-')}-{args.epochs}-{seed}.safetensors"
    if not adapter.exists():
        recipe = ["--seed", seed, "--recipe", "reference", "--epochs", args.epochs, "--fit-on", "train"]
        recipe += ["--select-by", "balanced_accuracy", *VARIANTS[variant]]
        train = runs.train(args, adapter, *recipe, data=task)
        print(" ".join(train[1:]), file=sys.stderr, flush=True)
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    plain = evaluated(args, adapter, task, None)
    recall = evaluated(args, adapter, task, f"recall={args.recall}:{label}")
    precision = evaluated(args, adapter, task, f"precision={args.precision}")
    found = next(one for one in plain["report"]["classes"] if one["label"] == label)
    cells = [variant, str(seed), percent(plain["top1"]), percent(plain["balanced"])]
    cells += [share(found["recall"]), held(recall), held(precision)]
    return [*cells, str(precision["report"]["abstained"]) if "held" in precision else "-"]


def evaluated(args, adapter, task, point):
    """The report on the test list, kept beside the adapter; with what was said when the point cannot be reached."""
    kept = adapter.with_suffix(f".{point or 'plain'}.json".replace(":", "-"))
    if not kept.exists():
        command = runs.command(args, "eval", adapter, *(["--operating-point", point] if point else []), data=task)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode and not point:
            sys.exit(done.stderr)
        kept.write_text(json.dumps({"said": done.stderr.strip()}) if done.returncode else done.stdout)
    return json.loads(kept.read_text())


def held(report):
    if "held" not in report:
        return "not reached on validation"
    point = report["held"][0]
    return share(point["reached"]) + (", holds" if point["holds"] else ", does not hold")


def share(found):
    low, high = found["interval"]
    return f"{percent(found['value'])} ({100 * low:.1f} to {100 * high:.1f})"


def percent(value):
    return "-" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
