"""What each part of a command took, on the wall's clock and of the processor."""

from __future__ import annotations

import dataclasses
import os
import time

from .console import table


@dataclasses.dataclass(frozen=True)
class Lap:
    """A part of a command. seconds: on the wall; processor: seconds of it, of all threads and of tools that ran.

    once: it is kept afterwards, so the next one does without it."""

    name: str
    seconds: float
    processor: float
    once: bool = False


class Stopwatch:
    """Laps, one after the other: what `lap` names began where the one before ended, the first one here."""

    def __init__(self):
        self.laps: list[Lap] = []
        self._at = now()

    def lap(self, name: str, once: bool = False) -> Lap:
        """End a lap; it has that name."""
        (wall, processor), self._at = self._at, now()
        self.laps.append(Lap(name, self._at[0] - wall, self._at[1] - processor, once))
        return self.laps[-1]

    @property
    def total(self) -> Lap:
        """The sum of all laps but those that are done once."""
        laps = [lap for lap in self.laps if not lap.once]
        return Lap("all", sum(lap.seconds for lap in laps), sum(lap.processor for lap in laps))

    def __str__(self) -> str:
        """Return a table of the laps and their sum; those that are done once stand below it."""
        once = [dataclasses.replace(lap, name=f"once: {lap.name}") for lap in self.laps if lap.once]
        rows = [(lap.name, f"{lap.seconds:6.2f} s", f"{lap.processor:6.2f} s")
                for lap in [*(lap for lap in self.laps if not lap.once), self.total, *once]]
        return table(rows, ("", "wall time", "processor"))


def now() -> tuple[float, float]:
    """Return the wall's clock and the processor time of this process and of its finished children, in seconds."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system
