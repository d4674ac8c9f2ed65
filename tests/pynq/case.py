"""What the checks inside pynq's environments need, made where the hardware can be built: bundles, overlays, logits."""

from __future__ import annotations

import pathlib

import numpy as np

from qblif.gen.data import digits_data
from qblif.gen.network_file import network_hash
from qblif.hw.params import DesignParams
from qblif.sim import stages, subjects, verilator
from qblif.sim.board.overlay import make_overlay
from qblif.sim.board.rtl import HARNESS
from qblif.sim.deploy import deploy
from qblif.sim.simulation import Simulation

DIGITS_RUN = 120
"""Digits that are run, all of them golden vectors of the bundle."""

KINDS = ("pynq-z2", "kv260")
"""Boards: a Zynq-7000 and a Zynq UltraScale+."""


def make_case() -> pathlib.Path:
    """Return a folder, kept in the cache, with

    digits.qblif: the digits network, trained briefly, on 16 lanes; other.qblif: the same on 32, another build
    digits.<board>/, other.pynq-z2/: overlays, each with board.json
    rtl.npy: the logits of the golden inputs, int64, as the simulated stream variant gives them
    """
    brief = subjects.Options(settings=("train.epochs=2", "train.quantised_epochs=1"))
    network, images = subjects.digits_network(brief), digits_data().test_x[:DIGITS_RUN].numpy()

    def make(folder: pathlib.Path) -> None:
        digits = deploy(network, folder / "digits.qblif", images, lanes=16)
        other = deploy(network, folder / "other.qblif", images[:2], lanes=32)
        for kind in KINDS:
            make_overlay(digits, folder / f"digits.{kind}", kind)
        make_overlay(other, folder / "other.pynq-z2", "pynq-z2")
        with Simulation(DesignParams.from_dict(digits.design)) as simulation:
            simulation.program(digits.program)
            result = simulation.infer(digits.input_layout.pack(images), digits.classes)
        np.save(folder / "rtl.npy", result.logits)

    modules = ("qblif.sim.board.overlay", "qblif.sim.deploy", "qblif.sim.simulation")
    return stages.stage("pynq", modules, {
        "digits": DIGITS_RUN, "kinds": KINDS, "network": network_hash(network),
        "harness": verilator.harness_sources(HARNESS)}, make).folder
