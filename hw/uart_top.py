"""The whole design behind two wires: the accelerator on a serial line."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from .accelerator import Accelerator
from .core import Core
from .params import DesignParams, Shell
from .uart import Receiver, Transmitter, divisor
from .uart_link import Link

BAUD = 3_000_000
"""Bits per second where nothing else is said: the most that the usual USB bridges carry."""


class UartTop(wiring.Component):
    """A design on a serial line: registers, program, input and output by the requests of host/framing.py.

    For boards without a processor. 8N1, no flow control by further wires; docs/serial.md describes the link.

    Parameters
    ----------
    design: sizes of the cores
    clock_hz: frequency of `clk`, Hz
    baud: bits per second of the line; ValueError where the clock cannot make it (`uart.divisor`)
    baked: program image that is in place from power-up, uint32 (beats,); None: none is
    core: class of the cores (another one in tests of what surrounds them)

    Members
    -------
    rx: In(1), tx: Out(1), the line, high at rest
    loaded, busy, error: Out(1), a program is in place; an image is in the chain; STATUS shows an error
    """

    def __init__(self, design: DesignParams, clock_hz: int, baud: int = BAUD, baked: np.ndarray | None = None,
                 core=Core):
        self._design, self._clock_hz, self._baked, self._core = design, int(clock_hz), baked, core
        self._cycles = divisor(self._clock_hz, baud)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "loaded": Out(1), "busy": Out(1), "error": Out(1)})

    @property
    def design(self) -> DesignParams:
        """The parameters of the design."""
        return self._design

    @property
    def cycles(self) -> int:
        """Clock cycles per bit of the line."""
        return self._cycles

    def elaborate(self, platform):
        m = Module()
        shell = Shell("uart", clock_hz=self._clock_hz)
        m.submodules.accelerator = accelerator = Accelerator(self._design, self._core, shell, self._baked)
        m.submodules.receiver = receiver = Receiver(self._cycles)
        m.submodules.transmitter = transmitter = Transmitter(self._cycles)
        m.submodules.link = link = Link()

        connect(m, receiver.o, link.octets)
        connect(m, link.responses, transmitter.i)
        connect(m, link.bus, accelerator.bus)
        connect(m, link.program, accelerator.program)
        connect(m, link.input, accelerator.input)
        connect(m, accelerator.output, link.output)
        m.d.comb += [
            receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
            link.clear.eq(accelerator.clear), link.error.eq(accelerator.error),
            self.loaded.eq(accelerator.loaded), self.busy.eq(accelerator.busy), self.error.eq(accelerator.error),
        ]
        return m
