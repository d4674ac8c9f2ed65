"""How maps come into a core and leave it: write port, buffer between cores, and the merging of clusters' writes.

Mirrors hw/core.py (writes and buffers), hw/link.py (Buffer) and hw/merge.py. All methods that take time are parts of a
process (sim/processes.py): ``yield from`` them.
"""

from __future__ import annotations

from collections import deque

from .processes import Clock, Event, Process
from .timing import NEVER


class _Arrivals:
    """Of an input map. parts: cycles from which 1, 2 … parts of it are there; complete: all of it, None: not yet."""

    def __init__(self):
        self.parts: list[int] = []
        self.complete: int | None = None


class Port:
    """A core's write port: its own writes go first, a cycle after they were taken; those of the input take the cycles
    in between.

    The ranks of processes decide about a cycle: clusters have lower ones than the input. double: there are two input
    buffers."""

    def __init__(self, clock: Clock, double: bool):
        self._clock, self._double = clock, double
        self._free = NEVER                              # first cycle that nobody writes in
        self._maps = [_Arrivals()]                      # complete, but the last one
        self._released: list[int] = []                  # cycles in which the core was done with a map
        self._changed = Event()

    def write(self, offered: int, count: int = 1):
        """Write as one of the core's clusters, `count` times in a row; returns the cycle of the last write."""
        yield offered
        while self._free > offered:
            offered = self._free
            yield offered
        self._free = offered + count
        return self._free - 1

    def take(self, offered: int, part: bool = False, commit: bool = False):
        """Take an item of the input, that ends a part or the map; returns the cycle in which it is taken."""
        before = len(self._maps) - self._double - 2     # map whose buffer this one gets
        if before >= 0:
            while len(self._released) <= before:
                yield self._changed
            offered = max(offered, self._released[before] + 1)
        at = 1 + (yield from self.write(offered - 1))   # own writes taken in the cycle before are written in this one
        if part:
            self._maps[-1].parts.append(at + 1)
        if commit:
            self._maps[-1].complete = at + 1
            self._maps.append(_Arrivals())
        if part or commit:
            self._clock.fire(self._changed)
        return at

    def release(self, at: int) -> None:
        """Give back the buffer of the oldest map."""
        self._released.append(at)
        self._clock.fire(self._changed)

    def complete(self, image: int, at: int) -> bool:
        """Return whether a map is complete in a cycle, which is not in the future."""
        complete = self._maps[image].complete
        return complete is not None and complete <= at

    def there(self, image: int, parts: int | None = None, late: int = 0):
        """Return the cycle from which so many parts of a map are there, or all of it; None: all of it.

        late: cycles that parts, not the whole map, take to whoever asks."""
        arrivals = self._maps[image]
        if parts == 0:
            return NEVER
        while True:
            if parts is not None and len(arrivals.parts) >= parts:
                return arrivals.parts[parts - 1] + late
            if arrivals.complete is not None:
                return arrivals.complete
            yield self._changed


class Between:
    """The buffer of two items between two cores. rank: of its process, the input of the next core."""

    def __init__(self, clock: Clock, port: Port, rank: int):
        self._clock, self._port, self._rank = clock, port, rank
        self._waiting: deque[tuple[int, bool, bool]] = deque()
        self._left, self._room, self._leaves = NEVER, NEVER, Event()

    def accept(self, offered: int, part: bool = False, commit: bool = False):
        """Send an item to the next core; returns the cycle in which it is taken."""
        yield offered
        while len(self._waiting) == 2:
            yield self._leaves
        at = max(offered, self._room)
        self._waiting.append((at + 1, part, commit))
        if len(self._waiting) == 1:
            self._clock.start(self._pass(), self._rank)
        return at

    def _pass(self) -> Process:
        while self._waiting:
            offered, part, commit = self._waiting[0]
            self._left = yield from self._port.take(max(offered, self._left + 1), part, commit)
            if len(self._waiting) == 2:
                self._room = self._left + 1
            self._waiting.popleft()
            self._clock.fire(self._leaves)


class Merge:
    """One stream of map writes to the next core out of those of a core's clusters, and the parts announced in it."""

    def __init__(self, clock: Clock, between: Between, rank: int):
        self._clock, self.between = clock, between
        self._offers: dict[int, bool] = {}              # clusters that offer a write; whether it completes a row
        self._rows: list[deque[int]] = []               # of each cluster: complete rows, the cycles from which known
        self._turn, self._left = 0, 0                   # whose part is announced next; parts not announced
        self._taken, self._idle = NEVER, NEVER
        self._offered, self._moved = Event(), Event()
        clock.start(self._stream(), rank)

    def begin(self, rows: list[int]) -> None:
        """Begin a layer. rows: output rows of the clusters; those without any come last."""
        self._rows = [deque() for count in rows if count]
        self._turn, self._left = 0, sum(rows)

    def write(self, cluster: int, offered: int, part: bool):
        """Write as a cluster; part: this completes an output row. Returns the cycle in which the write is taken."""
        yield offered
        self._offers[cluster] = part
        self._clock.fire(self._offered)
        while cluster in self._offers:
            yield self._moved
        return self._taken

    def idle(self):
        """Return the cycle from which every part of the layer has been announced."""
        while self._left:
            yield self._moved
        return self._idle

    def _stream(self) -> Process:
        at, announces = NEVER, False                    # cycle, and whether a part is announced in it
        while True:
            if announces or self._offers:
                heard = None if announces else min(self._offers)
                at = yield from self.between.accept(at, part=announces)
                self._taken = at
                if announces:
                    self._left, self._idle = self._left - 1, at + 1
                elif self._offers.pop(heard):
                    self._rows[heard].append(at + 1)
                self._clock.fire(self._moved)
            elif not (self._rows and self._rows[self._turn]):
                yield self._offered
                at = self._clock.now
                continue
            announces = self._announce(at)
            at += 1
            yield at

    def _announce(self, at: int) -> bool:
        """Return whether a part is announced in the cycle after this one, in which nothing waits for the next core."""
        rows = self._rows[self._turn]
        if not rows or rows[0] > at:
            return False
        rows.popleft()
        self._turn = (self._turn + 1) % len(self._rows)
        return True
