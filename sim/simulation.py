"""A whole design, simulated at register-transfer level, as a device in Python.

    with Simulation(plan.design) as sim:
        sim.program(plan.program)
        result = sim.infer(plan.input_layout.pack(images), classes=10)

Several instances of the model share the images of a batch, one per thread. To the caller they are one device:
writes and programs go to all of them, counters are added up.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qblif.host import abi
from qblif.host.errors import DeviceError, Timeout
from qblif.hw import emit
from qblif.hw.params import DesignParams

from . import emission, verilator
from .model import Model, SimulationError, Stalls, load
from .trace import unpack_records

BLOCK = 12
"""Images that an instance works on in one go. A block begins and ends with an empty pipeline, so the cycles of
an image depend on its place in its block, not on the number of threads."""

CHUNK = 20_000
"""Clock cycles between looks at interrupts, time-outs and the error register."""

REGISTER = {name: offset for name, offset, _, _ in abi.REGISTERS}
COUNTER_END = abi.COUNTER_BASE + 8 * len(abi.COUNTERS)


def emitted(design: DesignParams) -> str:
    """Return the SystemVerilog of `design`, from the cache where design, sources and tools have not changed."""
    return emission.emitted("top", design, lambda: emit.emit_top(design))


def design_verilog(design: DesignParams, trace: bool) -> str:
    """Return the SystemVerilog of `design`, its cores with trace ports or without, whatever `design` says."""
    return emitted(DesignParams(tuple(dataclasses.replace(core, trace=trace) for core in design.cores)))


@dataclasses.dataclass(frozen=True)
class Result:
    """What a batch gave.

    logits: int64 (B, K)
    cycles: int64 (B,), clock cycles from the later of (first beat of the image taken, last logit of the image
        before it) to its last logit; they add up to the time in which the design had something to do
    latency: int64 (B,), clock cycles from the first beat taken to the last logit, waiting for others included
    simulated: clock cycles simulated in all; seconds: wall time they took
    traces: (core, cluster) -> structured array (B, records per image) with the fields of hw.layouts.trace, in the
        order in which the hardware emits them; None where tracing is off. sim.trace.decode makes maps of it
    trace_cycles: (core, cluster) -> int64 (B, records per image), the clock cycle of each record, counted from the
        first beat taken of the first image of its block; None where tracing is off
    processor: processor time of all threads together, seconds: simulated / processor is the pace of one thread,
        whatever else the machine does; None where nobody counted
    """

    logits: np.ndarray
    cycles: np.ndarray
    latency: np.ndarray
    simulated: int
    seconds: float
    traces: dict[tuple[int, int], np.ndarray] | None = None
    trace_cycles: dict[tuple[int, int], np.ndarray] | None = None
    processor: float | None = None


class Simulation:
    """A simulated device. Build once, then read, write, program and infer; use as a context manager.

    Parameters
    ----------
    design: what to simulate; may be None where `verilog` is given
    trace: capture every current, membrane and level (see `traces`); slower
    waves: path of a VCD file that gets all signals; much slower, one thread
    threads: instances that share the work; None: one per CPU
    verilog: simulate this text (module qblif_top) instead of what `design` elaborates to

    Raises ToolMissing and CacheError where the simulator cannot be built.
    """

    def __init__(self, design: DesignParams | None, *, trace: bool = False, waves: str | Path | None = None,
                 threads: int | None = None, verilog: str | None = None):
        if verilog is None:
            verilog = design_verilog(design, trace)
        self.design = design
        self._ports = verilator.trace_ports(verilog)
        if trace and not self._ports:
            raise ValueError("trace=True, but the Verilog has no trace ports; emit it from a design with trace")
        self._tracing, self._traces = trace, None
        library = load(verilator.build(verilog, waves=waves is not None))
        count = 1 if waves is not None else threads or len(os.sched_getaffinity(0))
        self._models = [Model(library, Path(waves) if waves is not None else None) for _ in range(count)]
        self._pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="qblif-sim")
        self._abort = threading.Event()
        self._image = self._high = None
        self._interrupted = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def instances(self) -> int:
        """Simulated devices that share the work."""
        return len(self._models)

    def close(self) -> None:
        """Free the instances and finish the waveform file. Nothing can be called afterwards."""
        self._abort.set()
        self._pool.shutdown()
        for model in self._models:
            model.close()

    # Registers ----------------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return the register at byte `offset`. Counters are sums over the instances. Raises Timeout."""
        if abi.COUNTER_BASE <= offset < COUNTER_END:
            return self._read_counter(offset)
        values = [model.access(offset) for model in self._models]
        if offset in (REGISTER["IMAGES_IN"], REGISTER["IMAGES_OUT"]):
            return sum(values) & 0xFFFF_FFFF
        if offset == REGISTER["ERROR_INFO"]:
            return values[self._failed() or 0]
        if offset == REGISTER["STATUS"]:
            merged = 0
            for value in values:
                if abi.unpack(abi.STATUS_FIELDS, value)["error"]:
                    return value
                merged |= value
            return merged
        return values[0]

    def _read_counter(self, offset: int) -> int:
        """Low words latch the high words, as in the hardware, but of the sum."""
        if offset % 8:
            return self._high or 0
        total = sum(model.access(offset) | model.access(offset + 4) << 32 for model in self._models)
        self._high = total >> 32 & 0xFFFF_FFFF
        return total & 0xFFFF_FFFF

    def write(self, offset: int, value: int) -> None:
        """Write `value` (32 bits) to the register at byte `offset` of every instance. Raises Timeout."""
        for model in self._models:
            model.access(offset, value)
        if offset == REGISTER["CONTROL"] and value & 1:
            self._image, self._interrupted = None, False

    def counters(self, core: int = 0) -> dict[str, int]:
        """Return the performance counters of a core by name (abi.COUNTERS), summed over the instances."""
        self.write(REGISTER["CORE_SELECT"], core)
        return {name: self.read(abi.COUNTER_BASE + 8 * index) | self.read(abi.COUNTER_BASE + 8 * index + 4) << 32
                for index, (name, _) in enumerate(abi.COUNTERS)}

    def reset(self) -> None:
        """Reset the instances through their `rst` port; the program is gone."""
        self._image, self._interrupted = None, False
        for model in self._models:
            model.reset()

    def _failed(self) -> int | None:
        for index, model in enumerate(self._models):
            if abi.unpack(abi.STATUS_FIELDS, model.access(REGISTER["STATUS"]))["error"]:
                return index
        return None

    @staticmethod
    def _raise_error(model: Model) -> dict:
        """Return the fields of STATUS; raises DeviceError where it shows an error."""
        status = abi.unpack(abi.STATUS_FIELDS, model.access(REGISTER["STATUS"]))
        if status["error"]:
            raise DeviceError(status["error"], model.access(REGISTER["ERROR_INFO"]))
        return status

    # Streams ------------------------------------------------------------------------------------------------

    @property
    def raw(self) -> Model:
        """The first instance, for traffic that breaks the rules: send any beats, run, collect."""
        return self._models[0]

    def program(self, image: np.ndarray, timeout_cycles: int = 1_000_000, stalls: Stalls | None = None,
                timeout: float | None = None) -> None:
        """Send a program image (uint32 [n]) to every instance and wait until it is in place.

        timeout_cycles: on top of ten cycles per beat; timeout: seconds. Raises DeviceError where the hardware rejects
        it, Timeout."""
        image = np.ascontiguousarray(image, np.uint32)
        limit = timeout_cycles + 10 * image.size
        last = np.zeros(image.size, np.uint8)
        last[-1:] = 1

        def load_one(index: int) -> None:
            model = self._models[index]
            model.clear()
            model.stalls(stalls)
            model.send("program", image, last)
            end, stop = model.now + limit, _deadline(timeout)
            while not model.run_program(CHUNK):
                self._look(model, end, "the program stream to take the image", stop)
            while True:
                status = self._raise_error(model)
                if status["loaded"] and not status["loading"]:
                    break
                self._look(model, end, "the program to be in place", stop)
                model.run(16)
            model.stalls(None)

        self._image, self._interrupted = None, False
        self._each(load_one, range(len(self._models)))
        self._image = image

    def infer(self, frames: np.ndarray, classes: int, timeout_cycles: int = 50_000_000, stalls: Stalls | None = None,
              progress: Callable[[int], None] | None = None, timeout: float | None = None) -> Result:
        """Run images through the device.

        frames: uint32 (B, beats), as InputLayout.pack makes them; classes: K, logits per image
        timeout_cycles, timeout: clock cycles and seconds without any logit until Timeout is raised
        progress: called with the number of images that are done, now and then, from this thread

        Raises DeviceError, Timeout; SimulationError where the output breaks the protocol. After an interrupt or
        a time-out the next call resets the device and loads the program again."""
        frames = np.ascontiguousarray(frames, np.uint32)
        if frames.ndim != 2:
            raise ValueError(f"frames have shape {frames.shape}, needed is (images, beats)")
        if self._interrupted:
            self._recover()
        for model in self._models:
            self._raise_error(model)
        count, started = len(frames), time.perf_counter()
        logits = np.zeros((count, classes), np.int64)
        cycles, latency = np.zeros(count, np.int64), np.zeros(count, np.int64)
        before = sum(model.now for model in self._models)
        blocks = [range(at, min(at + BLOCK, count)) for at in range(0, count, BLOCK)]
        traces: list = [None] * len(blocks)
        idle, lock = list(self._models), threading.Lock()
        done, processor, self._traces = 0, 0.0, None

        def work(index: int) -> None:
            nonlocal processor
            block, began = blocks[index], time.thread_time()
            with lock:
                model = idle.pop()
            try:
                values, starts, ends = self._block(model, frames[block.start:block.stop], classes, stalls, index,
                                                   timeout_cycles, timeout)
                logits[block.start:block.stop] = values
                cycles[block.start:block.stop], latency[block.start:block.stop] = spans(starts, ends)
                traces[index] = [self._take_trace(model, port, starts) for port in range(len(self._ports))]
            finally:
                with lock:
                    idle.append(model)
                    processor += time.thread_time() - began

        def report(index: int) -> None:
            nonlocal done
            done += len(blocks[index])
            if progress:
                progress(done)

        self._each(work, range(len(blocks)), report)
        times = None
        if self._tracing and blocks:
            self._traces, times = ({(port.core, port.cluster): np.concatenate([trace[i][part] for trace in traces])
                                    for i, port in enumerate(self._ports)} for part in (0, 1))
        simulated = sum(model.now for model in self._models) - before
        return Result(logits, cycles, latency, simulated, time.perf_counter() - started, self._traces, times,
                      processor)

    @property
    def traces(self) -> dict[tuple[int, int], np.ndarray]:
        """Trace records of the last `infer`, see `Result.traces`."""
        if self._traces is None:
            raise ValueError("there is no trace: build the Simulation with trace=True and call infer")
        return self._traces

    # Inside -------------------------------------------------------------------------------------------------

    def _block(self, model: Model, frames: np.ndarray, classes: int, stalls: Stalls | None, salt: int,
               timeout_cycles: int, timeout: float | None):
        """Run a block of images through one instance; return logits, start and end cycles."""
        count, beats = frames.shape
        model.clear()
        model.stalls(stalls, salt)
        model.tracing(self._tracing)
        model.send("input", frames.ravel(), np.tile(np.arange(beats) == beats - 1, count))
        seen, end, stop = 0, model.now + timeout_cycles, _deadline(timeout)
        while not model.run(CHUNK, count * classes):
            if model.collected > seen:
                seen, end, stop = model.collected, model.now + timeout_cycles, _deadline(timeout)
            self._raise_error(model)
            check_frames(model.output()[1], classes)
            self._look(model, end, f"logits ({seen // classes} of {count} images of this block are done, "
                                   f"{model.unsent('input')} input beats were not taken)", stop)
        model.stalls(None)
        while self._raise_error(model)["busy"]:  # work goes on a little after the last logit
            self._look(model, end, "the pipeline to run empty", stop)
        data, last, cycles = model.output()
        check_frames(last, classes)
        return data.view(np.int32).reshape(count, classes), model.starts(), cycles[classes - 1::classes]

    def _look(self, model: Model, end: int, what: str, stop: float = math.inf) -> None:
        if self._abort.is_set():
            raise concurrent.futures.CancelledError
        if model.now >= end or time.monotonic() >= stop:
            limit = "clock cycles" if model.now >= end else "seconds"
            raise Timeout(f"the simulated device took too many {limit} (it is in cycle {model.now}) over {what}; "
                          f"give waves=... to see why, or a larger timeout")

    def _each(self, work: Callable[[int], None], items: range, report: Callable[[int], None] = lambda index: None):
        """Call work(item) for all items over the threads, report(item) here. The first error ends all."""
        self._abort.clear()
        futures = {self._pool.submit(work, item): item for item in items}
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
                report(futures[future])
        except BaseException as error:
            self._abort.set()
            for future in futures:
                future.cancel()
            concurrent.futures.wait(futures)
            for model in self._models:  # what is still queued must not reach the device later
                model.clear()
                model.stalls(None)
            # An error code stays until the caller resets the device.
            self._interrupted = not isinstance(error, DeviceError)
            raise

    def _recover(self) -> None:
        """After an aborted batch: frames may be cut in the middle, so reset and load the program again."""
        image = self._image
        self.write(REGISTER["CONTROL"], 1)
        if image is not None:
            self.program(image)

    def _take_trace(self, model: Model, port: int, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if not self._tracing:
            return None
        images = len(starts)
        words, cycles = model.trace(port, self._ports[port].words)
        if len(words) % images:
            raise SimulationError(f"{len(words)} trace records for {images} images")
        core = self._ports[port].core
        return (unpack_records(words, self.design.cores[core]).reshape(images, -1),
                (cycles - starts[0]).reshape(images, -1))


def spans(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `Result`'s cycles and latency of images that follow each other, from the cycles of their first input
    beats and last logits (int64)."""
    previous = np.concatenate(([np.int64(-1)], ends[:-1]))
    return ends - np.maximum(starts - 1, previous), ends - starts + 1


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def check_frames(last: np.ndarray, classes: int) -> None:
    """Raise SimulationError where tlast is not exactly on every `classes`-th output beat."""
    wrong = np.flatnonzero(last != (np.arange(len(last)) % classes == classes - 1))
    if len(wrong):
        raise SimulationError(f"output beat {wrong[0]} has tlast={int(last[wrong[0]])}; frames of {classes} logits "
                              f"are expected. Was the program made for another number of classes?")
