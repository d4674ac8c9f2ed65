"""AutoAugment's learned policies for CIFAR-10 and ImageNet, on batches of colour images, with Pillow's operations.

Ref: E. Cubuk et al., AutoAugment: learning augmentation strategies from data, CVPR 2019: tables 7 and 9 (policies) and
6 (ranges of magnitudes).
"""

from __future__ import annotations

import math

import torch

from qblif.host.errors import InputError

CIFAR10 = """
invert 0.1 7, contrast 0.2 6; rotate 0.7 2, translate_x 0.3 9; sharpness 0.8 1, sharpness 0.9 3
shear_y 0.5 8, translate_y 0.7 9; autocontrast 0.5 8, equalize 0.9 2; shear_y 0.2 7, posterize 0.3 7
color 0.4 3, brightness 0.6 7; sharpness 0.3 9, brightness 0.7 9; equalize 0.6 5, equalize 0.5 1
contrast 0.6 7, sharpness 0.6 5; color 0.7 7, translate_x 0.5 8; equalize 0.3 7, autocontrast 0.4 8
translate_y 0.4 3, sharpness 0.2 6; brightness 0.9 6, color 0.2 8; solarize 0.5 2, invert 0.0 3
equalize 0.2 0, autocontrast 0.6 0; equalize 0.2 8, equalize 0.6 4; color 0.9 9, equalize 0.6 6
autocontrast 0.8 4, solarize 0.2 8; brightness 0.1 3, color 0.7 0; solarize 0.4 5, autocontrast 0.9 3
translate_y 0.9 9, translate_y 0.7 9; autocontrast 0.9 2, solarize 0.8 3; equalize 0.8 8, invert 0.1 3
translate_y 0.7 9, autocontrast 0.9 1
"""
IMAGENET = """
posterize 0.4 8, rotate 0.6 9; solarize 0.6 5, autocontrast 0.6 5; equalize 0.8 8, equalize 0.6 3
posterize 0.6 7, posterize 0.6 6; equalize 0.4 7, solarize 0.2 4; equalize 0.4 4, rotate 0.8 8
solarize 0.6 3, equalize 0.6 7; posterize 0.8 5, equalize 1.0 2; rotate 0.2 3, solarize 0.6 8
equalize 0.6 8, posterize 0.4 6; rotate 0.8 8, color 0.4 0; rotate 0.4 9, equalize 0.6 2
equalize 0.0 7, equalize 0.8 8; invert 0.6 4, equalize 1.0 8; color 0.6 4, contrast 1.0 8
rotate 0.8 8, color 1.0 2; color 0.8 8, solarize 0.8 7; sharpness 0.4 7, invert 0.6 8
shear_x 0.6 5, equalize 1.0 9; color 0.4 0, equalize 0.6 3; equalize 0.4 7, solarize 0.2 4
solarize 0.6 5, autocontrast 0.6 5; invert 0.6 4, equalize 1.0 8; color 0.6 4, contrast 1.0 8
equalize 0.8 8, equalize 0.6 3
"""
LEVELS = 10
"""Magnitudes go from 0 to 9, over the whole range of an operation."""


def _parse(text: str) -> list[list[tuple[str, float, int]]]:
    """Return sub-policies: pairs of an operation, its probability and its magnitude."""
    pairs = [pair for line in text.strip().splitlines() for pair in line.split(";")]
    return [[(name, float(share), int(level)) for name, share, level in (part.split() for part in pair.split(","))]
            for pair in pairs]


POLICIES = {"cifar10": _parse(CIFAR10), "imagenet": _parse(IMAGENET)}


def operation(image, name: str, level: int, sign: int):
    """Return an RGB image with one operation applied. sign: 1 or -1, the direction of those that have one."""
    from PIL import Image, ImageEnhance, ImageOps

    part = level / (LEVELS - 1)

    def turned(a, b, c, d, e, f):
        return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.NEAREST)

    enhance = {"color": ImageEnhance.Color, "contrast": ImageEnhance.Contrast, "brightness": ImageEnhance.Brightness,
               "sharpness": ImageEnhance.Sharpness}
    if name in enhance:
        return enhance[name](image).enhance(1 + sign * 0.9 * part)
    width, height = image.size
    match name:
        case "shear_x":
            return turned(1, sign * 0.3 * part, 0, 0, 1, 0)
        case "shear_y":
            return turned(1, 0, 0, sign * 0.3 * part, 1, 0)
        # 150 pixels of the 331 that the policies were searched with
        case "translate_x":
            return turned(1, 0, sign * part * width * 150 / 331, 0, 1, 0)
        case "translate_y":
            return turned(1, 0, 0, 0, 1, sign * part * height * 150 / 331)
        case "rotate":
            return image.rotate(sign * 30 * part)
        case "autocontrast":
            return ImageOps.autocontrast(image)
        case "equalize":
            return ImageOps.equalize(image)
        case "invert":
            return ImageOps.invert(image)
        case "solarize":
            return ImageOps.solarize(image, math.ceil(256 * (1 - part)))
        case "posterize":
            return ImageOps.posterize(image, 8 - round(4 * part))
    raise ValueError(f"there is no operation {name!r}")


def apply(x: torch.Tensor, generator: torch.Generator, policy: str) -> torch.Tensor:
    """Return uint8 images (N, 3, H, W), each with a sub-policy of its own. Raises InputError for others."""
    import numpy as np
    from PIL import Image

    if policy not in POLICIES:
        raise InputError(f"there is no policy {policy!r}; allowed are {', '.join(POLICIES)}")
    if x.dim() != 4 or x.shape[1] != 3 or x.dtype != torch.uint8:
        raise InputError(f"autoaugment takes colour images, uint8 (N, 3, H, W), not {x.dtype} {tuple(x.shape)}")
    pairs = POLICIES[policy]
    chosen = torch.randint(len(pairs), (len(x),), generator=generator).tolist()
    draws = torch.rand(len(x), 2, generator=generator).tolist()
    signs = (torch.randint(2, (len(x), 2), generator=generator) * 2 - 1).tolist()
    out = x.clone()
    for i, (pair, draw, sign) in enumerate(zip(chosen, draws, signs, strict=True)):
        used = [(name, level, way) for (name, share, level), drawn, way in zip(pairs[pair], draw, sign, strict=True)
                if drawn < share]
        if used:
            image = Image.fromarray(x[i].permute(1, 2, 0).contiguous().numpy())
            for name, level, way in used:
                image = operation(image, name, level, way)
            out[i] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return out
