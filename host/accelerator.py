"""The accelerator as Python sees it: images in, integers out, the same over every transport."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .bundle import Bundle
from .device import Device
from .errors import ClosedError, SelfTestFailed
from .stats import CoreStats, Stats
from .transport import Transport, open_transport

FRAME_BYTES = 4 << 20
"""Frames handed to the transport at once, in bytes: bounds the memory, not the number of images."""

Progress = Callable[[int, int], None]
"""Called with (images finished, images in all)."""


def open(bundle: str | os.PathLike | Bundle, target: str = "sim", *, timeout: float = 60.0,
         **options: Any) -> Accelerator:
    """Return an accelerator that has the bundle's program loaded.

    bundle: a bundle, or the path of one; target: "sim", or another transport's name with its details;
    timeout: seconds without a finished image (or program) after which `Timeout` is raised;
    options: the transport's own.

    Raises BundleError, UnknownTarget, ToolMissing, BuildMismatch, DeviceError, Timeout, TransportError."""
    if not isinstance(bundle, Bundle):
        bundle = Bundle.load(bundle)
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}, allowed is a positive number of seconds")
    return Accelerator(bundle, open_transport(bundle, target, timeout, **options), timeout)


class Accelerator:
    """A network on hardware. A context manager; may be shared by threads, which then take turns.

    Logits are int64 and exactly the golden model's; times `scale` they are in the units of training.
    A time-out, an error code or an interrupt costs the job at hand and nothing else: the accelerator is reset, its
    program loaded again, and the next job works; the counters start again from 0 then.
    The transport is closed with the accelerator, also when construction fails.
    """

    def __init__(self, bundle: Bundle, transport: Transport, timeout: float):
        self._bundle = bundle
        self._transport = transport
        self._lock = threading.RLock()
        self._closed = False
        self._images = self._batches = 0
        self._seconds = self._pack_seconds = 0.0
        self._last_cycles: np.ndarray | None = None
        try:
            self._device = Device(transport, bundle, timeout)
        except BaseException:
            self.close()
            raise

    @property
    def bundle(self) -> Bundle:
        """The bundle that was opened."""
        return self._bundle

    @property
    def scale(self) -> float:
        """Logits in the units of training = integer logits * scale."""
        return self._bundle.scale

    @property
    def last_cycles(self) -> np.ndarray | None:
        """Clock cycles of each image of the last job, int64 (B,); None before the first or if nobody counts them."""
        return self._last_cycles

    # Jobs ---------------------------------------------------------------------------------------------------

    def run(self, x) -> np.ndarray:
        """Return the logits, int64 (K,), of one image: (C, H, W), or (T, C, H, W) for an input that changes in time.

        Values and errors as in `InputLayout.check`; further ClosedError, Timeout, DeviceError, TransportError."""
        layout = self._bundle.input_layout
        image = layout.check(x, single=True)
        return self._infer(image[None] if layout.static else image[:, None], None)[0]

    def run_batch(self, xs, progress: bool | Progress = False) -> np.ndarray:
        """Return the logits, int64 (B, K), of a batch: (B, C, H, W), or (T, B, C, H, W).

        progress: True prints a counter to stderr; a callable is called with (finished, all).
        Values and errors as in `InputLayout.check`; further ClosedError, Timeout, DeviceError, TransportError."""
        xs = self._bundle.input_layout.check(xs)  # all of it, before anything is sent
        return self._infer(xs, _print_progress if progress is True else progress or None)

    def predict(self, xs, progress: bool | Progress = False) -> np.ndarray:
        """Return the classes, int64 (B,), of a batch; ties go to the lowest class. As `run_batch` otherwise."""
        return np.argmax(self.run_batch(xs, progress), axis=1)

    def self_test(self) -> int:
        """Run the bundle's golden vectors and return their number; raises SelfTestFailed at the first difference."""
        expected = self._bundle.golden_logits
        logits = self.run_batch(self._bundle.golden_inputs)
        wrong = np.argwhere(logits != expected)
        if len(wrong):
            image, label = (int(i) for i in wrong[0])
            raise SelfTestFailed(f"golden image {image}, logit {label}: expected {expected[image, label]}, "
                                 f"got {logits[image, label]} ({len(wrong)} of {logits.size} logits differ)",
                                 hint="the hardware does not compute what the bundle's golden model did")
        return len(expected)

    def stats(self) -> Stats:
        """Return what the hardware counted since it was opened or last reset, and what the host measured."""
        with self._lock:
            self._check_open()
            cores = tuple(CoreStats(core.get("clusters", 1), self._device.counters(index))
                          for index, core in enumerate(self._bundle.design["cores"]))
            jobs = getattr(self._transport, "jobs", None)
            return Stats(cores, self._device.read("IMAGES_OUT"), self._images, self._seconds, self._batches,
                         self._pack_seconds, self._device.clock, dataclasses.replace(jobs) if jobs else None)

    def snapshot(self) -> dict[str, int]:
        """Return all registers that can be read, by name (host/abi.py), for looking at and for bug reports."""
        with self._lock:
            self._check_open()
            return self._device.snapshot()

    # Life ---------------------------------------------------------------------------------------------------

    def reset(self):
        """Reset the accelerator, its counters too, and load the program again."""
        with self._lock:
            self._check_open()
            self._device.reset()

    def close(self):
        """Let go of the accelerator. Does nothing the second time."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._transport.close()

    def __enter__(self) -> Accelerator:
        self._check_open()
        return self

    def __exit__(self, *_):
        self.close()

    # Inside -------------------------------------------------------------------------------------------------

    def _infer(self, xs: np.ndarray, progress: Progress | None) -> np.ndarray:
        """Run a batch in parts; the frames of each part are made while the accelerator works on the one before."""
        layout = self._bundle.input_layout
        total = xs.shape[0 if layout.static else 1]
        logits = np.empty((total, self._bundle.classes), np.int64)
        cycles: list[np.ndarray | None] = []
        chunk = max(1, FRAME_BYTES // (4 * layout.beats))
        parts = [slice(first, min(first + chunk, total)) for first in range(0, total, chunk)]
        spent = []

        def pack(part: slice) -> np.ndarray:
            began = time.monotonic()
            frames = layout.pack(xs[part] if layout.static else xs[:, part])
            spent.append(time.monotonic() - began)
            return frames

        with self._lock:
            self._check_open()
            started = time.monotonic()
            with _Ahead(pack, parts) as packed:
                for part in parts:
                    report = None if progress is None else _Report(progress, part, total)
                    logits[part], part_cycles = self._device.infer(packed.take(), report)
                    cycles.append(part_cycles)
                    if report is not None:
                        report(part.stop - part.start)
            self._images += total
            self._batches += 1
            self._seconds += time.monotonic() - started
            self._pack_seconds += sum(spent)
            self._last_cycles = None if any(c is None for c in cycles) else np.concatenate(cycles).astype(np.int64)
        return logits

    def _check_open(self):
        if self._closed:
            raise ClosedError("the accelerator is closed", hint="open the bundle again")


class _Ahead:
    """Results of function(item), in order, each computed by another thread while the one before is in use.

    The first is computed at once, without a thread; with one item that is all."""

    def __init__(self, function: Callable, items: list):
        self._function = function
        self._items = iter(items)
        self._pool = concurrent.futures.ThreadPoolExecutor(1) if len(items) > 1 else None
        self._next: concurrent.futures.Future | None = None

    def take(self):
        """Return the next result, and have the one after it computed."""
        result = self._function(next(self._items)) if self._next is None else self._next.result()
        if self._pool is not None:
            following = next(self._items, None)
            if following is not None:
                self._next = self._pool.submit(self._function, following)
        return result

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown(wait=True)


class _Report:
    """Turns a transport's count within a part of a job into the user's, each number once and rising."""

    def __init__(self, progress: Progress, part: slice, total: int):
        self._progress = progress
        self._part = part
        self._total = total
        self._done = 0

    def __call__(self, done: int):
        if self._done < done <= self._part.stop - self._part.start:
            self._done = done
            self._progress(self._part.start + done, self._total)


def _print_progress(done: int, total: int):
    if done == total:
        print(f"\r{total}/{total} images", file=sys.stderr)
    elif sys.stderr.isatty():  # a log needs the last line alone
        print(f"\r{done}/{total} images", end="", file=sys.stderr, flush=True)
