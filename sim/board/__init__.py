"""A virtual Zynq board: memory, clocks and the simulated accelerator on one bus, for code that expects a real one.

| module | what |
|---|---|
| dram, clocks, rtl, faults | the parts |
| board | the parts on one address map, and what a bitstream does |
| bus | `target="board"`: the host's job bus straight on the model |
| device | a `pynq.Device` in this process |
| server | PYNQ.remote's services over gRPC |
| overlay | .bit, .hwh and manifest of a bundle for this board |

What runs beside pynq (all but `overlay`) needs numpy and the standard library only, on Python 3.10 and newer.
"""
