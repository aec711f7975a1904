"""Makes the pictures of the demo's three tasks: digits, textures and count, with lists in VTAB-1k's form.

    pip install numpy pillow scikit-learn scikit-image && python scripts/make_tasks.py OUT

digits are scikit-learn's (UCI optical digits, BSD), textures are crops of scikit-image's sample pictures (CC0 and public
domain), count is drawn. The same package versions give the same bytes; train and test never share a writer or a place
of a picture.
"""
import argparse
import pathlib
import random
import shutil

import numpy as np
import skimage
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

SEED = 5
TEXTURES = {
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "stars": "hubble_deep_field.jpg",
    "tissue": "ihc.png",
    "retina": "retina.jpg",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    for name in ("digits", "textures", "count"):
        shutil.rmtree(out / name, ignore_errors=True)
    numbers = np.random.default_rng(SEED)
    digits(out / "digits")
    textures(out / "textures", numbers)
    count(out / "count", numbers)


def digits(root):
    """1,000 to train and 500 to test in the file's order: the later part has other writers."""
    data = load_digits()
    for index in range(1500):
        picture = Image.fromarray((data.images[index] * 255 / 16).astype(np.uint8)).resize((64, 64), Image.BICUBIC)
        split = "train" if index < 1000 else "test"
        save(picture, root / split / str(data.target[index]) / f"{index:04d}.png", optimize=True)
    write_lists(root, [str(digit) for digit in range(10)])


def textures(root, numbers):
    """Train is the left 60 % of each picture, test its right 35 %."""
    folder = pathlib.Path(skimage.__file__).parent / "data"
    for name, file in TEXTURES.items():
        picture = Image.open(folder / file).convert("RGB")
        if name == "retina":
            width, height = picture.size
            picture = picture.crop((width // 5, height // 5, 4 * width // 5, 4 * height // 5))
        for split, part, pictures in (("train", (0, 0.6), 150), ("test", (0.65, 1), 75)):
            for index in range(pictures):
                crop = texture_crop(picture, part, numbers)
                if name in ("brick", "grass", "gravel"):
                    crop = crop.convert("L")
                save(crop, root / split / name / f"{index:03d}.png", optimize=True)
    write_lists(root, list(TEXTURES))


def texture_crop(picture, part, numbers):
    (width, height), (left, right) = picture.size, part
    side = int(numbers.integers(72, min(160, int((right - left) * width) - 1, height - 1)))
    x = int(numbers.integers(int(left * width), int(right * width) - side + 1))
    y = int(numbers.integers(0, height - side + 1))
    crop = picture.crop((x, y, x + side, y + side)).resize((80, 80), Image.BICUBIC)
    return crop.rotate(int(numbers.integers(0, 4)) * 90)


def count(root, numbers):
    """One to eight shapes on a noisy ground."""
    for split, pictures in (("train", 1000), ("test", 500)):
        for index in range(pictures):
            shapes = index % 8 + 1
            save(drawn(shapes, numbers), root / split / str(shapes) / f"{index:04d}.jpg", quality=88)
    write_lists(root, [str(shapes) for shapes in range(1, 9)])


def drawn(shapes, numbers):
    ground = numbers.integers(0, 256, 3)
    noise = numbers.normal(0, 18, (96, 96, 3))
    picture = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for x, y, radius in places(shapes, numbers):
        shift = numbers.choice([-1, 1]) * numbers.integers(60, 128, 3)
        color = tuple(int(value) for value in (ground + shift) % 256)
        if abs(sum(color) - int(ground.sum())) < 120:
            color = tuple(int(255 - value) for value in ground)
        shape = draw.ellipse if numbers.random() < 0.5 else draw.rectangle
        shape([x - radius, y - radius, x + radius, y + radius], fill=color)
    return picture


def places(shapes, numbers):
    """Places that do not touch each other."""
    found = []
    while len(found) < shapes:
        radius = numbers.integers(7, 12)
        x, y = numbers.integers(radius + 1, 95 - radius, 2)
        if all((x - a) ** 2 + (y - b) ** 2 > (radius + other + 2) ** 2 for a, b, other in found):
            found.append((x, y, radius))
    return found


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def write_lists(root, classes):
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    order, lines = random.Random(1), {}
    for split in ("train", "test"):
        files = ((label, file) for label, name in enumerate(classes) for file in sorted((root / split / name).iterdir()))
        lines[split] = [f"{file.relative_to(root).as_posix()} {label}\n" for label, file in files]
        order.shuffle(lines[split])
    train = lines["train"]
    cut = len(train) * 4 // 5
    lists = {"train800": train[:cut], "val200": train[cut:], "train800val200": train, "test": lines["test"]}
    for name, part in lists.items():
        (root / f"{name}.txt").write_text("".join(part))


if __name__ == "__main__":
    main()
