"""What the scripts beside this one share: their arguments, and how they call `manylens`."""
import argparse
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE_SIZE = "112"


def parser(description, data, runs="adapters and run folders"):
    """The arguments that all have: a module's documentation, what its data folder is, and what it puts into --runs."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help=data)
    parser.add_argument("--backbone", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=pathlib.Path, required=True, help=runs)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/manylens")
    parser.add_argument("--threads", type=int, help="threads of each run, instead of all cores")
    return parser


def command(args, name, *words, data):
    """`manylens NAME …` on that data, as a list of strings."""
    threads = ["--threads", args.threads] if args.threads else []
    whole = [args.binary, name, "--backbone", args.backbone, "--data", data, "--json", *words, *threads]
    return list(map(str, whole))


def train(args, adapter, *words, data):
    """`manylens train` into that adapter, which goes on with what was stopped."""
    return command(args, "train", "--out", adapter, "--image-size", IMAGE_SIZE, "--resume", *words, data=data)
