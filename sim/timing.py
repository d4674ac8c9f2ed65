"""When a cluster does what: the pipeline of hw/, as recurrences over the cycles in which things happen.

Each part of the pipeline takes the next item as soon as it has come, the item before has left and there is room behind;
so each cycle is a maximum of sums of earlier ones. Every constant that the recurrences add is named here, and nowhere
else; where `hw` exports one it is imported. Two things depend on others than the cluster: an output row waits for its
input (`Scan.hold`), and a write for its turn (`WriteBack`), which makes the methods that lead to it parts of a process
(sim/processes.py).

The classes mirror the hardware: `Scan` is sequencer, run generator, word reader, bit scanner and accumulators,
`Neurons` the neuron unit, `WriteBack` the write-back. Cycles are integers on one clock, the core's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

from qblif.host.abi import LayerKind
from qblif.hw.accumulate import latency
from qblif.hw.layer_table import READ_CYCLES
from qblif.hw.neuron import LATENCY, PIPELINE_CYCLES, pause
from qblif.hw.params import CoreParams
from qblif.hw.words import FIFO_DEPTH
from qblif.hw.writeback import queue_depth

from .reads import Entries, Reads

FIRST_VISIT = 4
"""From a layer's `begin` to the visit of its first source: loop counters, table read, two registers."""

MASKED = 5
"""From a word's address to the knowledge whether it has bits: memory, two registers, mask, any."""

QUEUE = 2
"""From writing to a buffered queue to reading from it."""

RETURNED = 2
"""From a word's leaving the queue, or being dropped, to the use of its place by another."""

EVENT = 2
"""From the cycle in which the scanner takes a bit to the event at the accumulators: two registers."""

RELEASED = 3
"""From the issue of a chunk that releases a sum until another one may end in the scan."""

DRAINED = LATENCY + 2
"""From a chunk's issue until the neuron unit is empty again and knows it (`quiet`), where no logits leave."""

IDLE = 2
"""From the last map write's leaving its cluster, or from `begin` without a share in the layer, to the idle cluster."""

NEXT = 3
"""From all clusters' being idle to the `begin` of the next layer: take, latch, begin."""

FETCHED = READ_CYCLES + NEXT
"""From a layer's `begin` to that of the next one at the earliest, since its row has to be read meanwhile."""

LOGIT = LATENCY + 3
"""From a chunk's issue until its first logit is on the output: neuron unit, serialiser, buffer, output stage."""

HANDED_OVER = 2
"""From an input map's commit to the first beat of the next frame."""

PARTS = 1
"""From a part of the input map to the sequencer's knowing it."""

NEVER = -(1 << 40)


class Scan:
    """Fields to sums. One instance per layer; `next` is called once per sum."""

    def __init__(self, reads: Reads, entries: Entries, params: CoreParams, begin: int):
        self._chunks = params.chunks
        self._sum_words = reads.sum_words.tolist()
        self._taps = zip(reads.visits.tolist(), reads.words.tolist(), strict=True)
        self._some = iter(entries.some.tolist())
        self._entries = zip(entries.cycles.tolist(), entries.groups.tolist(), entries.last.tolist(),
                            entries.before_last.tolist(), strict=True)
        self._number, self._count = 0, 0
        self._visit = begin + FIRST_VISIT - 1
        self._slots = deque(range(begin, begin + FIRST_VISIT), FIRST_VISIT)     # visits and gaps: cycles of the last
        self._taken = self._taken_before = NEVER                          # last two fields: they leave the sequencer
        self._tap = self._clipped = self._run = NEVER                     # tap, tap behind the clip, run
        self._out = self._out_before = self._word = NEVER                 # last words of two runs; the last word
        self._leaves, self._drops = deque(), deque()                      # when places in the queue are free again
        self._read = self._accepted = self._accepted_before = NEVER       # entries: out of the queue, into the scan
        self._left = self._loaded = self._end = NEVER                     # last group of an entry, and its last event
        self.waited = 0

    def next(self, may: int) -> int:
        """Scan the next sum. may: first cycle in which it may end. Returns the cycle of its last event."""
        before = self._end
        words_end = self._sum_words[self._number]
        self._number += 1
        some, word, count = self._some, self._word, self._count
        leaves, drops = self._leaves, self._drops
        held = False
        while count < words_end:
            visits, words = next(self._taps)

            # Sequencer: a visit a cycle; two fields may wait to be taken.
            if visits:
                if visits > 1:
                    self._slots.extend(range(self._visit + 1, self._visit + visits))
                self._visit = max(self._visit + visits, self._taken_before + 1)
                self._slots.append(self._visit)
                self._taken_before, self._taken = self._taken, max(self._visit + 1, self._tap)
                self._tap = max(self._taken + 1, self._clipped)
            else:
                self._tap = max(self._tap + 1, self._clipped)
            # Run generator: the tap is clipped; then it is a run, or dropped.
            self._clipped = max(self._tap + 1, self._run)
            if not words:
                continue
            self._run = max(self._clipped + 1, self._out_before + 1)
            at = max(self._run, self._out) + 1

            # Word reader: a word a cycle, as long as there is a place for it in the queue.
            for _ in range(words):
                if at <= word:
                    at = word + 1
                if count >= FIFO_DEPTH:
                    place = (drops if not leaves or drops and drops[0] <= leaves[0] else leaves).popleft()
                    if place > at:
                        at = place
                word = at
                count += 1
                if next(some):
                    if held:        # the entry before now knows that it is not the sum's last
                        self._entry(word + MASKED)
                    held = True
                else:
                    drops.append(word + MASKED + RETURNED)
            self._out_before, self._out = self._out, word
        if not held:                # a sum without bits is an entry all the same
            drops.pop()
        self._entry(word + MASKED + 1)
        self._word, self._count = word, count
        # The end of a sum waits for room behind, and for the chunks of the sum before to be on their way.
        may = max(may, before + self._chunks)
        if self._end < may:
            self.waited += may - self._end
            self._end = may
        return self._end

    @property
    def turned(self) -> int:
        """Cycle in which the last visit so far set out: the sequencer's counters turned to what follows it."""
        return self._slots[0]

    def hold(self, until: int) -> None:
        """Let no visit set out up to this cycle.

        One sets out when that before the three ahead of it is over; gaps move on like visits of nothing."""
        while self._slots[1] <= until:
            self._slots.append(self._slots[-1] + 1)
        self._visit = self._slots[-1]

    def _entry(self, pushed: int) -> None:
        """Take an entry through queue and scan."""
        cycles, groups, last, before_last = next(self._entries)
        self._read = max(pushed + QUEUE, self._read + 1, self._accepted_before + 1)
        self._leaves.append(self._read + RETURNED)
        self._accepted_before, self._accepted = self._accepted, max(self._read + 1, self._accepted + 1, self._left)
        left = max(self._accepted + 1, self._loaded)            # its first group leaves for the bit search
        loaded = max(left + 1, self._end)                       # and is there
        self._end = loaded + cycles
        self._left = left if groups == 1 else loaded if groups == 2 else self._end - last - before_last
        self._loaded = loaded if groups == 1 else self._end - last


class WriteBack:
    """Chunks of levels to map writes.

    write: a part of a process that writes a lane group, told the cycle from which on, how many planes, and whether this
    completes an output row; it returns the cycle in which the last write leaves the write-back.
    """

    def __init__(self, layer: dict, params: CoreParams, write: Callable[[int, int, bool], Generator]):
        self._chunks, self._planes, self._write = params.chunks, layer["out_planes"], write
        self._row = layer["groups"] * layer["cols"] * layer["steps"]            # lane groups of an output row
        self._depth = queue_depth(params)
        self._taken: list[int] = []     # first chunk of each lane group
        self._free = NEVER              # first cycle in which the next group's may be
        self._written = NEVER           # the last write left for the buffer behind
        self._issued = NEVER            # first chunk of the lane group before

    def credit(self, at: int) -> int:
        """Return the first cycle from `at` on in which a lane group may be issued."""
        issued = len(self._taken) * self._chunks
        while True:
            # Two cycles are not counted yet: what was issued in them, and what was taken.
            uncounted = max(0, min(self._chunks, self._issued + self._chunks - (at - 2)))
            needed = self._chunks + 2 - self._depth + issued - uncounted
            if needed <= 0:
                return at
            group, chunk = divmod(needed - 1, self._chunks)
            counted = self._taken[group] + chunk + 3
            if counted <= at:
                return at
            at = counted

    def take(self, issued: int):
        """Take a lane group whose first chunk is issued in this cycle."""
        self._issued = issued
        previous = self._taken[-1] + self._chunks if self._taken else NEVER
        taken = max(issued + LATENCY + QUEUE, previous, self._free)
        self._taken.append(taken)
        # A group moves on when its last chunk has been shifted in; the next one may begin a cycle before.
        moved = max(taken + self._chunks + 1, self._written + 1)
        self._free = moved if self._chunks == 1 else max(taken + self._chunks, self._written + 1)
        self._written = yield from self._write(moved + 1, self._planes, len(self._taken) % self._row == 0)


class Neurons:
    """Sums to chunks of levels, or logits."""

    def __init__(self, layer: dict, params: CoreParams, writeback: WriteBack):
        self._chunks, self._lanes, self._kept = params.chunks, params.neuron_lanes, params.sums_kept
        self._kind, self._static, self._steps = layer["kind"], layer["static"], layer["steps"]
        self._taps = layer["sources"] if self._kind == LayerKind.MAX else 1
        self._writeback = writeback
        self._arrives = EVENT + latency(params) + 1     # from a sum's last event to its first issue
        self._pause = pause(params)
        self._step = self._tap = 0
        self._free = NEVER          # after the last issue
        self._issued = NEVER        # first chunk of the update before
        self._quiet = NEVER
        self._released = deque([NEVER] * self._kept)
        self.updates: list[int] = []
        self.logits: list[int] = []     # first chunks of the lane groups' last steps, in a read-out
        self.idle = NEVER

    @property
    def may(self) -> int:
        """First cycle in which the scan may end another sum."""
        return self._released[0]

    def take(self, ended: int):
        """Take the sum whose last event was in this cycle; a part of a process."""
        at = max(ended + self._arrives, self._free)
        if self._kind == LayerKind.READOUT:
            released = self._read_out(at)
        else:
            released = yield from self._update(at)
        self._released.popleft()
        self._released.append(released + RELEASED)

    def _update(self, at: int):
        """Issue a sum's chunks, in a static layer for each step; return the cycle that releases it."""
        for _ in range(self._steps if self._static else 1):
            first = self._tap == 0 if self._kind == LayerKind.MAX else self._step == 0
            if not first:
                at = max(at, self._issued + PIPELINE_CYCLES)
            at = self._writeback.credit(at)
            self._issued = at
            self._tap += 1
            if self._tap == self._taps:
                self._tap = 0
                self._step = (self._step + 1) % self._steps
                yield from self._writeback.take(at)
                self.updates.append(at)
            at += self._chunks + self._pause
        self._free = at
        return self._issued + min(1, self._chunks - 1)

    def _read_out(self, at: int) -> int:
        """The same where logits leave one by one, those of a chunk before the next one is issued."""
        for _ in range(self._steps if self._static else 1):
            self._step += 1
            at = max(at, self._quiet)
            self.updates.append(at)
            if self._step == self._steps:
                self._step = 0
                self.logits.append(at)
                last = at + (self._chunks - 1) * (DRAINED + self._lanes)
                self._quiet = last + DRAINED + self._lanes
            else:
                last = at + self._chunks - 1
                self._quiet = last + DRAINED
            at = last + 1 + self._pause
        self._free = at
        self.idle = self._quiet
        return last

    def logit(self, lane: int) -> int:
        """Return the cycles from the first chunk of a read-out's last step to the logit of a lane, LOGIT apart."""
        chunk, place = divmod(lane, self._lanes)
        return chunk * (DRAINED + self._lanes) + place
