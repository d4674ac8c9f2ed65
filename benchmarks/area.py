"""LUTs per lane and the critical path of wide cores on the ULX3S 85F (LFE5U-85F-6).

    python benchmarks/area.py                              # synthesis alone: LUTs by part, for each shape
    python benchmarks/area.py --shape 2x128 --route        # placed and routed, too: clock, critical path; long
    python benchmarks/area.py --json area.json             # all of it as JSON, with the commit

A shape is clusters x lanes of one core, 8-bit weights, 24-bit sums, with the serial link and everything else that the
bitstream has. LUTs are LUT4s, two for a CCU2C and four for a LUT RAM of 16 x 4 bits, as nextpnr counts them; those of
the groups of lanes stand apart from what a cluster has once and what the design has once. Finished steps are kept in
the cache.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

from qblif.hw import boards, ecp5, emit
from qblif.hw.boards import ulx3s
from qblif.hw.ecp5_report import luts
from qblif.hw.params import CoreParams, DesignParams
from qblif.hw.uart_top import UartTop
from qblif.sim import cache

SHAPES = {
    "1x64": dict(lanes=64, neuron_lanes=4, weight_depth=4096, map_depth=8192, contexts=32),
    "4x64": dict(lanes=64, neuron_lanes=2, clusters=4),
    "2x128": dict(lanes=128, word_bits=128, neuron_lanes=4, clusters=2),
}
"""Parameters of the core beside those that all shapes have."""

COMMON = dict(word_bits=64, weight_bits=8, acc_bits=24, weight_depth=1024, map_depth=1024, source_depth=64,
              channel_depth=256, contexts=16)

PARTS = ((r"\.accumulators\.group_\d+", "lanes"), (r"\.accumulators$", "joining of sums"),
         (r"\.weights_\d+", "weights"), (r"\.neurons", "neuron units"), (r"\.words", "word readers"),
         (r"\.sequencer", "sequencers"), (r"\.runs", "run generators"), (r"\.scanner", "bit scanners"),
         (r"\.writeback", "write-backs"),
         (r"\.layers", "layer tables"), (r"\.cluster_\d+$", "clusters, rest"), (r"\.core_\d+", "core, rest"),
         (r"\.loader", "loader"), (r"\.registers", "registers"), (r"uart|link|serial", "serial link"), ("", "rest"))
"""Instance paths, the first that fits, and what they are called."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """One shape. luts: part -> LUTs; cells: type -> count, all of Yosys' netlist; routed: nextpnr's, if it ran."""

    shape: str
    lanes: int
    params: dict
    luts: dict[str, int]
    cells: dict[str, int]
    routed: dict | None

    @property
    def luts_per_lane(self) -> float:
        """Of Yosys' netlist, all in."""
        return sum(self.luts.values()) / self.lanes


def part_of(path: str) -> str:
    """Return the part that a module belongs to, by its instance path."""
    return next(part for pattern, part in PARTS if re.search(pattern, path))


def measure(name: str, clock_hz: int, route: bool, seeds: tuple[int, ...], hours: float, say) -> Figures:
    """Return the figures of a shape."""
    core = CoreParams(**COMMON | SHAPES[name])
    design = DesignParams((core,))
    board, _ = boards.find("ulx3s", None)
    pll = ulx3s.solve(ulx3s.OSCILLATOR_HZ, clock_hz)
    text = emit.emit(ulx3s.Ulx3s(UartTop(design, round(pll.output_hz)), pll), board.name)
    request = ecp5.Design(board.name, text, board.name, ulx3s.constraints(), board.part, ulx3s.DEVICE,
                          float(pll.output_hz))
    modules = ecp5.synthesise(request, cache.entry, say, hours * 3600)
    parts, cells = collections.Counter(), collections.Counter()
    for path, counts in modules.items():
        parts[part_of(path)] += luts(counts)
        cells.update(counts)
    routed = None
    if route:
        try:
            report, _ = ecp5.build(request, cache.entry, seeds=seeds, progress=say, timeout=hours * 3600)
        except ecp5.ClockMissed as error:
            report = error.report
        routed = {"asked_mhz": report.asked, "reached_mhz": report.reached, "seeds": report.seeds, "used": report.used,
                  "luts_per_lane": report.used["TRELLIS_COMB"][0] / (core.lanes * core.clusters),
                  "path": [dataclasses.asdict(step) for step in report.path]}
    return Figures(name, core.lanes * core.clusters, dataclasses.asdict(core), dict(parts), dict(cells), routed)


def table(figures: Figures) -> str:
    """Return the figures for people."""
    lines = [(f"{figures.shape}: {figures.lanes} lanes, {sum(figures.luts.values()):,} LUT4, "
              f"{figures.luts_per_lane:.1f} a lane (synthesised), FF {figures.cells['TRELLIS_FF']:,}, "
              f"block RAM {figures.cells['DP16KD']} of 208")]
    lines += [f"  {part:18}{count:>8,}{count / figures.lanes:>8.1f} a lane"
              for part, count in sorted(figures.luts.items(), key=lambda item: -item[1])]
    if figures.routed:
        routed = figures.routed
        lines.append(f"  routed: {routed['reached_mhz']:.1f} MHz ({routed['asked_mhz']:.1f} asked), "
                     f"{routed['used']['TRELLIS_COMB'][0]:,} LUT4, {routed['luts_per_lane']:.1f} a lane")
        lines += [f"    {step['delay']:5.2f} ns {step['kind']:9} {step['target']}" for step in routed["path"]
                  if step["delay"] >= 0.1]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure the shapes asked for, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="repeat for several (default: all)")
    parser.add_argument("--route", action="store_true", help="place and route, too: half an hour and more a shape")
    parser.add_argument("--clock", type=float, default=90.0, metavar="MHZ", help="asked of place and route")
    parser.add_argument("--seeds", type=int, default=1, help="placements to try until one reaches the clock")
    parser.add_argument("--hours", type=float, default=3.0, help="most that a step may take")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)

    def say(stage: str, seconds: float, text: str) -> None:
        print(f"{stage}: {text}", file=sys.stderr)

    found = []
    for shape in args.shape or SHAPES:
        found.append(measure(shape, round(args.clock * 1e6), args.route, tuple(range(1, args.seeds + 1)), args.hours,
                             say))
        print(table(found[-1]), flush=True)
    if args.json:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        args.json.write_text(json.dumps({"commit": commit.stdout.strip(), "tools": ecp5.versions(), "shapes": [
            dataclasses.asdict(one) | {"luts_per_lane": one.luts_per_lane} for one in found]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
