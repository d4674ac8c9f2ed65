"""A design in a file: hardware that the planner chose, and how the network that it was chosen for lies on it.

What takes `--design` takes it. Another network is laid on the same hardware as the planner of gen/plan.py does.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from qblif.gen import network_file
from qblif.gen.network import Network
from qblif.gen.packing import Packing
from qblif.gen.plan import Plan
from qblif.host.errors import InputError
from qblif.hw.params import DesignParams

FORMAT = "qblif-design"
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class DesignFile:
    """Hardware. board: that it was chosen for; network_hash: of the network, whose packing and spans these are."""

    design: DesignParams
    board: str
    network: str
    network_hash: str
    packing: Packing
    spans: tuple[tuple[int, int], ...]

    def layout(self, network: Network) -> dict:
        """Return what make_plan is told besides the design: how this network lies on it, if it is the one."""
        if network_file.network_hash(network) != self.network_hash:
            return {}
        return {"packing": self.packing, "spans": self.spans}


def save(path: Path, plan: Plan, board: str) -> None:
    """Write the design of a plan, and how its network lies on it."""
    spans = [[segment.first, segment.last] for segment in plan.segments]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "format": FORMAT, "schema": SCHEMA, "board": board, "network": plan.network.name,
        "network_hash": network_file.network_hash(plan.network), "build_hash": f"{plan.design.build_hash:016x}",
        "spans": spans, "packing": {"lanes": plan.packing.lanes, "positions": list(plan.packing.positions)},
        "design": plan.design.to_dict()}, indent=1) + "\n", encoding="utf-8")


def is_one(path: Path) -> bool:
    """Return whether a file says of itself that it holds a design."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def read(path: Path) -> DesignFile:
    """Return what `save` wrote; raises InputError for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        says = [found.get(name, "not told") for name in ("format", "schema")]
        if says != [FORMAT, SCHEMA]:
            raise ValueError(f"its format is {says[0]}, version {says[1]}; known is {FORMAT}, version {SCHEMA}")
        packing = Packing(int(found["packing"]["lanes"]), tuple(map(int, found["packing"]["positions"])))
        spans = tuple((int(first), int(last)) for first, last in found["spans"])
        return DesignFile(DesignParams.from_dict(found["design"]), str(found["board"]), str(found["network"]),
                          str(found["network_hash"]), packing, spans)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is no design: {what}", hint="a design is the file that `qblif plan NETWORK --board "
                         "BOARD --out FILE` writes") from error
