"""How many images a second a board's own link carries, computed: beside every rate of the cores."""

from __future__ import annotations

import numpy as np

from qblif.host import serial
from qblif.hw.boards import Board


def of_board(board: Board, frames: np.ndarray, classes: int) -> dict:
    """Return the link's name and either its images a second or, where the clock drives it, the cycles of an image.

    frames: uint32 (images, beats), as they go over the link; classes: logits that come back."""
    if board.target.startswith("serial"):
        return {"name": f"serial line, {serial.BAUD:,} baud",
                "images_per_second": serial.images_per_second(frames, classes)}
    return {"name": "DMA, one 32-bit beat a cycle", "cycles_per_image": frames.shape[1] + classes}


def rate(link: dict, hz: float) -> float:
    """Return the images a second of what `of_board` returned, at a clock."""
    return link["images_per_second"] if "images_per_second" in link else hz / link["cycles_per_image"]
