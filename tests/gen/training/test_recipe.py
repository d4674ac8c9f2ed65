"""Recipes: what is in the package can be read and built, and mistakes are told with the nearest allowed name."""

from pathlib import Path

import pytest
import torch

from qblif.gen import data, models, training
from qblif.gen.training import Recipe, RecipeError, recipe, sanity

from .helpers import tiny

LARGE = ("resnet20", "resnet19", "resnet18", "resnet34")
"""Networks whose folding takes long; tests/gen/models folds them once."""

PAPER = {"cifar10": (4, 500, 128, "sgd", 0.1, 30, 0.05, 0.8, 1.0, 200), "cifar100": (4, 500, 128, "sgd", 0.1, 30, 0.05,
         0.8, 1.0, 200), "cifar10-t2": (2, 200, 128, "sgd", 0.1, 30, 0.05, 0.8, 1.0, None),
         "imagenet-resnet18": (4, 300, 128, "adamw", 5e-4, 30, 0.05, 0.8, 1.0, None),
         "imagenet-resnet34": (4, 300, 128, "adamw", 5e-4, 30, 0.05, 0.8, 1.0, None),
         "cifar10-dvs": (16, 200, 64, "adamw", 1e-3, 10, 0.06, 0.5, 0.0, None),
         "dvs128-gesture": (16, 200, 64, "adamw", 1e-3, 10, 0.06, 0.5, 0.0, None)}


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_of_the_package_names_data_model_neurons_and_augmentation_that_exist(name):
    chosen = recipe.load(name)
    about = data.DATASETS[chosen.data["name"]]
    known = {*about.options(), "name", "limit"}
    assert set(chosen.data) <= known
    assert chosen.model["name"] in models.MODELS
    assert chosen.about["title"]
    data.augment.build(list(chosen.augment))
    for key in chosen.about["paper"]:  # what is labelled as the paper's is in the file
        table, _, field = key.partition(".")
        assert field in chosen.tree()[table] if field else chosen.tree()[table]


@pytest.mark.parametrize("name", [n for n in recipe.names() if recipe.load(n).model["name"] not in LARGE])
def test_every_recipe_of_a_small_network_folds_before_it_is_trained(name):
    chosen = recipe.load(name)
    about = data.DATASETS[chosen.data["name"]]
    steps = chosen.T if "steps" in about.options() else None
    bits = chosen.data.get("bits", 5 if about.name == "digits" else 8)
    x = torch.zeros((8, *about.shape), dtype=torch.uint8)
    split = data.TensorSplit(x if steps is None else x[None].repeat(steps, 1, 1, 1, 1), torch.arange(8))
    names = tuple(map(str, range(about.classes)))
    dataset = data.DataSet(about.name, split, split, names, about.shape, steps, bits)
    module = training.Run(chosen, Path("none")).build(dataset)
    network = sanity.deployable(module, split.batch(torch.arange(2))[0], chosen.weight_bits)
    assert network.steps == chosen.T and network.classes == about.classes


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_recipes_say_what_table_1_says(name):
    how, chosen = recipe.load(name).train, recipe.load(name)
    assert (chosen.T, how.epochs, how.batch, how.optimiser, how.rate, how.warmup, how.decay, how.mixup, how.cutmix,
            how.mixup_off) == PAPER[name]
    assert chosen.neuron["levels"] == 20 and how.smoothing == 0.1


def test_settings_change_keys_and_keep_the_types_of_toml():
    chosen = recipe.load("mnist", ("train.epochs=3", "train.rate=1e-3", "model.channels=[4, 8]", "data.limit=100",
                                   "neuron.method=ilif", "train.mixup_off=none"))
    assert (chosen.train.epochs, chosen.train.rate, chosen.model["channels"]) == (3, 1e-3, [4, 8])
    assert chosen.data["limit"] == 100 and chosen.neuron["method"] == "ilif" and chosen.train.mixup_off is None


def test_a_recipe_survives_its_tree():
    assert recipe.from_tree(tiny().tree()) == tiny()


@pytest.mark.parametrize(("setting", "message"), [
    ("train.epoch=3", r"train.epoch is not known \(did you mean 'epochs'\?\)"),
    ("train.epochs=-1", "epochs is -1, allowed is an integer from 0"),
    ("train.epochs=many", "epochs is 'many', allowed is an integer"),
    ("train.T=0", "train.T is 0, allowed is 1 to 255"),
    ("train.weight_bits=9", "train.weight_bits is 9, allowed is 2 to 8"),
    ("train.optimiser=adam", "optimiser is 'adam', allowed is one of adamw, sgd"),
    ("train.smoothing=1", "smoothing is 1, allowed is 0 up to below 1"),
    ("epochs=3", "--set 'epochs=3' is not understood: TABLE.KEY=VALUE"),
    ("trian.epochs=3", "--set 'trian.epochs=3' is not understood"),
    ("data.name=3", "data.name is missing"),
    ("data.limit=abc", "data.limit is 'abc', allowed is an integer from 2"),
    ("data.limit=-5", "data.limit is -5, allowed"),
    ("data.limit=0", "data.limit is 0, allowed"),
])
def test_wrong_settings_are_told(setting, message):
    with pytest.raises(RecipeError, match=message):
        recipe.load("mnist", (setting,))


@pytest.mark.parametrize(("text", "message"), [
    ("[data\n", "is no TOML"),
    ("[data]\nname = 'digits'\n[train]\n[neurons]\n", r"'neurons' is no table of a recipe \(did you mean 'neuron'\?\)"),
    ("data = 3\n", "data is no table"),
    ("[data]\nname = 'digits'\n[model]\nname = 'vgg'\n[neuron]\nmethod = 'qblif'\n[[augment]]\nsize = 3\n",
     r"an \[\[augment\]\] has no name"),
])
def test_wrong_files_are_told(tmp_path, text, message):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe.load(str(tmp_path / "own.toml"))


def test_unknown_recipes_are_told_with_the_nearest():
    with pytest.raises(RecipeError, match=r"there is no recipe 'minst' \(did you mean 'mnist'\?\); there are ablation"):
        recipe.load("minst")
    with pytest.raises(RecipeError, match="there is no file 'own.toml'"):
        recipe.load("own.toml")


def test_the_defaults_are_those_of_the_digits_network():
    assert recipe.load("digits").train == Recipe(epochs=60, quantised_epochs=15)
