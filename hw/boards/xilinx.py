"""Bitstreams for PYNQ boards: a complete project folder, its tool run where there is one, and the overlay it gives.

A folder holds everything that its tool needs and says what to run, so that it can be carried to the machine that has
Vivado; ``python -m qblif.hw.boards.xilinx FOLDER`` then checks the result and puts the overlay together, which
`build` does itself where the tool is on the PATH.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import re
import shutil
import sys
from pathlib import Path

from qblif import __version__
from qblif.host import bitfile, overlays
from qblif.host.errors import OverlayError, QblifError
from qblif.host.hwh import ADDRESS_RANGE, BASE_ADDRESS, INSTANCE, PROCESSORS, hwh, patch_hwh
from qblif.host.program import read_header

from .. import dsp_lanes
from ..dma_top import DmaTop
from ..emit import emit
from ..flow import BuildError, beating, run
from ..params import DesignParams
from . import BOARDS, Board, Built, Options
from .block import wrapper
from .ulx3s import default_design
from .zynq7 import Zynq7

__all__ = ["TOOLCHAINS", "build", "default_design", "finish", "project", "ps_config", "versions"]

TIMEOUT = 4 * 3600
"""Seconds that a tool may take, unless told otherwise."""

PROJECT = "project.json"
"""What a project folder is: board, tool chain, clock, hashes of the hardware, the program and every file."""

ADDRESS_BITS = {"zynq": 32, "zynqmp": 40}
"""Family -> width of the accelerator's memory addresses."""

# Crystal, processor and memory clock as the boards' own boot images have them: then Vivado thinks of the same PLLs.
_ZYNQ = {"CONFIG.PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "50", "CONFIG.PCW_APU_PERIPHERAL_FREQMHZ": "650",
         "CONFIG.PCW_UIPARAM_DDR_FREQ_MHZ": "525"}
_ZYNQMP = {"CONFIG.PSU__DDR_HIGH_ADDRESS_GUI_ENABLE": "1"}
_SETTINGS = {"pynq-z2": _ZYNQ, "pynq-z1": _ZYNQ, "zcu104": _ZYNQMP | {"CONFIG.PSU__PSS_REF_CLK__FREQMHZ": "33.330"},
             "kv260": _ZYNQMP | {"CONFIG.PSU__PSS_REF_CLK__FREQMHZ": "33.333"}}


def ps_config(board: Board, clock_mhz: float) -> dict[str, str]:
    """Return the settings of the processing system in a block design: crystal, clock 0, its reset, two ports.

    Memory and pins are left alone: the boot loader has set them up, and no bitstream changes them."""
    if board.family == "zynq":
        return _SETTINGS[board.name] | {
            "CONFIG.PCW_FCLK0_PERIPHERAL_CLKSRC": "IO PLL", "CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{clock_mhz:g}",
            "CONFIG.PCW_EN_CLK0_PORT": "1", "CONFIG.PCW_EN_RST0_PORT": "1", "CONFIG.PCW_USE_M_AXI_GP0": "1",
            "CONFIG.PCW_USE_S_AXI_HP0": "1", "CONFIG.PCW_S_AXI_HP0_DATA_WIDTH": "64",
        }
    return _SETTINGS[board.name] | {
        "CONFIG.PSU__FPGA_PL0_ENABLE": "1", "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL",
        "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": f"{clock_mhz:g}",
        "CONFIG.PSU__USE__M_AXI_GP0": "1", "CONFIG.PSU__MAXIGP0__DATA_WIDTH": "32",
        "CONFIG.PSU__USE__M_AXI_GP1": "0", "CONFIG.PSU__USE__M_AXI_GP2": "0",
        "CONFIG.PSU__USE__S_AXI_GP2": "1", "CONFIG.PSU__SAXIGP2__DATA_WIDTH": "64",
    }


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
"""Name -> how it works."""


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


def _readme(board: Board, chain: Toolchain, clock_mhz: float) -> str:
    return f"""\
qblif {__version__} for {board.title} ({board.part}), {clock_mhz:g} MHz, built with {chain.title}

To make the bitstream, in this folder:

    {" ".join(chain.command)}

It needs: {chain.get}.
It leaves result/qblif.bit and reports of timing and utilisation, and fails where the clock is not met.

Then, with the Python that has qblif, for instance .venv/bin/python of its clone (result/ can be copied back from
another machine):

    python -m qblif.hw.boards.xilinx .

checks it and makes overlay/ with qblif.bit, qblif.hwh and manifest.json: what the board needs.
(The .hwh beside this file is what the overlay gets, or what is added to Vivado's own.)
"""


def project(board: Board, dma: DmaTop, toolchain: str, clock_mhz: float, program_hash: int = 0, jobs: int = 2,
            timeout: float = TIMEOUT, dsp_adders: bool = False) -> dict[str, str]:
    """Return all files of a project folder but its manifest, path -> text.

    dma: the accelerator, elaborated here; program_hash: of what is baked into it, or 0; jobs: processes that
    Vivado may use; timeout: seconds for it; dsp_adders: the lanes are DSP48E1 that only add."""
    chain, block = TOOLCHAINS[toolchain], toolchain == "vivado"
    actual = PROCESSORS[board.family].clock(clock_mhz)[2]
    lanes = dsp_lanes.replace if dsp_adders else str
    if block:
        sources = {"src/qblif_dma.v": lanes(emit(dma, "qblif_dma", dialect="")), "src/qblif_block.v": wrapper(dma)}
    else:
        sources = {"src/qblif_ps7.v": lanes(emit(Zynq7(dma), "qblif_ps7", dialect=""))}
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
                "ps_config": " ".join(f"{name} {{{value}}}" for name, value in ps_config(board, actual).items())}
        else:
            files["qblif.xdc"] = (f"# The processing system's clock 0, before its buffer.\n"
                                  f"create_clock -name fclk0 -period {1000 / actual:.3f} "
                                  f"[get_pins {{ps7/FCLKCLK[0]}}]\n")
        files["settings.tcl"] = _tcl(settings)
    files["qblif.hwh"] = hwh(board.family, clock_mhz, dma.design.build_hash, program_hash)
    files["README.txt"] = _readme(board, chain, actual)
    return files


def versions(toolchain: str) -> dict[str, str]:
    """Return the programs that `build` would run and where they are; none are started."""
    return {name: shutil.which(name) or "not on the PATH" for names in TOOLCHAINS[toolchain].programs
            for name in ((names,) if isinstance(names, str) else names)}


def build(board: Board, design: DesignParams, folder: Path, toolchain: str, options: Options) -> Built:
    """Write the project into `folder`, run its tool where that is on the PATH, and make the overlay of the result.

    The clock is the fastest that the board can make up to options.clock_hz. Without the tool the project is all there
    is, and `Built.bit` None. Raises ValueError for a clock or a design that cannot be, UnknownBoard as Options.check,
    BuildError where the tool fails, takes too long, or leaves another result than was asked for."""
    options.check(board)
    chain, asked_mhz = TOOLCHAINS[toolchain], options.clock_hz / 1e6
    try:
        clock_mhz = PROCESSORS[board.family].clock(asked_mhz)[2]
    except ValueError as error:
        raise ValueError(f"{board.title}: {error}; leave it out for the board's default, {board.clock_hz / 1e6:g} MHz, "
                         "which is what to begin with: whether the design meets a clock, the tool tells") from error
    if any(core.trace for core in design.cores):
        raise ValueError("the design has trace ports, which are for simulation; build it without")
    timeout = options.timeout or TIMEOUT
    program_hash = 0 if options.baked is None else read_header(options.baked).program_hash
    with beating("elaboration", "Amaranth to Verilog: a minute or two", options.progress):
        dma = DmaTop(design, ADDRESS_BITS[board.family], baked=options.baked)
        files = project(board, dma, toolchain, clock_mhz, program_hash, timeout=timeout,
                        dsp_adders=options.dsp_adders)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / PROJECT).write_text(json.dumps({
        "board": board.name, "toolchain": toolchain, "clock_mhz": clock_mhz, "build_hash": f"{design.build_hash:016x}",
        "program_hash": f"{program_hash:016x}",
        "files": {name: _sha256(text.encode()) for name, text in sorted(files.items())}}, indent=1) + "\n")
    slower = "" if clock_mhz > 0.999 * asked_mhz else f" (the fastest that its PLL gives up to {asked_mhz:g} MHz)"
    lanes = ", lanes on DSP48E1 that only add" if options.dsp_adders else ""
    text = f"{board.title}, {chain.title}, {clock_mhz:.6g} MHz{slower}{lanes}"
    clock_hz = round(clock_mhz * 1e6)

    if chain.missing:
        verb = "is" if len(chain.missing) == 1 else "are"
        return Built(None, clock_hz, "dma", (
            f"{text}\n"
            f"no bitstream was made: {', '.join(chain.missing)} {verb} not on the PATH; the project is complete\n"
            f"get it        {chain.get}\n"
            f"run there     {' '.join(chain.command)}\n"
            f"              which makes result/qblif.bit, with reports of timing and utilisation\n"
            f"then          {sys.executable} -m qblif.hw.boards.xilinx .\n"
            f"              which checks it and makes overlay/ with qblif.bit, qblif.hwh and manifest.json"),
            {"missing": chain.missing, "dsp_adders": options.dsp_adders})
    try:
        run(toolchain, chain.command, folder, timeout, options.progress, expected=("result/qblif.bit",))
        _, timing = finish(folder)
    except QblifError as error:
        # The log is all that is kept of a build that failed: it is to hold the reports, too.
        log = "\n\n".join([_read(folder / f"{toolchain}.log"), *map(_read, sorted(folder.glob("result/*.rpt")))])
        raise BuildError(error.message, toolchain, log, hint=error.hint) from error
    # Vivado's own project is thousands of files, and comes back by running the script again.
    shutil.rmtree(folder / "vivado", ignore_errors=True)
    return Built("overlay/qblif.bit", clock_hz, "dma", f"{text}: {_told(timing)}",
                 {"timing": timing, "dsp_adders": options.dsp_adders})


def finish(folder: str | Path) -> tuple[overlays.Overlay, dict[str, float | str]]:
    """Check what a tool left in a project folder, and make its overlay of it; return that and the timing.

    Checked: the project's files are as they were written; the bitstream is for the board's part; the clock is met.
    Raises OverlayError, or BitfileError and HwhError where a file is damaged."""
    folder = Path(folder).resolve()  # so that messages name it, not "."
    try:
        values = json.loads((folder / PROJECT).read_text(encoding="utf-8"))
        board, toolchain, listed = BOARDS[values["board"]], values["toolchain"], dict(values["files"])
        command, clock_mhz = " ".join(TOOLCHAINS[toolchain].command), float(values["clock_mhz"])
        build_hash, program_hash = int(values["build_hash"], 16), int(values["program_hash"], 16)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OverlayError(f"{folder} is no project folder: {PROJECT}: {type(error).__name__}: {error}",
                           hint="name the folder that `qblif bitstream` wrote for a PYNQ board") from None
    changed = [name for name, digest in listed.items()
               if not (folder / name).is_file() or _sha256((folder / name).read_bytes()) != digest]
    if changed:
        raise OverlayError(f"{', '.join(changed)} in {folder} changed since the project was written: what was built "
                           f"may be another design", hint="write the project again (qblif bitstream) and build that")
    result, again = folder / "result", f"run in {folder}: {command}"
    if not (result / "qblif.bit").is_file():
        raise OverlayError(f"{folder} has no result/qblif.bit: the tool has not run, or failed", hint=again)
    bit = bitfile.read(result / "qblif.bit")
    if not bitfile.same_part(bit.part, board.part):
        raise OverlayError(f"the bitstream is for the part {bit.part!r}, {board.title} has a {board.part}",
                           hint="build this project, not another one, and leave its settings as they are")
    timing = _timing(result, toolchain, clock_mhz)
    text = (folder / "qblif.hwh").read_text(encoding="utf-8")
    if toolchain == "vivado":
        if not (result / "vivado.hwh").is_file():
            raise OverlayError(f"{folder} has no result/vivado.hwh: the tool did not come to its end", hint=again)
        text = patch_hwh((result / "vivado.hwh").read_text(encoding="utf-8"), clock_mhz, build_hash, program_hash)

    overlay = folder / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)
    overlay.mkdir()
    shutil.copyfile(result / "qblif.bit", overlay / "qblif.bit")
    (overlay / "qblif.hwh").write_text(text, encoding="utf-8")
    # Last: without its manifest an overlay is none.
    about = {"qblif": __version__, "toolchain": toolchain, "timing": _told(timing),
             "bit": f"{bit.design}, {bit.date} {bit.time}"}
    return overlays.write_manifest(overlay / "qblif.bit", board.name, build_hash, clock_mhz, about), timing


def _told(timing: dict[str, float | str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in timing.items())


def _timing(result: Path, toolchain: str, clock_mhz: float) -> dict[str, float | str]:
    """Return what the tool says about the clock; raises OverlayError where it is not met or nothing is said."""
    if toolchain == "openxc7":
        log = _read(result / "nextpnr.log")
        # nextpnr prints estimates before routing; the last one counts.
        found = re.findall(r"Max frequency for clock\s+'([^']+)':\s+([\d.]+) MHz", log)
        if not found:
            raise OverlayError(f"{result / 'nextpnr.log'} says nothing of a clock", hint="build the project again")
        reached = float(dict(found)[found[-1][0]])
        if reached < clock_mhz:
            raise OverlayError(f"the clock reaches {reached:g} MHz, {clock_mhz:g} was asked for",
                               hint="ask for less (--clock), or for fewer lanes")
        return {"tool": "nextpnr", "clock_mhz": clock_mhz, "reached_mhz": reached}
    said = dict(line.split(" ", 1) for line in _read(result / "summary.txt").splitlines() if " " in line)
    try:
        asked, setup, hold = (float(said[name]) for name in ("clock_mhz", "wns_ns", "whs_ns"))
    except (KeyError, ValueError):
        raise OverlayError(f"{result / 'summary.txt'} does not tell clock_mhz, wns_ns and whs_ns",
                           hint="build the project again") from None
    if abs(asked - clock_mhz) > 1e-3 * clock_mhz:
        raise OverlayError(f"the bitstream was built for {asked:g} MHz, the project is for {clock_mhz:g}",
                           hint="build the project again")
    # Not "setup < 0": what is no number must not pass.
    if not (setup >= 0 and hold >= 0):
        raise OverlayError(f"the clock of {clock_mhz:g} MHz is not met: setup slack {setup:g} ns, hold slack "
                           f"{hold:g} ns", hint="ask for less (--clock), or for fewer lanes")
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
        overlay, timing = finish(arguments[0])
    except QblifError as error:
        print(f"qblif: {error}", file=sys.stderr)
        return 1
    print(f"overlay  {overlay.folder}\nfor      {overlay}\ntiming   {_told(timing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
