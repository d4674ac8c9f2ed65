"""Augmentation of batches of unsigned integers, by name and arguments, as recipes give it.

    augment = build([{"name": "crop", "padding": 4}, {"name": "flip"}])
    x = augment(x, generator)                  # uint8 (N, C, H, W) or (T, N, 2, H, W), of the same shape again

Each function changes every sample in its own way, all its channels and time steps in the same way, and draws from the
generator alone: the same generator gives the same batch. What comes in from outside the image is 0.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable

import torch
from torch.nn import functional as F

from qblif.host.errors import InputError

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def build(specs: Iterable[dict]) -> Augment:
    """Return the function that applies augmentations in order. specs: each a name, and arguments of the function.

    Raises InputError for a name or an argument that there is not, with those that there are."""
    return chain([find(spec, AUGMENTATIONS) for spec in specs])


def chain(functions: list[Augment]) -> Augment:
    """Return the function that applies others, one after the other."""
    def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for function in functions:
            x = function(x, generator)
        return x

    return augment


def find(spec: dict, functions: dict[str, Callable]) -> Callable:
    """Return the function of a table that a recipe's entry names, with its arguments."""
    arguments = dict(spec)
    name = arguments.pop("name", None)
    if name not in functions:
        near = difflib.get_close_matches(str(name), functions, 1)
        raise InputError(f"there is no augmentation {name!r}{f' (did you mean {near[0]!r}?)' if near else ''}; allowed "
                         f"are {', '.join(functions)}")
    allowed = [p.name for p in inspect.signature(functions[name]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(arguments) - set(allowed))
    if unknown:
        raise InputError(f"the augmentation {name!r} has no argument {unknown[0]!r}; allowed are "
                         f"{', '.join(allowed) or 'none'}")
    return functools.partial(functions[name], **arguments)


def affine(x: torch.Tensor, generator: torch.Generator, *, rotate: float = 10.0, zoom: float = 0.1, shear: float = 0.1,
           shift: tuple[float, float] = (0.1, 0.1)) -> torch.Tensor:
    """Turn, zoom, shear and move, each by up to so much either way, and interpolate linearly to integers again.

    rotate: degrees; zoom: share, of width and height on their own; shear: pixels per row; shift: shares of the width
        and of the height
    """
    if len(shift) != 2:
        raise InputError(f"shift is {shift!r}, needed are two shares: of the width and of the height")
    flat = _flat(x)
    n = len(flat)

    def draw(spread):
        return (torch.rand(n, generator=generator) * 2 - 1) * spread

    angle, zoom_x, zoom_y, slant = draw(math.radians(rotate)), 1 + draw(zoom), 1 + draw(zoom), draw(shear)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # the grid's coordinates go from -1 to 1: a share of the width is twice as much
    rows = [torch.stack([cos * zoom_x, -sin * zoom_x + slant, draw(2 * shift[0])], 1),
            torch.stack([sin * zoom_y, cos * zoom_y, draw(2 * shift[1])], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), flat.shape, align_corners=False)
    moved = F.grid_sample(flat.float(), grid, align_corners=False).round_()
    return _unflat(moved.to(x.dtype), x)


def crop(x: torch.Tensor, generator: torch.Generator, *, padding: int = 4) -> torch.Tensor:
    """Move by up to `padding` pixels along each axis: a random crop of the padded image."""
    return _moved(x, *(torch.randint(-padding, padding + 1, (_samples(x),), generator=generator) for _ in range(2)))


def roll(x: torch.Tensor, generator: torch.Generator, *, pixels: int = 5) -> torch.Tensor:
    """Move by up to `pixels` along each axis; what leaves on one side comes in on the other."""
    down, right = (torch.randint(-pixels, pixels + 1, (_samples(x),), generator=generator) for _ in range(2))
    return _moved(x, down, right, wrap=True)


def flip(x: torch.Tensor, generator: torch.Generator, *, share: float = 0.5) -> torch.Tensor:
    """Mirror left and right; share: of the samples that are mirrored."""
    chosen = torch.rand(_samples(x), generator=generator) < share
    return torch.where(chosen.view(-1, 1, 1, 1), x.flip(-1), x)


def cutout(x: torch.Tensor, generator: torch.Generator, *, size: int = 16, holes: int = 1) -> torch.Tensor:
    """Set squares of size x size pixels, centred anywhere in the image, to 0. Ref: DeVries, Taylor, 2017."""
    height, width = x.shape[-2:]
    for _ in range(holes):
        rows, columns = (_hole(n, size, torch.randint(n, (_samples(x),), generator=generator)) for n in (height, width))
        x = x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
    return x


def autoaugment(x: torch.Tensor, generator: torch.Generator, *, policy: str = "cifar10") -> torch.Tensor:
    """Apply a sub-policy to each colour image; policy: "cifar10" or "imagenet". Ref: Cubuk et al., CVPR 2019."""
    from .autoaugment import apply

    return apply(x, generator, policy)


AUGMENTATIONS = {function.__name__: function for function in (affine, crop, roll, flip, cutout, autoaugment)}
"""Name in a recipe -> function of a batch and a generator; its keyword arguments are the recipe's."""


def _samples(x: torch.Tensor) -> int:
    return x.shape[x.dim() - 4]


def _flat(x: torch.Tensor) -> torch.Tensor:
    """Return (N, T * C, H, W) of (T, N, C, H, W): one image for each sample; (N, C, H, W) stays as it is."""
    return x if x.dim() == 4 else x.transpose(0, 1).flatten(1, 2)


def _unflat(flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return what `_flat` made of x, in the shape of x again."""
    return flat if x.dim() == 4 else flat.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1)


def _hole(n: int, size: int, centre: torch.Tensor) -> torch.Tensor:
    """Return (N, n): which of n rows or columns belong to squares of `size` around their centres."""
    start = centre - size // 2
    index = torch.arange(n)
    return (index >= start[:, None]) & (index < start[:, None] + size)


def _moved(x: torch.Tensor, down: torch.Tensor, right: torch.Tensor, wrap: bool = False) -> torch.Tensor:
    """Return samples moved by as many pixels as the tensors (N,) say."""
    flat = _flat(x)
    n, _, height, width = flat.shape
    rows = torch.arange(height) - down[:, None]
    columns = torch.arange(width) - right[:, None]
    sample = torch.arange(n)[:, None, None]
    moved = flat.permute(0, 2, 3, 1)[sample, rows.remainder(height)[:, :, None], columns.remainder(width)[:, None, :]]
    moved = moved.permute(0, 3, 1, 2)
    if not wrap:
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        moved = moved.masked_fill(~inside[:, None], 0)
    return _unflat(moved, x)
