"""A small network whose hardware compiles in seconds, and boards that run it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib
import tempfile

from qblif.host import open as open_accelerator
from qblif.host.bundle import Bundle
from qblif.hw.params import DesignParams
from qblif.sim.board import build
from qblif.sim.board.board import KINDS, Board, Design
from qblif.sim.deploy import deploy, random_images
from qblif.sim.random_networks import Limits, random_network

PAYLOAD = b"tiny"
IMAGES = 12
SEED = 15

SLOW_HZ = 4e5
"""A clock at which seconds of the board's own time are simulated in moments."""

LIMITS = Limits(layers=2, side=5, channels=4, steps=2, levels=7, input_bits=4, weight_bits=4, lanes=4, row_adds=2000,
                weight_rows=128, map_words=128, sources=8)


@functools.cache
def bundle() -> Bundle:
    """Return the network's bundle, with IMAGES golden vectors."""
    network = random_network(SEED, LIMITS)
    path = pathlib.Path(tempfile.mkdtemp(prefix="qblif-tiny")) / "tiny.qblif"
    return deploy(network, path, random_images(network, IMAGES), lanes=4)


@functools.cache
def library(kind: str = "pynq-z2") -> pathlib.Path:
    """Return the simulator of its hardware with a DMA, as a board has it."""
    return build.library(DesignParams.from_dict(bundle().design), KINDS[kind].address_bits)


@functools.cache
def other_build() -> Bundle:
    """Return a bundle of the same network for another build of the hardware."""
    network = random_network(SEED, LIMITS)
    path = pathlib.Path(tempfile.mkdtemp(prefix="qblif-tiny")) / "other.qblif"
    return deploy(network, path, random_images(network, IMAGES), lanes=8)


def board(kind: str = "pynq-z2", cycles: int = 500, program: bool = True, slow: bool = False) -> Board:
    """Return a new board that knows the bitstream PAYLOAD, and has it unless `program` is False.

    slow: a PYNQ-Z2's clock is SLOW_HZ."""
    digest = hashlib.sha256(PAYLOAD).hexdigest()
    made = Board(kind, {digest: Design(library(kind), KINDS[kind].registers)}, cycles)
    if slow:
        made.clocks.write(made.clocks.FCLK, 50 << 20 | 50 << 8)  # 1000 MHz / 50 / 50
    if program:
        made.program(PAYLOAD)
    return made


@contextlib.contextmanager
def opened(on: Board, timeout: float = 30.0):
    """Give an accelerator on a board."""
    with open_accelerator(bundle(), "board", board=on, timeout=timeout) as accelerator:
        yield accelerator
