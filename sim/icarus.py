"""A design on Icarus Verilog: the same emitted text in another simulator, with a plain Verilog test bench.

Event-driven and with four-state logic: thousands of times slower than sim/simulation.py, and it sees X. For
cross-checks of a few images.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qblif.host import abi
from qblif.host.errors import DeviceError, Timeout, ToolMissing
from qblif.hw.params import DesignParams

from .model import SimulationError, Stalls
from .simulation import Result, check_frames, design_verilog, spans
from .trace import unpack_records
from .verilator import TracePort, trace_ports

BENCH = Path(__file__).with_name("bench") / "icarus.sv"


def find_icarus() -> tuple[str, str]:
    """Return the paths of iverilog and vvp; raises ToolMissing."""
    found = shutil.which("iverilog"), shutil.which("vvp")
    if None in found:
        raise ToolMissing("Icarus Verilog is not installed (no iverilog or vvp on the PATH)",
                          hint="Debian, Ubuntu: apt install iverilog; or use the default simulator, Verilator")
    return found


def run_icarus(design: DesignParams, program: np.ndarray, frames: np.ndarray, classes: int, *, trace: bool = False,
               stalls: Stalls | None = None, timeout_cycles: int = 1_000_000, timeout: float | None = None,
               waves: str | Path | None = None, progress: Callable[[int], None] | None = None,
               verilog: str | None = None) -> Result:
    """Load a program and run images; arguments and result as those of `Simulation`.

    timeout: seconds for all of it. Raises ToolMissing, DeviceError, Timeout; SimulationError where an output is X."""
    iverilog, vvp = find_icarus()
    verilog = design_verilog(design, trace) if verilog is None else verilog
    ports = trace_ports(verilog) if trace else ()
    program, frames = np.ascontiguousarray(program, np.uint32), np.ascontiguousarray(frames, np.uint32)
    count, beats = frames.shape
    stalls, started = stalls or Stalls(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="qblif-icarus-") as folder:
        where = Path(folder)
        (where / "top.sv").write_text(verilog)
        (where / "bench.sv").write_text(BENCH.read_text() + _captures(ports))
        for name, words in (("program", program), ("frames", frames.ravel())):
            (where / f"{name}.hex").write_text("".join(f"{word:08x}\n" for word in words.tolist()))
        values = {"PROGRAM": program.size, "FRAMES": count, "BEATS": beats, "CLASSES": classes, "SEED": stalls.seed,
                  "TIMEOUT": timeout_cycles, "WAVES": int(waves is not None),
                  **{f"STALL_{name.upper()}": round(getattr(stalls, name) * 1000)
                     for name in ("program", "input", "output", "bus")}}
        _call([iverilog, "-g2012", "-o", "bench.vvp", "-s", "bench",
               *(f"-Pbench.{name}={value}" for name, value in values.items()), "bench.sv", "top.sv"], where)
        _simulate([vvp, "-n", "bench.vvp"], where, timeout, progress)
        if waves is not None:
            shutil.copyfile(where / "waves.vcd", waves)
        starts, ends, words, last, status, now = _outcome(where / "events.txt")
        traces = {(port.core, port.cluster): _trace(where, port, design, count) for port in ports} or None
    fields = abi.unpack(abi.STATUS_FIELDS, status[0])
    if fields["error"]:
        raise DeviceError(fields["error"], status[1])
    check_frames(last, classes)
    if len(words) != count * classes:
        raise Timeout(f"{len(words) // classes} of {count} images were done when no beat had moved for "
                      f"{timeout_cycles} cycles")
    cycles, latency = spans(starts, ends)
    return Result(words.view(np.int32).astype(np.int64).reshape(count, classes), cycles, latency, now,
                  time.perf_counter() - started, traces)


def _captures(ports: tuple[TracePort, ...]) -> str:
    """Return a module that writes the records of each trace port to a file of its own."""
    lines = ["", "module captures;"]
    for port in ports:
        name = f"trace_{port.core}_{port.cluster}"
        lines += [f"  integer {name};", f'  initial {name} = $fopen("{name}.hex", "w");',
                  f"  always @(posedge bench.clk) if (!bench.rst && bench.dut.{name}_valid)",
                  f'    $fdisplay({name}, "%h", bench.dut.{name}_data);']
    return "\n".join([*lines, "endmodule", ""])


def _call(command: list[str], where: Path) -> None:
    run = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed with status {run.returncode}:\n{run.stderr[-3000:]}")


def _simulate(command: list[str], where: Path, timeout: float | None, progress: Callable[[int], None] | None) -> None:
    """Run the bench, which prints a line for each finished image; kill it on time-out and interrupt."""
    deadline, done = None if timeout is None else time.monotonic() + timeout, 0
    with (where / "log.txt").open("w") as log, \
            subprocess.Popen(command, cwd=where, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            while True:
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass
                text = (where / "log.txt").read_text()
                if progress and text.count("image\n") > done:
                    done = text.count("image\n")
                    progress(done)
                if process.returncode is not None:
                    break
                if deadline is not None and time.monotonic() > deadline:
                    raise Timeout(f"Icarus did not finish within {timeout:g} s ({done} images were done)")
        finally:
            process.kill()
    if process.returncode or "finished\n" not in text:
        raise SimulationError(f"the test bench stopped with status {process.returncode}:\n{text[-2000:]}")


def _outcome(path: Path):
    """Return starts, ends, words, last, (STATUS, ERROR_INFO) and the number of cycles from the bench's event file."""
    events = [line.split() for line in path.read_text().splitlines()]
    unknown = next((event for event in events if any("x" in field.lower() for field in event[1:])), None)
    if unknown:
        raise SimulationError(f"the design drives X: {' '.join(unknown)}")
    beats = [(int(word, 16), int(last), int(cycle)) for kind, cycle, word, last in events if kind == "beat"]
    words, last, cycles = (np.array([beat[i] for beat in beats], np.int64) for i in range(3))
    starts = np.array([int(cycle) for kind, cycle, _, _ in events if kind == "start"], np.int64)
    status, info, now = next((int(word, 16), int(info, 16), int(cycle))
                             for kind, cycle, word, info in events if kind == "status")
    return (starts, cycles[last == 1], words.astype(np.uint32), last.astype(bool), (status, info), now)


def _trace(where: Path, port: TracePort, design: DesignParams, images: int) -> np.ndarray:
    rows = (where / f"trace_{port.core}_{port.cluster}.hex").read_text().lower().split()
    if any("x" in row for row in rows):
        raise SimulationError(f"the trace of core {port.core}, cluster {port.cluster} holds X")
    words = np.frombuffer(b"".join(int(row, 16).to_bytes(4 * port.words, "little") for row in rows), "<u4")
    return unpack_records(words.reshape(-1, port.words), design.cores[port.core]).reshape(images, -1)
