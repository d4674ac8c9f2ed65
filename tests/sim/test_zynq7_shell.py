"""The whole Zynq-7000 shell as it is emitted, around a model of the processing system, against the golden model."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.hw.boards.zynq7 import Zynq7
from qblif.hw.dma_top import DmaTop
from qblif.hw.emit import emit
from qblif.sim import golden
from qblif.sim.icarus import find_icarus
from qblif.sim.random_networks import random_input, random_network

from .benches import SMALL

MODEL = Path(__file__).with_name("ps7_model.sv")


def words(path, values):
    path.write_text("".join(f"{int(value) & 0xFFFF_FFFF:08x}\n" for value in values))


def run(folder, seed, change=lambda text: text, baked=False):
    """Simulate the shell with a random network; return what the model printed and the words around the results."""
    network = random_network(seed, SMALL)
    plan = make_plan(network, lanes=4, word_bits=32, neuron_lanes=2)
    x = random_input(network, seed, 2)
    frames, logits = plan.input_layout.pack(x), golden.run(network, x).logits
    assert len(plan.program) <= 0x1000 and frames.size <= 0x1000

    (folder / "top.v").write_text(change(emit(
        Zynq7(DmaTop(plan.design, baked=plan.program if baked else None)), "qblif_ps7", "")))
    words(folder / "program.hex", plan.program)
    words(folder / "frames.hex", frames.ravel())
    iverilog, vvp = find_icarus()
    subprocess.run([iverilog, "-g2012", "-o", "sim", "-s", "qblif_ps7", "top.v", MODEL], cwd=folder, check=True,
                   timeout=120)
    values = {"program": "program.hex", "frames": "frames.hex", "results": "results.hex", "count": len(frames),
              "seed": seed + 1, "program_beats": 0 if baked else len(plan.program), "in_beats": frames.shape[1],
              "out_beats": logits.shape[1]}
    ran = subprocess.run([vvp, "sim", *(f"+{name}={value}" for name, value in values.items())], cwd=folder,
                         capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
    results = folder / "results.hex"
    return ran.stdout, results.read_text().split() if results.exists() else [], logits


@pytest.mark.icarus
@pytest.mark.parametrize(("seed", "baked"), [
    (6, False), *(pytest.param(seed, seed == 1, marks=pytest.mark.long) for seed in (0, 1, 2))])
def test_a_network_runs_from_memory_to_memory(tmp_path, seed, baked):
    """Four-state simulation: a port that nothing drives would show. Baked in, no program is loaded."""
    said, found, logits = run(tmp_path, seed, baked=baked)
    assert "FAILED" not in said and f"ID {abi.MAGIC:08x}" in said and f"DONE {len(logits)}," in said, said[-2000:]
    untouched = [0xDEAD_0000 + 0x8008 // 4 + at for at in (-2, -1, logits.size, logits.size + 1)]
    wanted = [*untouched[:2], *(int(value) & 0xFFFF_FFFF for value in logits.ravel()), *untouched[2:]]
    assert found == [f"{word:08x}" for word in wanted]


@pytest.mark.icarus
@pytest.mark.long
@pytest.mark.parametrize(("there", "instead"), [
    (".SAXIHP0WID(6'h00)", ".SAXIHP0WID(6'h01)"), (".SAXIHP0WDATA(hp0__wdata)", ".SAXIHP0WDATA(hp0__wdata ^ 64'h1)"),
    (".SAXIHP0WLAST(hp0__wlast)", ".SAXIHP0WLAST(1'h0)"), (".MAXIGP0RID(gp0__rid)", ".MAXIGP0RID(12'h000)"),
    (".SAXIHP0ARADDR(hp0__araddr)", ".SAXIHP0ARADDR()"), (".SAXIHP0ACLK(clk)", ".SAXIHP0ACLK(~clk)"),
])
def test_a_wrong_wire_would_show(tmp_path, there, instead):
    def change(text):
        assert text.count(there) == 1
        return text.replace(there, instead)

    said, found, logits = run(tmp_path, 6, change)
    assert "FAILED" in said or found[2:-2] != [f"{int(value) & 0xFFFF_FFFF:08x}" for value in logits.ravel()]
