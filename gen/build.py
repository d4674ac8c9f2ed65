"""From a plan to the file that is deployed."""

from __future__ import annotations

import dataclasses
import os
import platform

import numpy as np

from qblif import __version__
from qblif.host.bundle import Bundle
from qblif.host.errors import InputError
from qblif.hw.params import DesignParams

from . import network_file
from .plan import Plan


def build(plan: Plan, path: str | os.PathLike, *, golden_inputs, golden_logits, verilog: str | None = None,
          tools: dict[str, str] | None = None) -> Bundle:
    """Write the bundle of `plan` to `path`, replacing what is there atomically, and return it.

    golden_inputs: test images, (B, C, H, W) if the input is static, else (T, B, C, H, W), 0 .. 2**bits - 1;
    golden_logits: the golden model's integers for them, (B, K);
    verilog: the emitted top; None: emit it (some seconds, needs Yosys). A bundle's hardware has no trace ports;
    tools: name -> version of further tools to note.

    The same arguments give the same bytes. Raises InputError for golden vectors that do not fit the network,
    VerifyError, ToolMissing, BundleError when the file cannot be written."""
    network = plan.network
    inputs = plan.input_layout.check(golden_inputs)
    logits = np.asarray(golden_logits)
    wanted = (inputs.shape[0 if plan.input_layout.static else 1], network.classes)
    if logits.shape != wanted or logits.dtype.kind != "i":
        raise InputError(f"the golden logits are {logits.dtype} of shape {logits.shape}, allowed are integers of shape "
                         f"{wanted}: one row per golden input, one column per class")
    design = DesignParams(tuple(dataclasses.replace(core, trace=False) for core in plan.design.cores))
    versions = {"qblif": __version__, "numpy": np.__version__, "python": platform.python_version()}
    if verilog is None:
        from qblif.hw import emit

        verilog = emit.emit_top(design)
        versions["emitted by"] = emit.tool_versions()
    return Bundle.write(
        path, name=network.name, scale=network.layers[-1].scale, input_layout=plan.input_layout,
        design=design.to_dict(), program=plan.program, verilog=verilog, golden_inputs=inputs,
        golden_logits=logits.astype(np.int64), network=network_file.dumps(network), tools={**versions, **(tools or {})},
        about={**network.meta, "plan": plan.describe()})
