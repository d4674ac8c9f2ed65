"""The accelerator as a module that a block design of Vivado can refer to, in plain Verilog."""

from __future__ import annotations

from amaranth.hdl import Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from qblif.host.hwh import MODULE

_BUSES = {"s_axi": "", "m_axi": "SUPPORTS_NARROW_BURST 0, MAX_BURST_LENGTH 16"}


def wrapper(dma: wiring.Component, inner: str = "qblif_dma") -> str:
    """Return module ``qblif_block`` around module `inner`, the emitted `dma` (ports of DmaTop), as Verilog 2001.

    Ports: aclk, aresetn (active low, synchronous), s_axi_* and m_axi_* as DmaTop has them. Attributes tell Vivado
    which bus a port belongs to and which clock drives it, so that nothing is left to guess from names."""
    ports, connections = [], []
    for name, member in dma.signature.members.items():
        bus, _, signal = next((bus, *name.split(f"{bus}_", 1)) for bus in _BUSES if name.startswith(f"{bus}_"))
        parameter = _BUSES[bus] if signal == "awaddr" else ""
        ports.append(f'  (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 {bus} {signal.upper()}" *)\n'
                     + (f'  (* X_INTERFACE_PARAMETER = "{parameter}" *)\n' if parameter else "")
                     + f'  {"output" if member.flow == Out else "input"} wire {_range(member)}{name}')
        connections.append(f"    .{name}({name})")
    listed, connected = ",\n".join(ports), ",\n".join(connections)
    return f"""\
// The accelerator for a block design: clock and reset as Vivado expects them, every port with its bus.
module {MODULE} (
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF {":".join(_BUSES)}, ASSOCIATED_RESET aresetn" *)
  input wire aclk,
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input wire aresetn,
{listed}
);
  {inner} {inner}_0 (
    .clk(aclk),
    .rst(~aresetn),
{connected}
  );
endmodule
"""


def _range(member) -> str:
    width = Shape.cast(member.shape).width
    return f"[{width - 1}:0] " if width > 1 else ""
