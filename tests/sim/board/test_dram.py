"""Memory of a virtual board: two views that meet only when asked to, and buffers that do not overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qblif.host.errors import OutOfBoardMemory
from qblif.sim.board.dram import PAGE, Dram


def test_writes_reach_memory_by_a_flush_and_come_back_by_an_invalidate():
    dram = Dram(0x1000, 4 * PAGE)
    address = dram.allocate(100)
    dram.view(address, 100)[:] = 7
    at = address - dram.base
    assert not (dram.memory[at:at + 100] == 7).any()
    dram.flush(address, 50)
    assert (dram.memory[at:at + 50] == 7).all() and not (dram.memory[at + 50:at + 100] == 7).any()
    dram.memory[at:at + 50] = 9
    assert (dram.view(address, 100) == 7).all()
    dram.invalidate(address + 10, 10)
    assert np.flatnonzero(dram.view(address, 100) == 9).tolist() == list(range(10, 20))


def test_a_new_buffer_looks_different_to_processor_and_hardware_even_where_one_was_freed():
    dram = Dram(0, 4 * PAGE)
    address = dram.allocate(64)
    dram.flush(address, 64)
    dram.free(address)
    assert dram.allocate(64) == address
    assert (dram.memory[:64] != dram.cache[:64]).all()


@given(st.lists(st.tuples(st.integers(1, 3 * PAGE), st.booleans()), max_size=40))
def test_buffers_are_aligned_never_overlap_and_all_memory_comes_back(steps):
    dram, held = Dram(PAGE, 16 * PAGE), []
    for size, drop in steps:
        if drop and held:
            dram.free(held.pop(0)[0])
        try:
            address = dram.allocate(size)
        except OutOfBoardMemory:
            continue
        assert address % PAGE == 0 and dram.base <= address and address + size <= dram.base + dram.size
        assert all(address + size <= other or other + length <= address for other, length in held)
        held.append((address, size))
    for address, _ in held:
        dram.free(address)
    assert dram.free_bytes == dram.size
    assert dram.allocate(dram.size) == dram.base


def test_what_cannot_be_is_refused():
    dram = Dram(0, PAGE)
    with pytest.raises(OutOfBoardMemory, match="4096 of 4096"):
        dram.allocate(PAGE + 1)
    with pytest.raises(ValueError, match="no buffer at 0x10"):
        dram.free(16)
    with pytest.raises(ValueError, match="not within"):
        dram.flush(PAGE - 4, 8)
    with pytest.raises(ValueError, match="1 or more"):
        dram.allocate(0)
    with pytest.raises(ValueError, match="multiples of 4096"):
        Dram(5, PAGE)
