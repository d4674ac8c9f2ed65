"""What a design is made of before synthesis: its memories, registers and operators, module by module.

Read from the elaborated sources in a fraction of a second, so it follows every change of the hardware by itself. The
internal tree of Amaranth 0.5 (`amaranth.hdl._ast`, `_ir`) is walked here and nowhere else.
"""

from __future__ import annotations

import collections
import dataclasses
import gc
from collections.abc import Iterator

from amaranth.hdl import Shape, Signal, Value, _ast
from amaranth.hdl._ir import Fragment
from amaranth.hdl._mem import MemoryInstance

CLASSES = ("add", "compare", "shift", "select", "logic")
"""Operators by what they cost: sums and differences, comparisons, shifts by a signal, choices between values, bitwise.

Counted in bits: of the result, for comparisons and reductions of the operands, for shifts times the stages."""


@dataclasses.dataclass(frozen=True)
class MemoryShape:
    """A memory. width: bits of a row; depth: rows; style: its attribute `ram_style`, or ""; clocked: reads are.

    dual: it has two read ports, one of which shares the address of the write port"""

    width: int
    depth: int
    style: str
    clocked: bool
    dual: bool = False


@dataclasses.dataclass(frozen=True)
class Module:
    """A module without its sub-modules. path: of its instance; registers: bits; operators: class -> bits."""

    path: str
    registers: int
    operators: dict[str, int]
    memories: tuple[MemoryShape, ...]


def modules(component) -> tuple[Module, ...]:
    """Return the modules of a component, its own first."""
    collecting = gc.isenabled()
    gc.disable()        # nothing here is garbage until all is counted; looking for some takes half of the time
    try:
        return tuple(_walk(Fragment.get(component, None), ()))
    finally:
        if collecting:
            gc.enable()


def _walk(fragment, path: tuple[str, ...]) -> Iterator[Module]:
    memories, inner = [], []
    for sub, name, *_ in fragment.subfragments:
        if isinstance(sub, MemoryInstance):
            memories.append(MemoryShape(Shape.cast(sub._data._shape).width, sub._data._depth,
                                        sub._attrs.get("ram_style", ""),
                                        all(port._domain != "comb" for port in sub._read_ports),
                                        len(sub._read_ports) > 1))
        else:
            inner.append((sub, (*path, name)))
    counts, registers, seen = collections.Counter(), _ast.SignalSet(), set()
    for domain, statements in getattr(fragment, "statements", {}).items():
        for statement in statements:
            if domain != "comb":
                registers.update(statement._lhs_signals())
            _statement(statement, counts, seen)
    yield Module(".".join(path), sum(len(signal) for signal in registers),
                 {name: counts[name] for name in CLASSES}, tuple(memories))
    for sub, place in inner:
        yield from _walk(sub, place)


def _statement(statement, counts: collections.Counter, seen: set, conditional: bool = False) -> None:
    if isinstance(statement, _ast.Assign):
        if conditional:
            counts["select"] += len(statement.lhs)
        _value(statement.rhs, counts, seen)
        _target(statement.lhs, counts, seen)
    elif isinstance(statement, _ast.Switch):
        _value(statement.test, counts, seen)
        for _, inner, *_ in statement.cases:
            for one in inner:
                _statement(one, counts, seen, True)


def _target(value, counts: collections.Counter, seen: set) -> None:
    """Count the choice of what is assigned, where a signal makes it."""
    if isinstance(value, _ast.Part):
        counts["select"] += len(value.value)
        _value(value.offset, counts, seen)


def _value(value: Value, counts: collections.Counter, seen: set) -> None:
    """Count an expression; a value that is used again counts once."""
    if isinstance(value, (Signal, _ast.Const)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, _ast.Operator):
        _operator(value, counts)
        inner = value.operands
    elif isinstance(value, _ast.SwitchValue):
        counts["select"] += len(value) * (len(value.cases) - 1)
        inner = (value.test, *(one for _, one in value.cases))
    elif isinstance(value, _ast.Part):
        counts["shift"] += len(value) * max(1, len(value.offset))
        inner = (value.value, value.offset)
    elif isinstance(value, _ast.Slice):
        inner = (value.value,)
    elif isinstance(value, _ast.Concat):
        inner = value.parts
    else:
        inner = ()
    for one in inner:
        _value(one, counts, seen)


def _operator(value, counts: collections.Counter) -> None:
    variable = [one for one in value.operands if not isinstance(one, _ast.Const)]
    operand = max((len(one) for one in variable), default=0)
    name = value.operator
    if name in ("+", "-"):
        counts["add"] += min(len(value), operand + 1)
    elif name in ("==", "!=", "<", "<=", ">", ">="):
        counts["compare"] += operand
    elif name in ("<<", ">>"):
        if len(variable) == 2:
            counts["shift"] += operand * len(variable[1])
    elif name in ("b", "r|", "r&", "r^"):
        counts["logic"] += operand
    elif name in ("&", "|", "^"):
        counts["logic"] += len(value)
