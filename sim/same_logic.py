"""Whether the reports of place and route that come with the product are of today's hardware, by what it is made of.

    python -m qblif.sim.same_logic          # some minutes: each routed design is elaborated and emitted again

A report says of which sources it is, and any change of these, of a comment or of what a design has only when asked
for, makes other sources of them. It also has the key of its build: the hash of everything that the netlist follows
from, text, constraints, options and tools. Where today's sources make the very keys of all reports of some sources,
the two are the same for what was measured: that is noted beside the measurements (hw/calibration.json, "same"), and
`sim.benchmark.state` goes by it. To be run after every change of the hardware's sources; a report whose key is made no
more is to be made again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from qblif.hw import boards, calibrate
from qblif.hw.ecp5_report import Report
from qblif.hw.params import DesignParams

from . import known


def routed() -> list[tuple[str, Report, DesignParams]]:
    """Return name, report and design of what comes with the product."""
    by_build = {f"{design.build_hash:016x}": design for design in known.all_designs()}
    return [(one.name, one.report, by_build[one.report.build_hash]) for one in known.all_placed()]


def today(report: Report, design: DesignParams) -> str:
    """Return the key of the build of a report as it is now."""
    board, _ = boards.find(report.board)
    return board.implementation().key(board, design, round(report.asked * 1e6), tuple(report.seeds))


def compare() -> Iterator[tuple[str, str, bool]]:
    """Yield of each report its name, its sources, and whether today's sources make its key."""
    for name, report, design in routed():
        yield name, report.sources, today(report, design) == report.key


def equal(found: list[tuple[str, str, bool]]) -> set[str]:
    """Return the sources all of whose reports have the keys of today."""
    return {sources for _, sources, _ in found} - {sources for _, sources, same in found if not same}


def main() -> int:
    """Compare, note which sources are the same as today's, and return 1 where a report is of other hardware."""
    found = []
    for one in compare():
        found.append(one)
        print(f"{one[0]}: {'the same' if one[2] else 'of other hardware'}", flush=True)
    same, data, all_same = equal(found), calibrate.load(), all(one[2] for one in found)
    if all_same and same & set(data.get("same", ())):           # what was the same before is the same now
        same |= set(data["same"])
    calibrate.save(data | {"same": sorted(same | {boards.sources_hash()})})
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main())
