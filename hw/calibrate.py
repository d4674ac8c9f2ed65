"""What synthesis makes of designs for the ECP5, module by module: the data that the resource model rests on.

    python -m qblif.hw.calibrate             # all of DESIGNS anew; half an hour or more
    python -m qblif.hw.calibrate --keep      # only what the file does not have, as after an interruption
    python -m qblif.hw.calibrate --add build/bitstream/ulx3s     # and what place and route made of a design, or of one
                                                                 # that missed its clock: build/bitstream/ulx3s.failed
    python -m qblif.hw.calibrate --fit       # only fit the model anew, to the hardware's sources as they are now
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from . import ecp5, emit
from .ecp5_report import Report
from .params import CoreParams, DesignParams
from .tools import YOSYS

FILE = Path(__file__).with_name("calibration.json")

CLOCK_HZ = 80_000_000
"""Of the serial line's divider, the only thing that it changes."""


def _design(cores: int = 1, **given) -> DesignParams:
    small = {"map_depth": 512, "weight_depth": 512, "source_depth": 128, "channel_depth": 128}
    return DesignParams((CoreParams(**small | given),) * cores)


DESIGNS = {
    "4 lanes": _design(lanes=4, word_bits=32, neuron_lanes=2, acc_bits=20),
    "16 lanes": _design(),
    "64 lanes, 16 neurons": _design(lanes=64, word_bits=128, neuron_lanes=16, acc_bits=28),
    "128 lanes": _design(lanes=128, word_bits=128, neuron_lanes=8),
    "8 lanes, 4-bit weights": _design(lanes=8, word_bits=32, neuron_lanes=8, weight_bits=4, level_bits=3),
    "16 lanes, 2 clusters": _design(clusters=2),
    "16 lanes, 2 cores": _design(cores=2),
    "16 lanes, 36 columns of occupancy": _design(occupancy=36),
    "32 lanes, 256-bit words": _design(lanes=32, word_bits=256, neuron_lanes=4),
    "64 lanes": _design(lanes=64, map_depth=8192, weight_depth=4096, source_depth=256, channel_depth=512),
}
"""What is synthesised: every parameter that logic depends on, at two values or more."""


def measure(design: DesignParams) -> dict[str, dict[str, int]]:
    """Synthesise a design on a serial line as boards are, and return module -> device cell -> count.

    Raises ToolMissing, BuildError."""
    with tempfile.TemporaryDirectory() as work:
        def keep(kind, name, make):
            folder = Path(work) / kind
            folder.mkdir()
            make(folder)
            return folder

        text = emit.emit_uart_top(design, CLOCK_HZ)
        return ecp5.synthesise(ecp5.Design("calibration", text, "qblif_uart", "", "", (), CLOCK_HZ), keep,
                               timeout=ecp5.TIMEOUTS["synthesis"])


def load() -> dict:
    """Return the data: "tool"; "same": hashes of sources of the hardware (boards.sources_hash) that make the same of
    all designs that were routed (sim/same_logic.py); "designs": name -> {"design", "modules", and where it was routed
    "comb", "mhz" and, of the report, "sources"}; "fit": fields of resources.Fit, made of these designs and of the
    hardware's sources."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def save(data: dict) -> None:
    """Write what `load` returns."""
    FILE.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def refit() -> None:
    """Fit the resource model to the data as it is, and keep that beside it."""
    from .resources import fit  # which reads this module's data

    data = load()
    save(data | {"fit": dataclasses.asdict(fit(data["designs"]))})


def add(folder: Path) -> str:
    """Take in what `make bitstream` left in a folder, report.json and manifest.json, or design.json where the clock was
    missed; return the name given to it."""
    report = Report.from_json((folder / "report.json").read_text(encoding="utf-8"))
    file = next((path for path in (folder / "manifest.json", folder / "design.json") if path.is_file()), None)
    if file is None:
        raise SystemExit(f"{folder}: no manifest.json and no design.json is there; `make bitstream` leaves one")
    made = json.loads(file.read_text(encoding="utf-8"))
    if report.build_hash != made["build_hash"]:
        raise SystemExit(f"{folder}: report.json and {file.name} are of different builds")
    design = DesignParams.from_dict(made["design"])
    cores = " + ".join(f"{core.clusters}x{core.lanes}" for core in design.cores)
    name = f"{report.board}, {cores} lanes, {design.cores[0].neuron_lanes} neurons"
    name += (", sees where images are empty" if design.cores[0].occupancy else "") + ", routed"
    data = load()
    data["designs"][name] = {"design": design.to_dict(), "modules": report.modules,
                             "comb": report.used["TRELLIS_COMB"][0], "mhz": round(report.reached, 2),
                             "sources": report.sources}
    save(data)
    return name


def main(arguments: list[str]) -> int:
    """Measure what the file does not have, or all, and write it."""
    if arguments[:1] == ["--add"]:
        for folder in arguments[1:]:
            print(add(Path(folder)))
    elif arguments != ["--fit"]:
        before = load() if FILE.exists() else {}
        kept = before.get("designs", {}) if arguments == ["--keep"] else {}
        for name, design in DESIGNS.items():
            if kept.get(name, {}).get("design") != design.to_dict():
                print(f"{name}: synthesising", flush=True)
                kept[name] = {"design": design.to_dict(), "modules": measure(design)}
                save(before | {"tool": YOSYS.version(), "designs": kept})
    refit()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
