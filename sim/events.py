"""Processes on one clock, resumed in the order of cycles.

A process is a generator. It yields a cycle, to be resumed when all that comes before it has happened, or an `Event`, to
be resumed when that is fired. Processes that are due in the same cycle are resumed by rank, lowest first.

What a process computes may lie in the future of the clock; what it does to others may not. So it yields the cycle in
which something happens, and then lets it happen.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator


class Event:
    """Something that may happen again and again. Whoever waits for a condition looks at it again after each time."""

    def __init__(self):
        self.waiting: list[tuple[int, Process]] = []


Process = Generator["int | Event", None, None]


class Clock:
    """Resumes processes. now: the current cycle."""

    def __init__(self):
        self.now = 0
        self._due: list[tuple[int, int, int, Process]] = []
        self._serial = itertools.count()

    def start(self, process: Process, rank: int) -> None:
        """Resume a new process in this cycle."""
        heapq.heappush(self._due, (self.now, rank, next(self._serial), process))

    def fire(self, event: Event) -> None:
        """Resume in this cycle whoever waits for the event."""
        waiting, event.waiting = event.waiting, []
        for rank, process in waiting:
            self.start(process, rank)

    def run(self) -> None:
        """Run until no process is due any more."""
        due = self._due
        while due:
            self.now, rank, _, process = heapq.heappop(due)
            for wanted in process:
                if isinstance(wanted, Event):
                    wanted.waiting.append((rank, process))
                    break
                at = max(wanted, self.now)
                if due and due[0][:2] <= (at, rank):
                    heapq.heappush(due, (at, rank, next(self._serial), process))
                    break
                self.now = at
