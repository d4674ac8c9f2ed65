"""`make ablation`: what the paper's Tables 5 and 6 compare, at a scale that CPU time allows, and what came out.

Table 5: binary, I-LIF and QB-LIF neurons with Box-ET and ReLSG-ET. Table 6: QB-LIF with several N. Two more are ours:
at T = 1, where no membrane matters, QB-LIF against a quantised ANN of the same levels; and a penalty on additions, with
N fixed and with N learned, layer by layer. Each setting is trained with several seeds, and every run is kept in a
folder named by the hash of its recipe: a second call trains what is missing, and only that. The words at the end are
computed from the runs, whatever they say.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path

from qblif.gen import training
from qblif.gen.training import checkpoint, recipe
from qblif.gen.training.recipe import RecipeFile
from qblif.host.errors import InputError, install

from . import trained

RECIPE = "ablation"
ANN = "quantised ANN"
METHODS = {"binary LIF": "lif", "I-LIF": "ilif", "QB-LIF": "qblif", ANN: "ann"}
SURROGATES = {"Box-ET": "box_et", "ReLSG-ET": "relsg_et", "LSQ": "clipped"}
"""LSQ: that of a quantised ANN, which passes gradients wherever a level is not clipped."""
NEURONS = ("binary LIF", "I-LIF", "QB-LIF")
SHAPES = ("Box-ET", "ReLSG-ET")
"""What Table 5 compares."""
LEVELS = (1, 2, 4, 8, 15, 20, 31)
PENALTIES = (0.0, 0.1, 0.3, 1.0)
STARTS = (None, 8)
"""N at the start, where it is learned; None: it is fixed. From 20 it would stay: few neurons ever reach that level."""
PAPER = {("binary LIF", "Box-ET"): 90.50, ("I-LIF", "Box-ET"): 93.85, ("QB-LIF", "Box-ET"): 95.05,
         ("I-LIF", "ReLSG-ET"): 94.45, ("QB-LIF", "ReLSG-ET"): 95.58}
"""Table 5: CIFAR-10, ResNet-20, T = 2, N = 20; in the text it says 94.85 for the second, once."""
PAPER_LEVELS = {1: 90.50, 2: 93.35, 5: 94.13, 10: 94.64, 15: 95.03, 20: 95.58}
"""Table 6: N -> accuracy; 1 is the row "Binary"."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row: a neuron, a surrogate, N, the penalty on a million additions, where N starts if it is learned, and T.

    steps: T, None: the recipe's
    """

    neuron: str
    surrogate: str
    levels: int
    penalty: float = 0.0
    start: int | None = None
    steps: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return (f"{self.neuron}, {self.surrogate}" + (f", T = {self.steps}" if self.steps else "")
                + f", N = {self.levels}{self.learned}" + (f", penalty {self.penalty:g}" if self.penalty else ""))

    @property
    def learned(self) -> str:
        """How N comes about, where it is learned."""
        return "" if self.start is None else f" at most, learned from {self.start}"

    def recipe(self, seed: int, settings: tuple[str, ...] = ()) -> RecipeFile:
        """Return the recipe of a run."""
        method = METHODS[self.neuron]
        levels = () if method == "lif" else (f"neuron.levels={self.levels}",)
        if self.start is not None:
            levels += ("neuron.learn_levels=true", f"neuron.start_levels={self.start}")
        time = () if self.steps is None else (f"train.T={self.steps}",)
        if method == "ann":
            time += ("neuron.tau=1",)  # it has no membrane
        base = recipe.load(RECIPE, (f'neuron.method="{method}"', f'neuron.surrogate="{SURROGATES[self.surrogate]}"',
                                    *levels, *time, f"train.sop_penalty={self.penalty}", f"train.seed={seed}",
                                    *settings))
        if not levels:
            base.neuron.pop("levels", None)
        return base


TABLE_5 = tuple(Setting(neuron, surrogate, 1 if neuron == "binary LIF" else 20)
                for surrogate in SHAPES for neuron in NEURONS)
TABLE_6 = tuple(Setting("QB-LIF", "ReLSG-ET", levels) for levels in LEVELS)
ONE_STEP = tuple(Setting(neuron, surrogate, 20, steps=1)
                 for neuron, surrogate in (("QB-LIF", "ReLSG-ET"), (ANN, "ReLSG-ET"), (ANN, "LSQ")))
FEWER = tuple(Setting("QB-LIF", "ReLSG-ET", 20, penalty, start) for start in STARTS for penalty in PENALTIES)
SETTINGS = tuple(dict.fromkeys((*TABLE_5, *TABLE_6, *ONE_STEP, *FEWER)))


def folder_of(out: Path, chosen: RecipeFile) -> Path:
    """Return where a run is kept: named by the hash of its recipe, without the words about it."""
    tree = {key: value for key, value in chosen.tree().items() if key != "about"}
    return out / hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def run(out: Path, seeds: int = 3, only: Callable[[Setting], bool] = lambda setting: True,
        settings: tuple[str, ...] = (), data_root: Path | None = None) -> str:
    """Train what is missing, write ablation.md, .json and .png into `out`, and return the text of the first.

    seeds: 0 to seeds - 1; only: which settings to train; settings: more `--set` of the recipe, for all

    Raises InputError where there is no such setting."""
    cards: dict[Setting, list[dict]] = {}
    wanted = [setting for setting in SETTINGS if only(setting)]
    if not wanted:
        raise InputError("no setting is wanted; there are:\n  " + "\n  ".join(setting.name for setting in SETTINGS),
                         hint="--only takes a part of one of these names")
    for seed in range(seeds):  # seed by seed: an unfinished ablation has something of everything
        for number, setting in enumerate(wanted, 1):
            chosen = setting.recipe(seed, settings)
            folder = folder_of(out, chosen)
            if not (folder / trained.CARD).is_file():
                print(f"seed {seed}, {number} of {len(wanted)}: {setting.name}: {folder}", flush=True)
                one = training.Run(chosen, folder, resume=True, data_root=data_root)
                trained.finish(one, one.train(), f"qblif ablation --seeds {seeds}")
            cards.setdefault(setting, []).append(_read(folder))
            text = report(cards, seeds, settings)
            checkpoint.replace(out / "ablation.md", text + "\n")
            checkpoint.replace(out / "ablation.json", json.dumps(
                [dataclasses.asdict(setting) | {"runs": runs} for setting, runs in cards.items()], indent=1) + "\n")
    _draw(cards, out)
    return text


def _draw(cards: dict[Setting, list[dict]], out: Path) -> None:
    """Draw accuracy against additions under the penalties into ablation.png, where there are several."""
    try:
        from .html import pictures
    except ImportError:
        print(f"ablation.png is not drawn: {install('report')}")
        return
    points = pictures.swept([
        {"series": f"N = {s.levels}{s.learned}", "penalty": s.penalty, "accuracy": card["golden_accuracy"],
         "additions": card["additions"]["double"]} for s in FEWER for card in cards.get(s, [])])
    if points:
        checkpoint.replace(out / "ablation.png", pictures.png(pictures.penalised(points)))


def _read(folder: Path) -> dict:
    """Return a finished run's card, and in place of its work that of its neurons: the pixels' is the same for all."""
    card = json.loads((folder / trained.CARD).read_text(encoding="utf-8"))
    found = json.loads((folder / trained.EVALUATION).read_text(encoding="utf-8"))
    layers = found["layers"][1:]
    return card | {"microjoules": found["energy"]["microjoules"]} | {"sops": sum(layer["sops"] for layer in layers),
                   "additions": {"double": sum(layer["additions"]["double"] for layer in layers)}}


# --- what came out ----------------------------------------------------------------------------------------------------


def report(cards: dict[Setting, list[dict]], seeds: int, settings: tuple[str, ...] = ()) -> str:
    """Return the tables and the verdict as markdown; cards: of the runs that are done."""
    base = recipe.load(RECIPE, settings)
    data, how = base.data, base.train
    about = (f"Ablation on {data['name']}, {data.get('limit', 'all')} training images, the whole test set; "
             f"{base.model['name']} {base.model.get('channels', '')}, T = {base.T} but where it says T = 1, "
             f"{how.epochs} + {how.quantised_epochs} epochs; golden model; mean and standard deviation of up to "
             f"{seeds} seeds. SOPs and additions are those of what neurons emit; what pixels cost is the same in all "
             "rows. Energy is by the paper's model, not measured. The paper's figures are of CIFAR-10 with ResNet-20: "
             "compare the order, not the values.")
    lines = [about, "",
             "| Table 5: neuron | surrogate | N | accuracy | SOPs an image | runs | the paper |",
             "|---|---|--:|--:|--:|--:|--:|"]
    lines += [f"| {s.neuron} | {s.surrogate} | {s.levels} | {_accuracy(cards[s])} | {_sops(cards[s])} | "
              f"{len(cards[s])} | {_paper(PAPER.get((s.neuron, s.surrogate)))} |" for s in TABLE_5 if s in cards]
    lines += ["",
              "| Table 6: N | accuracy | SOPs an image | additions by bit planes | energy, model | runs | the paper |",
              "|--:|--:|--:|--:|--:|--:|--:|"]
    lines += [f"| {s.levels} | {_accuracy(cards[s])} | {_sops(cards[s])} | "
              f"{_additions(cards[s])} | {_energy(cards[s])} | {len(cards[s])} | "
              f"{_paper(PAPER_LEVELS.get(s.levels))} |" for s in TABLE_6 if s in cards]
    lines += ["", "| T = 1: neuron | surrogate | N | accuracy | SOPs an image | additions by bit planes | runs |",
              "|---|---|--:|--:|--:|--:|--:|"]
    lines += [f"| {s.neuron} | {s.surrogate} | {s.levels} | {_accuracy(cards[s])} | {_sops(cards[s])} | "
              f"{_additions(cards[s])} | {len(cards[s])} |" for s in ONE_STEP if s in cards]
    lines += ["",
              "| Fewer additions: penalty | N | accuracy | SOPs an image | additions by bit planes | runs | N found |",
              "|--:|---|--:|--:|--:|--:|---|"]
    lines += [f"| {s.penalty:g} | {s.levels}{s.learned} | {_accuracy(cards[s])} | {_sops(cards[s])} | "
              f"{_additions(cards[s])} | {len(cards[s])} | {_levels(cards[s]) if s.start else ''} |"
              for s in FEWER if s in cards]
    rule = ("Verdict, seed by seed; higher and lower are said where all seeds agree and the mean is more than two "
            "standard errors from 0:")
    return "\n".join([*lines, "", rule, "", *(f"- {line}" for line in verdict(cards))])


def verdict(cards: dict[Setting, list[dict]]) -> list[str]:
    """Return what the runs say to each claim of the paper, in words."""
    lines = []
    for surrogate in SHAPES:
        rows = {s.neuron: s for s in TABLE_5 if s.surrogate == surrogate}
        for better, worse in (("I-LIF", "binary LIF"), ("QB-LIF", "I-LIF")):
            lines.append(f"{better} over {worse}, {surrogate}: "
                         + compare(cards.get(rows[better], []), cards.get(rows[worse], [])))
    for neuron in NEURONS:
        rows = {s.surrogate: s for s in TABLE_5 if s.neuron == neuron}
        lines.append(f"ReLSG-ET over Box-ET, {neuron}: "
                     + compare(cards.get(rows["ReLSG-ET"], []), cards.get(rows["Box-ET"], [])))
    done = [s for s in TABLE_6 if s in cards]
    lines += [f"N = {high.levels} over N = {low.levels}: " + compare(cards[high], cards[low])
              for low, high in zip(done, done[1:], strict=False)]
    ours, *others = ONE_STEP
    lines += [f"{ours.neuron} with {ours.surrogate} over {other.neuron} with {other.surrogate}, T = 1: "
              + compare(cards.get(ours, []), cards.get(other, [])) for other in others]
    for s in FEWER:
        free = dataclasses.replace(s, penalty=0.0)
        fixed = dataclasses.replace(s, start=None)
        for other, what in ((free, f"penalty {s.penalty:g} over none, N = {s.levels}{s.learned}"),
                            (fixed, f"N = {s.levels}{s.learned} over N = {s.levels}, penalty {s.penalty:g}")):
            if other != s and s in cards and other in cards:
                lines.append(f"{what}: {compare(cards[s], cards[other])}; "
                             f"additions {_change(cards[s], cards[other]):+.1f} %")
    return lines


def compare(better: list[dict], worse: list[dict]) -> str:
    """Return whether the first runs are better than the second, seed by seed, as a sentence.

    "higher" and "lower" are said where all seeds agree and the mean is more than two of its standard errors from 0."""
    pairs = {c["seed"]: c["golden_accuracy"] for c in better}
    differences = [100 * (pairs[c["seed"]] - c["golden_accuracy"]) for c in worse if c["seed"] in pairs]
    if len(differences) < 2:
        return f"not decided, {len(differences)} pair{'s' * (len(differences) != 1)} of runs"
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    agree = min(differences) > 0 or max(differences) < 0
    word = "no difference that these runs can show"
    if agree and abs(mean) > 2 * error:
        word = "higher" if mean > 0 else "lower"
    return f"{word} ({mean:+.2f} points, standard error {error:.2f}, {len(differences)} seeds)"


def _accuracy(runs: list[dict]) -> str:
    values = [100 * card["golden_accuracy"] for card in runs]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} %"


def _sops(runs: list[dict]) -> str:
    return _millions([card["sops"] for card in runs])


def _additions(runs: list[dict]) -> str:
    return _millions([card["additions"]["double"] for card in runs])


def _energy(runs: list[dict]) -> str:
    return f"{statistics.mean(card['microjoules'] for card in runs):.3f} µJ"


def _change(runs: list[dict], others: list[dict]) -> float:
    """Return by how many percent the first runs' mean additions differ from the others'."""
    mine, theirs = (statistics.mean(card["additions"]["double"] for card in some) for some in (runs, others))
    return 100 * (mine / theirs - 1)


def _levels(runs: list[dict]) -> str:
    return ", ".join("/".join(map(str, card["levels"])) for card in runs)


def _millions(values: list[float]) -> str:
    return f"{statistics.mean(values) / 1e6:.3f} M"


def _paper(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} %"
