"""`qblif compile`: from a trained module, or a network that there is, to a bundle, and to running on the simulator.

    read and fold ──▶ plan ──▶ golden ──▶ bundle ──▶ open ──▶ first image ──▶ every logit compared

Nothing is emitted or compiled again for hardware that is known: its SystemVerilog comes out of the bundle that is given
as the design, or out of the cache, and so does its simulator.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from qblif import host
from qblif.gen import data
from qblif.gen.build import build
from qblif.gen.errors import DataError
from qblif.gen.network import Network
from qblif.gen.plan import Plan
from qblif.host.bundle import Bundle
from qblif.host.errors import InputError
from qblif.hw import emit

from . import golden, named, runs, verilator
from .deploy import VECTORS, random_images
from .simulation import design_verilog
from .stopwatch import Stopwatch

EMITTED_BY = "emitted by"
"""Entry of a bundle's tools that says what its SystemVerilog was made with."""


def of_run(folder: Path, root: Path | None = None) -> tuple[Network, np.ndarray]:
    """Fold the module that a training left in its folder; return the network and the first images of its test set.

    root: where the data sets are. Raises RunError, DataError, VerifyError."""
    run = runs.load(folder)
    dataset = data.or_sample(run.dataset) if root is None else run.dataset(root)
    images, _ = dataset.test.batch(torch.arange(min(VECTORS, len(dataset.test))))
    return run.folded(dataset), images.numpy()


def of_name(text: str) -> tuple[Network, np.ndarray | None]:
    """Return a network of the zoo or a file, and what comes with qblif of its test images, None where nothing does:
    the same golden vectors on every machine, with and without the data sets. Raises ZooError, NetworkFileError."""
    one = named.find(text)
    try:
        dataset = one.test_set(root=data.SAMPLES)
    except (DataError, InputError):         # notes that do not fit, too: it is compiled all the same
        return one.network, None
    images, _ = dataset.test.batch(torch.arange(VECTORS))
    return one.network, images.numpy()


def emitted(plan: Plan, design: Path | None) -> tuple[str, str]:
    """Return the SystemVerilog of a plan's hardware, and what it was made with.

    design: the file that says what hardware it is, or None; a bundle has the very text with it."""
    if design is not None and zipfile.is_zipfile(design):
        bundle = Bundle.load(design)
        return bundle.verilog, bundle.tools.get(EMITTED_BY, "not told")
    return design_verilog(plan.design, trace=False), emit.tool_versions()


def compile_plan(plan: Plan, out: Path, watch: Stopwatch, *, images: np.ndarray | None = None,
                 design: Path | None = None) -> Bundle:
    """Write the bundle of a plan, and return it; `watch` gets what it took.

    images: golden vectors, as golden.run takes them; None: random ones; design: file that the hardware is from,
    or None

    Raises InputError for such images as the network does not take, ToolMissing, BundleError."""
    images = random_images(plan.network, VECTORS) if images is None else images
    logits = golden.run(plan.network, images).logits
    watch.lap("golden model")
    verilog, versions = emitted(plan, design)
    watch.lap("emit SystemVerilog", once=True)
    bundle = build(plan, out, golden_inputs=images, golden_logits=logits, verilog=verilog, tools={EMITTED_BY: versions})
    watch.lap("write the bundle")
    return bundle


def try_out(path: Path, watch: Stopwatch) -> str:
    """Run a bundle's golden vectors on the simulated hardware, compare every logit, and return what came out.

    Raises SelfTestFailed where one differs, and what `host.open` raises."""
    bundle = Bundle.load(path)
    watch.lap("read the bundle")
    verilator.build(bundle.verilog)
    watch.lap("compile the simulator", once=True)
    with host.open(bundle, "sim") as accelerator:
        watch.lap("open it, load the program")
        accelerator.run(bundle.golden_inputs[0] if bundle.input_layout.static else bundle.golden_inputs[:, 0])
        watch.lap("first image")
        count = accelerator.self_test()
        watch.lap("all images, every logit compared")
        return (f"{count} images on the simulated hardware, {count * bundle.classes} logits: all are the golden "
                f"model's; {accelerator.last_cycles.mean():,.0f} cycles from image to image")
