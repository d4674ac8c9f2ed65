"""What can be made to go wrong between the accelerator's AXI master and the memory."""

from __future__ import annotations

import dataclasses

NEVER = (1 << 64) - 1
"""As a number of cycles: until faults are cleared. As `count`: all bursts from `first` on. As `high`: no bound."""

SLAVE_ERROR, DECODE_ERROR = 2, 3
"""Responses of AXI."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to some bursts.

    Which bursts: those of `reads` and `writes` that begin at an address in [low, high); of these, counted from 0 from
    when the fault is injected, numbers `first` to `first + count - 1`.

    response: SLAVE_ERROR or DECODE_ERROR; nothing is read or written then
    address_wait, data_wait, response_wait: cycles until the burst's address is taken, its data are given or taken, its
        write response is given, on top of the memory's own
    flip: 64-bit mask of bits that are wrong in the burst's first beat
    reset: the programmable logic is reset for so many cycles when the burst begins
    """

    reads: bool = True
    writes: bool = True
    low: int = 0
    high: int = NEVER
    first: int = 0
    count: int = 1
    response: int = 0
    address_wait: int = 0
    data_wait: int = 0
    response_wait: int = 0
    flip: int = 0
    reset: int = 0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= NEVER:
                raise ValueError(f"{name} is {value}, allowed is 0 to {NEVER:#x}")
        if self.response not in (0, SLAVE_ERROR, DECODE_ERROR):
            raise ValueError(f"response is {self.response}, allowed is {SLAVE_ERROR} or {DECODE_ERROR}")


FAULT_FIELDS = tuple(field.name for field in dataclasses.fields(Fault))
"""The order of struct Fault in harness.cpp."""
