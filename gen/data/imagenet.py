"""ImageNet, or any set of photographs in class folders: read from disk batch by batch, never as a whole.

Training images are cropped at random in size, shape and place, and mirrored, as C. Szegedy et al. (2015) do; test
images are scaled so that the short side is 256, and the centre is taken.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from qblif.gen.errors import DataError
from qblif.host.errors import InputError

from . import files
from .dataset import DataSet

SUFFIXES = (".jpeg", ".jpg", ".png")
AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of a random crop: shares of the image's area, width by height, and how often one is drawn before the centre is taken.
"""


class FolderSplit:
    """Images of class folders, by index.

    paths: of the images; labels: int64 (N,); size: of what `batch` returns; resize: the short side before the centre of
    size x size is taken; threads: that decode at once
    """

    def __init__(self, paths: list[Path], labels: torch.Tensor, size: int = 224, resize: int = 256, threads: int = 1):
        self.paths, self.labels, self.size, self.resize, self.threads = paths, labels, size, resize, threads

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"FolderSplit({len(self)} images)"

    def batch(self, index: torch.Tensor, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images uint8 (B, 3, size, size) and labels; with a generator: crops and mirrors that it draws."""
        numbers = index.tolist()
        draws = [torch.rand(1 + 4 * TRIES, generator=generator).tolist() if generator is not None else None
                 for _ in numbers]
        with ThreadPoolExecutor(self.threads) as pool:
            images = list(pool.map(lambda number, draw: self._read(self.paths[number], draw), numbers, draws))
        return torch.stack(images), self.labels[index]

    def _read(self, path: Path, draw: list[float] | None) -> torch.Tensor:
        """Return an image, uint8 (3, size, size); draw: random numbers of 0 to 1 for a crop, None for the centre."""
        import numpy as np
        from PIL import Image

        try:
            with Image.open(path) as image:
                image.load()
                image = image.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is not read: {error}") from error
        box = centre(*image.size, self.size, self.resize) if draw is None else random_box(*image.size, draw)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels.flip(-1) if draw is not None and draw[0] < 0.5 else pixels


def centre(width: int, height: int, size: int, resize: int) -> tuple[float, float, float, float]:
    """Return the box of an image that is its centre of size x size after its short side is scaled to `resize`."""
    side = min(width, height) * size / resize
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(width: int, height: int, draw: list[float]) -> tuple[float, float, float, float]:
    """Return a box of random area, shape and place; the first of them that fits into the image, else the centre."""
    for area, ratio, right, down in zip(*(draw[k::4] for k in range(1, 5)), strict=True):
        area = (AREA[0] + area * (AREA[1] - AREA[0])) * width * height
        ratio = math.exp(math.log(RATIO[0]) + ratio * math.log(RATIO[1] / RATIO[0]))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = right * (width - w), down * (height - h)
            return left, top, left + w, top + h
    return centre(width, height, 1, 1)


def imagenet(about, root, *, size: int = 224, resize: int = 256, threads: int = 1) -> DataSet:
    """Find the images of ImageNet; the options are those of `FolderSplit`.

    The classes are the folders of train, in alphabetical order; val has to have the same ones."""
    if not 1 <= size <= resize:
        raise InputError(f"size is {size} and resize {resize}, allowed are 1 <= size <= resize")

    def read(folder: Path) -> DataSet:
        names = {part: sorted(path.name for path in (folder / part).iterdir() if path.is_dir())
                 for part in ("train", "val")}
        if names["train"] != names["val"]:
            odd = sorted(set(names["train"]) ^ set(names["val"]))
            raise DataError(f"{folder / 'train'} has {len(names['train'])} class folders and {folder / 'val'} "
                            f"{len(names['val'])}, needed are the same; {odd[0]} is in one of them alone")
        splits = []
        for part in ("train", "val"):
            found = [(path, label) for label, name in enumerate(names[part])
                     for path in sorted((folder / part / name).iterdir()) if path.suffix.lower() in SUFFIXES]
            splits.append(FolderSplit([path for path, _ in found],
                                      torch.tensor([label for _, label in found], dtype=torch.int64), size, resize,
                                      threads))
        return DataSet(about.name, *splits, tuple(names["train"]), (3, size, size), folder=folder)

    form, folder = files.find(about, root, [files.Form("class folders", ("train/*/*", "val/*/*"), read)])
    return form.read(folder)
