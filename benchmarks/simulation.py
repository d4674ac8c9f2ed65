"""Speed of the RTL simulation on one thread, with other flags of Verilator and of the C++ compiler beside its own.

    python benchmarks/simulation.py                        # mnist-small on the ULX3S's hardware, 12 images a round
    python benchmarks/simulation.py digits --lanes 16      # another network, other hardware
    python benchmarks/simulation.py --only "as it is"      # the figure alone, without a minute's build per variant

Every round runs all variants one after the other on the same images; figures are of processor time, and a ratio is the
median of the rounds' ratios, so that other work on the machine matters little. Logits of all variants are compared.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qblif.gen.plan import make_plan
from qblif.hw import boards
from qblif.sim import golden, named, verilator
from qblif.sim.console import table
from qblif.sim.model import Model, load
from qblif.sim.simulation import design_verilog


def split(verilog: str) -> str:
    """Return the text with vectors of 32 bits and more marked to be split where all their selects are constant."""
    return re.sub(r"^(  (?:wire|reg) \[(?:3[1-9]|[4-9]\d|\d{3,}):0\] \S+ ?)(| = [^;]*);$",
                  r"\1 /*verilator split_var*/\2;", verilog, flags=re.M)


VARIANTS: dict[str, tuple[dict, Callable[[str], str]]] = {
    "as it is": ({}, str),
    "-O3": ({"fast": ("-O3",)}, str),
    "-O2 -march=native": ({"fast": ("-O2", "-march=native")}, str),
    "without assertions": ({"verilate": tuple(flag for flag in verilator.VERILATE if flag != "--assert")}, str),
    "wide vectors split": ({}, split),
}
"""Name -> arguments of sim.verilator.build, and what is done to the Verilog."""


class Bench:
    """One variant with a program in it."""

    def __init__(self, library: Path, program: np.ndarray):
        self._model = Model(load(library))
        self._model.send("program", program, np.arange(program.size) == program.size - 1)
        while not self._model.run_program(100_000):
            pass
        self._model.run(1000)

    def run(self, frames: np.ndarray, classes: int) -> tuple[np.ndarray, int, float]:
        """Return logits (B, K), clock cycles and seconds of processor time of a batch."""
        count, beats = frames.shape
        self._model.clear()
        self._model.send("input", frames.ravel(), np.tile(np.arange(beats) == beats - 1, count))
        cycle, began = self._model.now, time.process_time()
        while not self._model.run(100_000, count * classes):
            pass
        seconds = time.process_time() - began
        return self._model.output()[0].view(np.int32).reshape(count, classes), self._model.now - cycle, seconds


def main(argv: list[str] | None = None) -> str:
    """Measure and return the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", nargs="?", default="mnist-small", help="of the zoo, or a file")
    parser.add_argument("--lanes", type=int, default=64, help="of the ULX3S's hardware (default: 64)")
    parser.add_argument("--images", type=int, default=12, help="images of a round (default: 12)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--only", choices=VARIANTS, action="append", help="only this variant; may be given again")
    args = parser.parse_args(argv)

    one = named.find(args.network)
    plan = make_plan(one.network, design=boards.find("ulx3s")[0].implementation().default_design(args.lanes))
    images, about = named.images_of(one, args.images)
    expected = golden.run(one.network, images, count=True)
    additions = sum(int(count.additions["double"].sum()) for count in expected.counts)
    frames, verilog = plan.input_layout.pack(images), design_verilog(plan.design, trace=False)
    benches = {name: Bench(verilator.build(change(verilog), **flags), plan.program)
               for name, (flags, change) in VARIANTS.items() if args.only is None or name in args.only}

    rounds = []
    for _ in range(args.rounds):
        seconds = {}
        for name, bench in benches.items():
            logits, cycles, seconds[name] = bench.run(frames, one.network.classes)
            if (logits != expected.logits).any():
                raise SystemExit(f"{name}: the logits are not the golden model's")
        rounds.append(seconds)
    first = next(iter(benches))
    rows = [(name, f"{additions / spent / 1e6:.1f} M", f"{cycles / spent / 1e6:.2f} M",
             statistics.median(seconds[first] / seconds[name] for seconds in rounds))
            for name in benches for spent in [statistics.median(seconds[name] for seconds in rounds)]]
    return (f"{one.text}, {args.lanes} lanes, {len(images)} images ({about}), {args.rounds} rounds, a second of one "
            f"thread:\n" + table(rows, ("variant", "additions", "cycles", f"faster than {first!r}")))


if __name__ == "__main__":
    print(main())
