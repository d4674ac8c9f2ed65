"""Random networks on the hardware: the simulated RTL gives the very integers of the golden model.

A failure names its seed; ``QBLIF_SEED=<seed> pytest tests/sim/test_random_networks_rtl.py`` runs that seed alone, on
every build; add ``-k "four lanes"`` or another name of BUILDS for one of them.
"""

import dataclasses
import functools
import os

import numpy as np
import pytest

from qblif.gen.errors import PlanError
from qblif.gen.packing import unpacked
from qblif.gen.plan import allowed_cuts, make_plan
from qblif.host.errors import DeviceError
from qblif.hw.params import CoreParams, DesignParams
from qblif.sim import golden
from qblif.sim.compare import compare_logits, first_mismatch
from qblif.sim.model import Stalls
from qblif.sim.random_networks import Limits, random_input, random_network, random_packing
from qblif.sim.simulation import Simulation
from qblif.sim.trace import decode

from .designs import CORE

NARROW = dataclasses.replace(CORE, lanes=4, word_bits=32, neuron_lanes=2, channel_depth=1024)


@dataclasses.dataclass(frozen=True)
class Build:
    """A design that all networks share. trace: compare every current, membrane and level, not only the logits, which
    may hide a wrong level; one build is as it is shipped, without trace ports."""

    cores: tuple[CoreParams, ...]
    limits: Limits = Limits()
    trace: bool = False

    @property
    def design(self) -> DesignParams:
        return DesignParams(self.cores)


def seeing(core: CoreParams, columns: int) -> CoreParams:
    """Return the core, as the first one of a chain, with so many columns of occupancy."""
    return dataclasses.replace(core, occupancy=columns)


EIGHT = dataclasses.replace(NARROW, lanes=8, clusters=2, fanout="unary")

BUILDS = {
    "core": Build((CORE,)),
    "traced": Build((CORE,), trace=True),
    "chain": Build((seeing(CORE, 64), CORE), trace=True),
    "unary": Build((dataclasses.replace(CORE, fanout="unary"),), Limits(levels=15, input_bits=4, row_adds=20_000),
                   trace=True),
    "unary chain": Build((seeing(EIGHT, 32), EIGHT), Limits(lanes=8, levels=15, input_bits=4, row_adds=20_000),
                         trace=True),
    "three clusters": Build((dataclasses.replace(CORE, clusters=3, occupancy=64),), trace=True),
    "four clusters": Build((dataclasses.replace(NARROW, clusters=4, weight_depth=16384),), Limits(lanes=4), trace=True),
    "four lanes": Build((NARROW,), Limits(lanes=4), trace=True),
    "wide words": Build((dataclasses.replace(CORE, lanes=32, word_bits=256, neuron_lanes=32, weight_depth=4096,
                                             occupancy=72),),
                        Limits(lanes=32), trace=True),
    "wide lanes": Build((dataclasses.replace(CORE, lanes=64, clusters=2),), Limits(channels=24, lanes=64), trace=True),
    "unlike cores": Build((dataclasses.replace(NARROW, clusters=2, occupancy=32),
                           dataclasses.replace(NARROW, neuron_lanes=1),
                           dataclasses.replace(NARROW, neuron_lanes=4, contexts=64)), Limits(lanes=4), trace=True),
}

QUICK = {"traced": [range(25)], "unary chain": [range(1000, 1012)]}
SHARES = dict.fromkeys(BUILDS, 2) | {"core": 0, "chain": 3, "unary chain": 3, "unlike cores": 5}
"""How often a build is drawn. A chain runs the networks that can be cut often enough: 78, 78 and 43 in a hundred. The
hardware as it is shipped is not drawn: it runs 500 networks of its own."""


def drawn_build(seed):
    """Return the name of the build that a seed's network runs on; the same one for the same seed."""
    shares = np.array([*SHARES.values()]) / sum(SHARES.values())
    return str(np.random.default_rng([seed, len(SHARES)]).choice([*SHARES], p=shares))


def drawn_blocks(seeds):
    """Return name of a build -> the seeds that draw it, in blocks of 50 at most, which processes run side by side."""
    builds = {name: [] for name in BUILDS}
    for seed in seeds:
        builds[drawn_build(seed)].append(seed)
    return {name: [found[at:at + 50] for at in range(0, len(found), 50)] for name, found in builds.items()}


LONG = drawn_blocks(range(1000, 2100)) | {"core": [range(first, first + 50) for first in range(0, 500, 50)]}


def cases():
    if "QBLIF_SEED" in os.environ:
        seed = int(os.environ["QBLIF_SEED"])
        return [pytest.param(name, range(seed, seed + 1), id=f"{name}-{seed}") for name in BUILDS]
    quick, long = ([pytest.param(name, block, id=f"{name}-{block[0]}-{block[-1]}", marks=marks)
                    for name, blocks in table.items() for block in blocks]
                   for table, marks in ((QUICK, ()), (LONG, pytest.mark.long)))
    return quick + long


@pytest.fixture(scope="module")
def simulations():
    """Return a function from the name of a build to a simulation of it, started once; `renew` starts another."""
    running = {}

    def simulation(name, renew=False):
        if renew and name in running:
            running.pop(name).close()
        if name not in running:
            running[name] = Simulation(BUILDS[name].design, trace=BUILDS[name].trace, threads=1)
        return running[name]

    yield simulation
    for sim in running.values():
        sim.close()


@functools.cache
def drawn(seed, limits):
    """Return the network, its input and what the golden model makes of it."""
    network = random_network(seed, limits)
    x = random_input(network, seed, batch=3)
    return network, x, golden.run(network, x, record=True)


def stalls(seed):
    """Return stalls of all streams; none for one seed in four."""
    share = [0, 0.1, 0.5, 0.9][seed % 4]
    return Stalls(program=share / 4, input=share, output=share, bus=share, seed=seed + 1)


def planned(network, design, seed):
    """Return a plan with any packing of positions into the lanes; for one seed in three, with the planner's own.

    Every second one asks where its input is empty, if it can."""
    if seed % 3:
        try:
            packing = random_packing(network, design.cores[0].lanes, seed)
            return make_plan(network, design=design, packing=packing, asks=bool(seed % 2))
        except PlanError:                       # it takes more memory than this build has
            pass
    return make_plan(network, design=design, asks=bool(seed % 2))


def difference(name, sim, seed):
    """Return what is wrong with the hardware's results for a seed, or None."""
    build = BUILDS[name]
    network, x, expected = drawn(seed, build.limits)
    plan = planned(network, build.design, seed)
    sim.program(plan.program, stalls=stalls(seed))
    got = sim.infer(plan.input_layout.pack(x), network.classes, timeout_cycles=3_000_000, stalls=stalls(seed))
    if build.trace:
        found = first_mismatch(network, expected.records, decode(plan, sim.traces))
        if found is not None:
            return found
    return compare_logits(network, expected.logits, got.logits)


def test_a_long_run_takes_each_seed_once_and_different_ones_to_every_build():
    seeds = {name: [seed for block in blocks for seed in block] for name, blocks in LONG.items()}
    assert min(map(len, seeds.values())) >= 50
    assert sorted(seed for name in seeds if name != "core" for seed in seeds[name]) == list(range(1000, 2100))


def test_a_short_run_has_a_chain_clusters_and_both_fan_out_strategies():
    designs = [BUILDS[name].design for name in QUICK]
    assert any(len(design.cores) > 1 for design in designs)
    assert any(core.clusters > 1 for design in designs for core in design.cores)
    assert {core.fanout for design in designs for core in design.cores} == {"double", "unary"}


@pytest.mark.parametrize("name, seeds", cases())
def test_the_hardware_gives_the_integers_of_the_golden_model(simulations, name, seeds):
    compared, failures = 0, []
    for seed in seeds:
        cuts = len(allowed_cuts(drawn(seed, BUILDS[name].limits)[0]))
        if cuts + 1 < len(BUILDS[name].cores):
            continue                            # a chain needs as many segments as it has cores
        try:
            found = difference(name, simulations(name), seed)
        except Exception as error:              # the other seeds are run all the same
            found = f"{type(error).__name__}: {error}"
            simulations(name, renew=True)
        compared += 1
        if found is not None:
            failures.append(f"seed {seed}: {found}")
    assert not failures, (f"{len(failures)} of {compared} random networks differ on build {name!r} "
                          "(QBLIF_SEED=<seed> runs one alone):\n" + "\n".join(failures))
    assert compared >= len(seeds) // 3


def test_stalls_change_no_result_and_an_image_does_not_depend_on_its_neighbours(simulations):
    network = random_network(7)
    plan = make_plan(network, design=BUILDS["traced"].design)
    x = random_input(network, 7, batch=6)
    frames, sim = plan.input_layout.pack(x), simulations("traced")
    sim.program(plan.program)
    together = sim.infer(frames, network.classes).logits
    apart = np.concatenate([sim.infer(frame[None], network.classes, stalls=stalls(seed)).logits
                            for seed, frame in enumerate(frames)])
    np.testing.assert_array_equal(together, golden.run(network, x).logits)
    np.testing.assert_array_equal(apart, together)


def test_a_chain_goes_on_after_a_frame_that_breaks_off_amid_its_rows(simulations):
    """The first core has begun with the rows that came, the second perhaps too; the reset forgets them."""
    sim, limits = simulations("unary chain"), BUILDS["unary chain"].limits
    seeds = [seed for seed in range(1000, 1012) if allowed_cuts(drawn(seed, limits)[0])][:3]
    for seed in seeds:
        network, x, expected = drawn(seed, limits)
        plan = make_plan(network, design=BUILDS["unary chain"].design)
        frames = plan.input_layout.pack(x)
        beats = np.concatenate([frames[0], frames[1][:frames.shape[1] // 2]])
        ends = np.zeros(len(beats), np.uint8)
        ends[[frames.shape[1] - 1, -1]] = 1
        sim.program(plan.program)
        sim.raw.send("input", beats, ends)
        sim.raw.run(20_000)
        with pytest.raises(DeviceError):
            sim.infer(frames, network.classes)
        sim.reset()
        sim.program(plan.program)
        assert compare_logits(network, expected.logits, sim.infer(frames, network.classes).logits) is None


@pytest.mark.long
def test_packing_saves_cycles_where_channels_are_few(simulations):
    """The figures of docs/decisions.md. What is estimated leaves out what tiny layers cost beside additions."""
    build, sim, cycles = BUILDS["wide lanes"], simulations("wide lanes"), []
    for seed in range(40):
        network = random_network(seed, build.limits)
        plain, chosen = unpacked(network, 64), make_plan(network, design=build.design)
        if chosen.packing == plain:
            continue
        x, each = random_input(network, seed, batch=3, density=0.3), []
        for plan in (chosen, make_plan(network, design=build.design, packing=plain)):
            sim.program(plan.program)
            found = sim.infer(plan.input_layout.pack(x), network.classes)
            assert compare_logits(network, golden.run(network, x).logits, found.logits) is None
            each.append(found.cycles.sum())
        cycles.append(each)
    packed, plain = np.transpose(cycles)
    assert len(cycles) == 29 and packed.sum() < 0.57 * plain.sum()
    assert (packed < plain).sum() == 27 and (packed <= 1.1 * plain).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_counters_count_the_row_additions_that_the_golden_model_predicts(simulations, seed):
    network = random_network(seed)
    plan = make_plan(network, design=BUILDS["traced"].design)
    x, sim = random_input(network, seed, batch=2), simulations("traced")
    sim.reset()
    sim.program(plan.program)
    sim.infer(plan.input_layout.pack(x), network.classes)
    counters = sim.counters()
    adds = golden.row_adds(network, x, plan.packing).sum()
    assert counters["set_bits"] + counters["masks"] == counters["adds"] == adds
    assert counters["cycles"] == sum(counters[name] for name in ("adds", "doublings", "starved", "neuron_stalls",
                                                                 "turnaround", "input_stalls"))
