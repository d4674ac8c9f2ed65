"""The emitted design behind its AXI ports, in two simulators, against the golden model."""

import pytest

from qblif.gen.plan import make_plan
from qblif.host import abi
from qblif.host.abi import Error
from qblif.hw.top import Top
from qblif.sim import golden
from qblif.sim.bench import runner
from qblif.sim.random_networks import random_input, random_network

from .benches import BOTH, SMALL

ICARUS = BOTH[1]


def faults(program, image, options):
    """Return malformed frames: where they go, their error and the beat at which it shows."""
    flipped = [*program[:-2], program[-2] ^ 1, program[-1]]
    other_build = [*program[:2], program[2] ^ 1, *program[3:]]

    def fault(stream, words, code, info, loaded=0):
        return {"stream": stream, "words": words, "loaded": loaded, "code": int(code), "info": info}

    found = {
        Error.SHORT_INPUT: fault("input", image[:-1], Error.SHORT_INPUT, len(image) - 2, 1),
        Error.LONG_INPUT: fault("input", [*image, 0], Error.LONG_INPUT, len(image) - 1, 1),
        Error.NO_PROGRAM: fault("input", image, Error.NO_PROGRAM, 0),
        Error.BAD_CRC: fault("program", flipped, Error.BAD_CRC, len(program) - 1),
        Error.WRONG_BUILD: fault("program", other_build, Error.WRONG_BUILD, 2),
        Error.SHORT_PROGRAM: fault("program", program[:-1], Error.SHORT_PROGRAM, len(program) - 2),
        Error.LONG_PROGRAM: fault("program", [*program, 0], Error.LONG_PROGRAM, len(program) - 1),
        Error.BAD_MAGIC: fault("program", [1, *program[1:]], Error.BAD_MAGIC, 0),
    }
    return [found[code] for code in options]


def check(seed, simulator, folder, codes, batch=3, **options):
    """Run random network `seed` and faults through the design."""
    network = random_network(seed, SMALL)
    plan = make_plan(network, **{"lanes": 4, "word_bits": 32, "neuron_lanes": 2} | options)
    x = random_input(network, seed, batch)
    program, images = plan.program.tolist(), plan.input_layout.pack(x).tolist()
    identity = {"ID": abi.MAGIC, "ABI": abi.ABI_VERSION, "CORES": len(plan.design.cores), "PROGRAM_LO": 0, "STATUS": 0,
                "BUILD_LO": plan.design.build_hash & 0xFFFF_FFFF, "BUILD_HI": plan.design.build_hash >> 32}
    adds = [name for name, _ in abi.COUNTERS].index("adds")
    counters = {}
    if len(plan.design.cores) == 1:
        counters[abi.COUNTER_BASE + 8 * adds] = int(golden.row_adds(network, x, plan.packing).sum())
    vectors = {"registers": {name: offset for name, offset, *_ in abi.REGISTERS}, "identity": identity,
               "program": program, "program_hash": abi.beats(plan.program_hash, 2), "images": images,
               "logits": golden.run(network, x).logits.tolist(), "counters": counters,
               "faults": faults(program, images[0], codes)}
    assert runner.run(Top(plan.design), "qblif.sim.bench.top_bench", vectors, folder, simulator, seed=seed + 1) == 3


@pytest.mark.parametrize("simulator", [ICARUS])
def test_a_small_random_network_and_a_malformed_frame(simulator, tmp_path):
    check(6, simulator, tmp_path, [Error.SHORT_INPUT], batch=2)


@pytest.mark.long
@pytest.mark.parametrize("simulator", BOTH)
@pytest.mark.parametrize("seed, options", [(6, {"clusters": 2, "word_bits": 64}), (0, {"cores": 2})], ids=str)
def test_random_networks_and_malformed_frames(seed, options, simulator, tmp_path):
    codes = [Error.SHORT_INPUT, Error.LONG_INPUT, Error.NO_PROGRAM, Error.BAD_CRC, Error.WRONG_BUILD,
             Error.SHORT_PROGRAM, Error.LONG_PROGRAM, Error.BAD_MAGIC]
    check(seed, simulator, tmp_path, codes, **options)
