"""A board that runs jobs, without hardware: registers, memory with a cache before it, and faults as a test says."""

import numpy as np

from qblif.host import OutOfBoardMemory, TransportError, abi
from qblif.host.registers import OFFSETS

NAMES = {offset: name for name, offset in OFFSETS.items()}


class FakeTime:
    """Time that passes only by looking at it and by sleeping: no test depends on how busy the machine is."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        self.now += max(seconds, 1e-5)


class FakeBuffer:
    """Memory of a FakeBoard: `array` is what the host sees, the board's `dram` what the board sees."""

    def __init__(self, board, address, beats):
        self.board, self.address, self.array = board, address, np.zeros(beats, np.uint32)
        self.freed = False

    def flush(self):
        self.board.touch("flush", self)
        if not self.board.incoherent:
            self.board.dram[self.address] = self.array.copy()

    def invalidate(self):
        self.board.touch("invalidate", self)
        self.array[:] = self.board.dram[self.address]

    def free(self):
        self.board.touch("free", self)
        assert not self.freed
        self.freed = True


class FakeBoard:
    """A `host.jobs.JobBus`.

    accelerator: a FakeTransport, for what the registers beside the jobs' show and what is computed
    script: what the coming jobs of images do, one entry each, then all succeed: None (succeed), "hang", "stuck" (hangs,
    and an abort does not help), "vanish", "foreign" (another program's job runs), an abi.Error, or (CORE, abi.Error)
    ticks: looks at JOB_STATUS that a job takes; fail_at: number of the access that raises TransportError, counted down
    events: what happened, in order; violations: what must not
    """

    def __init__(self, accelerator, script=(), *, caps=None, base=0x1000_0000, room=1 << 30, ticks=3):
        self.accelerator = accelerator
        self.script = list(script)
        self.caps = {"front_end": 1, "baked": 0, "address_bits": 32, "data_bits": 64} if caps is None else caps
        self.next, self.room, self.ticks = base, room, ticks
        self.dram, self.buffers, self.events, self.violations = {}, [], [], []
        self.regs = dict.fromkeys((name for name, *_ in abi.JOB_REGISTERS), 0)
        self.busy = self.done = False
        self.error, self.tick, self.fault = 0, 0, None
        self.incoherent = False
        self.fail_at = None
        self.closed = 0

    # JobBus

    def read(self, offset):
        self._access()
        name = NAMES.get(offset, "")
        if name == "CAPS":
            return abi.pack(abi.CAPS_FIELDS, self.caps)
        if name == "JOB_STATUS":
            self._advance()
            self.events.append(f"status {'busy' if self.busy else 'idle'}")
            return abi.pack(abi.JOB_STATUS_FIELDS, {"busy": self.busy, "done": self.done, "error": self.error})
        return self.regs[name] if name.startswith("JOB_") else self.accelerator.read(offset)

    def write(self, offset, value):
        self._access()
        name = NAMES[offset]
        if name == "JOB_CONTROL":
            if value & 2:
                self._abort()
            if value & 1 and not self.busy:
                self._start()
        elif name.startswith("JOB_"):
            self.regs[name] = value
        else:
            if name == "CONTROL":
                self.events.append("reset")
                if self.busy:
                    self.violations.append("reset while busy")
            self.accelerator.write(offset, value)

    def allocate(self, beats):
        self._access()
        if 4 * beats > self.room:
            raise OutOfBoardMemory("no room")
        buffer = FakeBuffer(self, self.next, beats)
        self.dram[buffer.address] = np.zeros(beats, np.uint32)
        self.buffers.append(buffer)
        self.next += -(-4 * beats // 4096) * 4096
        self.events.append("allocate")
        return buffer

    def close(self):
        self.closed += 1

    # What the board does

    def touch(self, what, buffer):
        self._access()
        self.events.append(what)
        used = {self._address("SOURCE"), self._address("TARGET") if self.regs["JOB_KIND"] == 0 else None}
        if self.busy and buffer.address in used and what != "invalidate":
            self.violations.append(f"{what} of a buffer in use")

    @property
    def alive(self):
        return [buffer for buffer in self.buffers if not buffer.freed]

    def _access(self):
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                raise TransportError("the cable was loose")

    def _address(self, which):
        return self.regs[f"JOB_{which}_LO"] | self.regs[f"JOB_{which}_HI"] << 32

    def _start(self):
        kind = "program" if self.regs["JOB_KIND"] else "images"
        self.events.append(f"start {kind}")
        self.busy, self.done, self.error, self.tick = True, False, 0, 0
        self.regs["JOB_DONE"] = 0
        self.fault = self.script.pop(0) if kind == "images" and self.script else None
        if self.fault == "foreign":
            self.regs["JOB_TAG"] ^= 1

    def _abort(self):
        self.events.append("abort")
        if self.busy and self.fault != "stuck":
            self.busy, self.done, self.error = False, True, int(abi.Error.ABORTED)

    def _end(self, error=abi.Error.NONE):
        self.busy, self.done, self.error = False, True, int(error)
        self.regs["JOB_CYCLES_LO"], self.regs["JOB_CYCLES_HI"] = 100 * self.regs["JOB_FRAMES"], 0
        self.regs["JOB_READ_STALLS"], self.regs["JOB_WRITE_STALLS"] = 2, 1

    def _advance(self):
        if not self.busy or self.fault in ("hang", "stuck"):
            return
        self.tick += 1
        if self.fault == "vanish":
            self.busy = False
        elif isinstance(self.fault, tuple):
            self.accelerator.error, self.accelerator.info = int(self.fault[1]), 5
            self._end(self.fault[0])
        elif isinstance(self.fault, abi.Error):
            self.regs["JOB_ERROR_LO"] = 0x1234_5678
            self._end(self.fault)
        elif self.regs["JOB_KIND"]:
            if self.tick >= self.ticks:
                self._program()
        else:
            self._infer(self.regs["JOB_FRAMES"] * self.tick // self.ticks)

    def _program(self):
        beats = self.regs["JOB_IN_BEATS"]
        image = self.dram[self._address("SOURCE")][:beats]
        if np.array_equal(image, self.accelerator.bundle.program):
            self.accelerator.program(image, 1)
            self._end()
        else:
            self.accelerator.error = int(abi.Error.BAD_CRC)
            self._end(abi.Error.CORE)

    def _infer(self, done):
        frames, beats, out = (self.regs[f"JOB_{name}"] for name in ("FRAMES", "IN_BEATS", "OUT_BEATS"))
        self.regs["JOB_DONE"] = min(done, frames)
        if done < frames:
            return
        words = self.dram[self._address("SOURCE")][:frames * beats].reshape(frames, beats)
        logits, _ = self.accelerator.infer(words, out, 1)
        self.dram[self._address("TARGET")][:frames * out] = logits.astype(np.int32).view(np.uint32).reshape(-1)
        self._end()
