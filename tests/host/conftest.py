"""A tiny bundle, and a transport without hardware that behaves, or misbehaves, as a test says."""

import types

import numpy as np
import pytest

from qblif.host import Bundle, InputLayout, Timeout, abi

DESIGN = {"abi": abi.ABI_VERSION, "cores": [{"lanes": 16, "clusters": 2, "trace": False}]}
PROGRAM_HASH = 0x0123_4567_89AB_CDEF
CLASSES = 3
OFFSETS = {name: offset for name, offset, _, _ in abi.REGISTERS}


def program_image(design=DESIGN, program_hash=PROGRAM_HASH) -> np.ndarray:
    """Return a valid program image without sections."""
    build = abi.build_hash(design)
    words = [abi.MAGIC, abi.ABI_VERSION, *abi.beats(build, 2), *abi.beats(program_hash, 2), 0]
    image = np.array(words, "<u4")
    return np.append(image, np.uint32(abi.crc(image.tobytes()))).astype(np.uint32)


def fake_logits(frames: np.ndarray) -> np.ndarray:
    """Return what the fake accelerator computes: some function of the frame, negative values included."""
    sums = frames.astype(np.int64).sum(axis=1)
    return np.stack([sums % 1009 - 500, sums % 31, -(sums % 7)], axis=1)


def bundle_parts(static=True) -> dict:
    """Return arguments that `Bundle.write` accepts."""
    layout = InputLayout(shape=(2, 3, 5), steps=2, static=static, bits=4, padding=(1, 0, 0, 2), zero_point=(1, 7),
                         stored_channels=4, word_bits=64)
    inputs = np.random.default_rng(0).integers(0, 16, layout.array_shape(4), dtype=np.uint8)
    return {"name": "tiny", "scale": 0.25, "input_layout": layout, "design": DESIGN, "program": program_image(),
            "verilog": "module top; endmodule\n", "golden_inputs": inputs,
            "golden_logits": fake_logits(layout.pack(inputs)), "network": b"network bytes",
            "tools": {"qblif": "0.1.0"}, "about": {"plan": "one core"}}


@pytest.fixture
def parts():
    return bundle_parts()


@pytest.fixture
def bundle(tmp_path, parts):
    return Bundle.write(tmp_path / "tiny.qblif", **parts)


class FakeTransport:
    """Registers and jobs of an accelerator.

    script: what the coming jobs do, one entry each, then all succeed: None (succeed), "hang", an abi.Error, an
    exception to raise after the first image, or a callable of this transport.
    registers: overrides of what reads return, by name.
    """

    def __init__(self, bundle, script=(), **registers):
        self.bundle = bundle
        self.script = list(script)
        self.program_script = []
        self.overrides = registers
        self.events = []
        self.closed = 0
        self.scratch = self.watchdog = self.error = self.info = self.images = self.selected = 0
        self.loaded = False
        self.latched = 0

    def read(self, offset):
        if abi.COUNTER_BASE <= offset < abi.COUNTER_BASE + 8 * len(abi.COUNTERS):
            index, high = divmod(offset - abi.COUNTER_BASE, 8)
            if high:
                return self.latched
            value = (index + 1 << 33) + 1000 * self.images + self.selected
            self.latched = value >> 32
            return value & 0xFFFF_FFFF
        name = next(name for name, at in OFFSETS.items() if at == offset)
        if name in self.overrides:
            return self.overrides[name]
        build, program = self.bundle.build_hash, self.bundle.program_hash * self.loaded
        status = abi.pack(abi.STATUS_FIELDS, {"loaded": self.loaded, "busy": 0, "loading": 0, "error": self.error})
        values = {"ID": abi.MAGIC, "ABI": abi.ABI_VERSION, "BUILD_LO": build & 0xFFFF_FFFF, "BUILD_HI": build >> 32,
                  "PROGRAM_LO": program & 0xFFFF_FFFF, "PROGRAM_HI": program >> 32, "SCRATCH": self.scratch,
                  "WATCHDOG": self.watchdog, "STATUS": status, "ERROR_INFO": self.info, "IMAGES_OUT": self.images}
        return values.get(name, 0)

    def write(self, offset, value):
        if offset == OFFSETS["CONTROL"] and value & 1:
            self.events.append("reset")
            self.loaded, self.error, self.info, self.images = False, 0, 0, 0
        elif offset == OFFSETS["SCRATCH"]:
            self.scratch = value
        elif offset == OFFSETS["WATCHDOG"]:
            self.watchdog = value
        elif offset == OFFSETS["CORE_SELECT"]:
            self.selected = value

    def program(self, image, timeout):
        self.events.append("program")
        self._act(self.program_script, timeout)
        assert np.array_equal(image, self.bundle.program)
        self.loaded = True

    def infer(self, frames, classes, timeout, progress=None):
        self.events.append(f"infer {len(frames)}")
        assert self.loaded and not self.error and frames.dtype == np.uint32
        assert frames.shape[1] == self.bundle.input_layout.beats
        if progress is not None:
            progress(1)
        self._act(self.script, timeout)
        self.images += len(frames)
        return fake_logits(frames).astype(np.int32), np.full(len(frames), 100)

    def _act(self, script, timeout):
        step = script.pop(0) if script else None
        if step == "hang":
            raise Timeout(f"nothing came for {timeout} s")
        if isinstance(step, abi.Error):
            self.error, self.info = int(step), 5
            raise Timeout("gave up: STATUS shows an error")
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            step(self)

    def close(self):
        self.closed += 1


@pytest.fixture
def fakes(bundle):
    """The tiny bundle, its parts, and the classes above, for tests to build on."""
    return types.SimpleNamespace(bundle=bundle, transport=FakeTransport, logits=fake_logits, parts=bundle_parts,
                                 image=program_image, design=DESIGN)
