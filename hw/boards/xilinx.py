"""Bitstreams for PYNQ boards: a complete project folder, its tool run where there is one, and the overlay it gives.

A folder holds everything that its tool needs and says what to run, so that it can be carried to the machine that has
Vivado; ``python -m qblif.hw.boards.xilinx FOLDER`` then checks the result and puts the overlay together, which
`build` does itself where the tool is on the PATH.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.resources
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qblif import __version__
from qblif.host import abi, bitfile
from qblif.host.errors import QblifError
from qblif.host.hwh import ADDRESS_RANGE, BASE_ADDRESS, INSTANCE, PROCESSORS, hwh, patch_hwh

from ..dma_top import DmaTop
from ..emit import emit, tool_versions
from ..flow import BuildError, Progress, quiet, run
from ..params import DesignParams
from .block import wrapper
from .zynq7 import Zynq7

EXIT_BUILT = 0
"""Exit status: the overlay is complete."""

EXIT_PROJECT_ONLY = 3
"""Exit status: the project folder is complete, but there is no bitstream, since its tool is not on the PATH."""

TIMEOUT = 4 * 3600
"""Seconds that a tool may take, unless told otherwise."""

MANIFEST = "manifest.json"
FORMAT = 1
"""Incremented whenever the meaning of a manifest's entries changes."""


@dataclasses.dataclass(frozen=True)
class XilinxBoard:
    """A board with a Zynq.

    name: as BOARD= spells it; title: for people; pynq: as PYNQ spells it; part: device, package and grade; family:
    key of hwh.PROCESSORS; address_bits: of the accelerator's memory addresses; settings: of Vivado's processing
    system, beside the ports that `ps_config` opens.
    """

    name: str
    title: str
    pynq: str
    part: str
    family: str
    address_bits: int
    settings: dict[str, str]

    @property
    def toolchains(self) -> tuple[str, ...]:
        """What can build for it, the default first."""
        return tuple(name for name, chain in TOOLCHAINS.items() if self.family in chain.families)

    def ps_config(self, clock_mhz: float) -> dict[str, str]:
        """Return the settings of the processing system in a block design: clock 0, its reset, two ports.

        Memory and pins are left alone: the boot loader has set them up, and no bitstream changes them."""
        if self.family == "zynq":
            return self.settings | {
                "CONFIG.PCW_FCLK0_PERIPHERAL_CLKSRC": "IO PLL",
                "CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{clock_mhz:g}",
                "CONFIG.PCW_EN_CLK0_PORT": "1", "CONFIG.PCW_EN_RST0_PORT": "1",
                "CONFIG.PCW_USE_M_AXI_GP0": "1",
                "CONFIG.PCW_USE_S_AXI_HP0": "1", "CONFIG.PCW_S_AXI_HP0_DATA_WIDTH": "64",
            }
        return self.settings | {
            "CONFIG.PSU__FPGA_PL0_ENABLE": "1",
            "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL",
            "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": f"{clock_mhz:g}",
            "CONFIG.PSU__USE__M_AXI_GP0": "1", "CONFIG.PSU__MAXIGP0__DATA_WIDTH": "32",
            "CONFIG.PSU__USE__M_AXI_GP1": "0", "CONFIG.PSU__USE__M_AXI_GP2": "0",
            "CONFIG.PSU__USE__S_AXI_GP2": "1", "CONFIG.PSU__SAXIGP2__DATA_WIDTH": "64",
        }


# Crystal, processor and memory clock of the boards' own boot images: with them Vivado's idea of the PLLs is theirs.
_ZYNQ = {"CONFIG.PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "50", "CONFIG.PCW_APU_PERIPHERAL_FREQMHZ": "650",
         "CONFIG.PCW_UIPARAM_DDR_FREQ_MHZ": "525"}
_ZYNQMP = {"CONFIG.PSU__DDR_HIGH_ADDRESS_GUI_ENABLE": "1"}

BOARDS = {board.name: board for board in (
    XilinxBoard("pynq-z2", "TUL PYNQ-Z2", "Pynq-Z2", "xc7z020clg400-1", "zynq", 32, _ZYNQ),
    XilinxBoard("pynq-z1", "Digilent PYNQ-Z1", "Pynq-Z1", "xc7z020clg400-1", "zynq", 32, _ZYNQ),
    XilinxBoard("zcu104", "AMD ZCU104", "ZCU104", "xczu7ev-ffvc1156-2-e", "zynqmp", 40,
                _ZYNQMP | {"CONFIG.PSU__PSS_REF_CLK__FREQMHZ": "33.330"}),
    XilinxBoard("kv260", "AMD Kria KV260", "KV260", "xck26-sfvc784-2LV-c", "zynqmp", 40,
                _ZYNQMP | {"CONFIG.PSU__PSS_REF_CLK__FREQMHZ": "33.333"}),
)}
"""Name -> board."""


@dataclasses.dataclass(frozen=True)
class Toolchain:
    """A way from the project folder to a bitstream.

    title: for people; families: that it can build for; programs: have to be on the PATH; any of a tuple will do;
    command: run in the project folder; scripts: files of this package -> their names in the folder; get: where people
    get it.
    """

    title: str
    families: tuple[str, ...]
    programs: tuple[str | tuple[str, ...], ...]
    command: tuple[str, ...]
    scripts: dict[str, str]
    get: str

    @property
    def missing(self) -> list[str]:
        """Programs that are not on the PATH."""
        wanted = [(program,) if isinstance(program, str) else program for program in self.programs]
        return [" or ".join(names) for names in wanted if not any(shutil.which(name) for name in names)]


_VIVADO = ("vivado", "-mode", "batch", "-notrace", "-nojournal", "-nolog", "-source", "build.tcl")
_GET_VIVADO = ("AMD Vivado 2022.1 or newer (the free edition covers these parts); source its settings64.sh so that "
               "`vivado` is on the PATH")
TOOLCHAINS = {
    "vivado": Toolchain("Vivado, block design", ("zynq", "zynqmp"), ("vivado",), _VIVADO,
                        {"vivado/common.tcl": "common.tcl", "vivado/block_design.tcl": "build.tcl"}, _GET_VIVADO),
    "vivado-ps7": Toolchain("Vivado without IP or project", ("zynq",), ("vivado",), _VIVADO,
                            {"vivado/common.tcl": "common.tcl", "vivado/ps7.tcl": "build.tcl"}, _GET_VIVADO),
    "openxc7": Toolchain("openXC7: Yosys, nextpnr, prjxray", ("zynq",),
                         ("yosys", ("nextpnr-xilinx", "nextpnr-himbaechel"), "fasm2frames", "xc7frames2bit"),
                         ("sh", "build.sh"), {"openxc7/build.sh": "build.sh"},
                         "openXC7 (github.com/openXC7/toolchain-nix, or its snap or container); set PRJXRAY_DB_DIR, "
                         "and CHIPDB where nextpnr does not find its chip database"),
}
"""TOOLCHAIN= -> how it works; the first that knows a board's family is its default."""


class OverlayError(QblifError):
    """What a tool left behind is not the bitstream asked for."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a build.

    folder: the project; overlay: folder with qblif.bit, qblif.hwh and manifest.json, None where no tool ran; summary:
    for people; status: EXIT_BUILT or EXIT_PROJECT_ONLY.
    """

    folder: Path
    overlay: Path | None
    summary: str
    status: int


def _tcl(values: dict[str, object]) -> str:
    listed = "".join(f"set {name} {{{value}}}\n" for name, value in values.items())
    return f"# Written by qblif; build.tcl reads it.\n{listed}"


def _shell(values: dict[str, object]) -> str:
    listed = "".join(f"{name}='{value}'\n" for name, value in values.items())
    return f"# Written by qblif; build.sh reads it.\n{listed}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _resource(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text(encoding="utf-8")


def _readme(board: XilinxBoard, chain: Toolchain, clock_mhz: float) -> str:
    return f"""\
qblif {__version__} for {board.title} ({board.part}), {clock_mhz:g} MHz, built with {chain.title}

To make the bitstream, in this folder:

    {" ".join(chain.command)}

It needs: {chain.get}.
It leaves result/qblif.bit and reports of timing and utilisation, and fails where the clock is not met.

Then, where qblif is installed (result/ can be copied back from another machine):

    python -m qblif.hw.boards.xilinx .

checks it and makes overlay/ with qblif.bit, qblif.hwh and manifest.json: what the board needs.
"""


def project(board: XilinxBoard, dma: DmaTop, toolchain: str, clock_mhz: float, program_hash: int = 0, jobs: int = 2,
            timeout: float = TIMEOUT) -> dict[str, str]:
    """Return all files of a project folder but its manifest, path -> text.

    dma: the accelerator, elaborated here; program_hash: of what is baked into it; the others as in `build`."""
    chain, block = TOOLCHAINS[toolchain], toolchain == "vivado"
    actual = PROCESSORS[board.family].clock(clock_mhz)[2]
    if block:
        sources = {"src/qblif_dma.v": emit(dma, "qblif_dma", dialect=""), "src/qblif_block.v": wrapper(dma)}
    else:
        sources = {"src/qblif_ps7.v": emit(Zynq7(dma), "qblif_ps7", dialect="")}
    files = sources | {target: _resource(source) for source, target in chain.scripts.items()}
    if toolchain == "openxc7":
        files["settings.sh"] = _shell({
            "BOARD": board.name, "PART": board.part, "DEVICE": board.part.rpartition("-")[0], "TOP": "qblif_ps7",
            "CLOCK_MHZ": f"{actual:g}", "SOURCES": " ".join(sources)})
    else:
        settings = {"board": board.name, "part": board.part, "family": board.family, "clock_mhz": f"{actual:g}",
                    "sources": " ".join(sources), "jobs": jobs}
        if block:
            settings |= {
                "instance": INSTANCE, "base_address": f"0x{BASE_ADDRESS[board.family]:X}",
                "address_range": f"{ADDRESS_RANGE >> 10}K", "timeout_minutes": max(1, int(timeout / 60)),
                "ps_config": " ".join(f"{name} {{{value}}}" for name, value in board.ps_config(actual).items())}
        else:
            files["qblif.xdc"] = (f"# The processing system's clock 0, before its buffer.\n"
                                  f"create_clock -name fclk0 -period {1000 / actual:.3f} "
                                  f"[get_pins {{ps7/FCLKCLK[0]}}]\n")
        files["settings.tcl"] = _tcl(settings)
    files["qblif.hwh"] = hwh(board.family, clock_mhz, dma.design.build_hash, program_hash)
    files["README.txt"] = _readme(board, chain, actual)
    return files


def build(board: str, design: DesignParams, out: str | Path, toolchain: str | None = None, clock_mhz: float = 100,
          baked: np.ndarray | None = None, *, timeout: float = TIMEOUT, jobs: int = 2, progress: Progress = quiet,
          say: Callable[[str], None] = print) -> Outcome:
    """Write the project folder for a board, run its tool where that is on the PATH, and check what came out.

    Parameters
    ----------
    board: key of BOARDS; design: sizes of the cores (without trace); out: folder, made if need be; toolchain: one of
    the board's, None for its default; clock_mhz: asked for, the board's clock gives that or just below; baked: program
    image to be in place from power-up; timeout: seconds for the tool; jobs: processes Vivado may use; progress: as
    flow.run has it; say: called with lines for people

    A folder whose overlay was made from the very same files is left as it is. Raises ValueError for what cannot be
    built, BuildError where the tool fails or takes too long, OverlayError where its result is another than asked for.
    """
    if board not in BOARDS:
        raise ValueError(f"the board is {board!r}, allowed is one of {', '.join(BOARDS)}")
    chosen = BOARDS[board]
    toolchain = toolchain or chosen.toolchains[0]
    if toolchain not in chosen.toolchains:
        raise ValueError(f"the toolchain is {toolchain!r}; for {board} it is one of {', '.join(chosen.toolchains)}")
    chain, folder = TOOLCHAINS[toolchain], Path(out)
    actual = PROCESSORS[chosen.family].clock(clock_mhz)[2]
    if any(core.trace for core in design.cores):
        raise ValueError("the design has trace ports, which are for simulation; build it without")
    program_hash = 0 if baked is None else int(baked[4]) | int(baked[5]) << 32
    dma = _accelerator(chosen, design, baked)

    files = project(chosen, dma, toolchain, clock_mhz, program_hash, jobs, timeout)
    manifest = {
        "format": FORMAT, "qblif": __version__, "abi": abi.ABI_VERSION, "board": board, "part": chosen.part,
        "family": chosen.family, "toolchain": toolchain, "clock_mhz": actual, "build_hash": f"{design.build_hash:016x}",
        "program_hash": f"{program_hash:016x}" if baked is not None else None, "design": design.to_dict(),
        "emitted_by": tool_versions(), "files": {name: _sha256(text.encode()) for name, text in sorted(files.items())},
    }
    if _up_to_date(folder, manifest):
        return Outcome(folder, folder / "overlay", f"{folder / 'overlay'} is up to date", EXIT_BUILT)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("result", "overlay", "vivado"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if actual < clock_mhz * 0.999:
        say(f"{chosen.title} cannot make {clock_mhz:g} MHz from its PLL; the clock is {actual:.6g} MHz")

    if chain.missing:
        return Outcome(folder, None, (
            f"no bitstream was made: {', '.join(chain.missing)} "
            f"{'is' if len(chain.missing) == 1 else 'are'} not on the PATH.\n"
            f"The project is complete. With {chain.get}:\n"
            f"  cd {folder} && {' '.join(chain.command)}\n"
            f"makes {folder / 'result' / 'qblif.bit'}, and then\n"
            f"  python -m qblif.hw.boards.xilinx {folder}\n"
            f"checks it and makes {folder / 'overlay'}."), EXIT_PROJECT_ONLY)
    run("build", chain.command, folder, timeout, progress, expected=("result/qblif.bit",))
    return finish(folder)


def _accelerator(board: XilinxBoard, design: DesignParams, baked: np.ndarray | None) -> DmaTop:
    options = {} if baked is None else {"baked": baked}
    return DmaTop(design, board.address_bits, **options)


def _up_to_date(folder: Path, manifest: dict) -> bool:
    """Return whether the folder's overlay was made from these very files, and is still what was made."""
    try:
        made = json.loads((folder / "overlay" / MANIFEST).read_text(encoding="utf-8"))
        results = made.pop("results")
        return made == manifest and all(_sha256((folder / "overlay" / name).read_bytes()) == digest
                                        for name, digest in results["files"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def finish(folder: str | Path) -> Outcome:
    """Check what a tool left in a project folder, and make its overlay folder of it.

    Checked: the project's files are those of the manifest; the bitstream is for the board's part; the clock is met.
    Raises OverlayError, or BitfileError and HwhError where a file is damaged."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        board, toolchain = BOARDS[manifest["board"]], manifest["toolchain"]
        listed, clock_mhz = manifest["files"], float(manifest["clock_mhz"])
        build_hash, program_hash = int(manifest["build_hash"], 16), int(manifest["program_hash"] or "0", 16)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OverlayError(f"{folder} is no project folder of qblif: {type(error).__name__}: {error}",
                           hint="Name the folder that `qblif bitstream` wrote; it holds a manifest.json.") from None
    changed = [name for name, digest in listed.items()
               if not (folder / name).is_file() or _sha256((folder / name).read_bytes()) != digest]
    if changed:
        raise OverlayError(f"{', '.join(changed)} in {folder} changed since the project was written: what was built "
                           f"may be another design", hint="Write the project again (qblif bitstream) and build it.")
    result = folder / "result"
    if not (result / "qblif.bit").is_file():
        raise OverlayError(f"{folder} has no result/qblif.bit: the tool has not run, or failed",
                           hint=f"Run there: {' '.join(TOOLCHAINS[toolchain].command)}")
    bit = bitfile.read(result / "qblif.bit")
    if not bitfile.same_part(bit.part, board.part):
        raise OverlayError(f"the bitstream is for the part {bit.part!r}, {board.title} has a {board.part}",
                           hint="Build this project, not another one, and do not change its settings.")
    timing = _timing(result, toolchain, clock_mhz)
    if toolchain == "vivado":
        if not (result / "vivado.hwh").is_file():
            raise OverlayError(f"{folder} has no result/vivado.hwh: the tool did not end well",
                               hint=f"Run there: {' '.join(TOOLCHAINS[toolchain].command)}")
        text = patch_hwh((result / "vivado.hwh").read_text(encoding="utf-8"), clock_mhz, build_hash, program_hash)
    else:
        text = (folder / "qblif.hwh").read_text(encoding="utf-8")

    overlay = folder / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)
    overlay.mkdir()
    shutil.copyfile(result / "qblif.bit", overlay / "qblif.bit")
    (overlay / "qblif.hwh").write_text(text, encoding="utf-8")
    manifest["results"] = {
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "timing": timing,
        "bit": {"design": bit.design, "part": bit.part, "date": bit.date, "time": bit.time},
        "files": {name: _sha256((overlay / name).read_bytes()) for name in ("qblif.bit", "qblif.hwh")}}
    # Last: an overlay without its manifest is one that was not completed.
    (overlay / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    met = ", ".join(f"{name} {value}" for name, value in timing.items())
    return Outcome(folder, overlay, f"overlay for {board.title}: {overlay} ({met})", EXIT_BUILT)


def _timing(result: Path, toolchain: str, clock_mhz: float) -> dict[str, float | str]:
    """Return what the tool says about the clock; raises OverlayError where it is not met or nothing is said."""
    if toolchain == "openxc7":
        log = _read(result / "nextpnr.log")
        # nextpnr prints estimates before routing; the last one counts.
        found = re.findall(r"Max frequency for clock\s+'([^']+)':\s+([\d.]+) MHz", log)
        if not found:
            raise OverlayError(f"{result / 'nextpnr.log'} says nothing of a clock", hint="Build the project again.")
        reached = float(dict(found)[found[-1][0]])
        if reached < clock_mhz:
            raise OverlayError(f"the clock reaches {reached:g} MHz, {clock_mhz:g} was asked for",
                               hint="Ask for less (--clock), or for fewer lanes.")
        return {"tool": "nextpnr", "clock_mhz": clock_mhz, "reached_mhz": reached}
    said = dict(line.split(" ", 1) for line in _read(result / "summary.txt").splitlines() if " " in line)
    try:
        asked, setup, hold = (float(said[name]) for name in ("clock_mhz", "wns_ns", "whs_ns"))
    except (KeyError, ValueError):
        raise OverlayError(f"{result / 'summary.txt'} does not tell clock_mhz, wns_ns and whs_ns",
                           hint="Build the project again.") from None
    if abs(asked - clock_mhz) > 1e-3 * clock_mhz:
        raise OverlayError(f"the bitstream was built for {asked:g} MHz, the project is for {clock_mhz:g}",
                           hint="Build the project again.")
    # Not "setup < 0": what is no number must not pass.
    if not (setup >= 0 and hold >= 0):
        raise OverlayError(f"the clock of {clock_mhz:g} MHz is not met: setup slack {setup:g} ns, hold slack "
                           f"{hold:g} ns", hint="Ask for less (--clock), or for fewer lanes.")
    return {"tool": said.get("tool", "Vivado"), "clock_mhz": clock_mhz, "wns_ns": setup, "whs_ns": hold}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def main(arguments: list[str]) -> int:
    """Finish the project folder named; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m qblif.hw.boards.xilinx FOLDER\nchecks what Vivado or openXC7 left in a project folder, "
              "and makes FOLDER/overlay of it", file=sys.stderr)
        return 2
    try:
        print(finish(arguments[0]).summary)
    except (QblifError, BuildError) as error:
        print(f"qblif: {error}", file=sys.stderr)
        return 1
    return EXIT_BUILT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
