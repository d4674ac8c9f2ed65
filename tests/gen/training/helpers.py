"""A recipe small enough to train in a second: 60 of scikit-learn's digits, two narrow convolutions."""

from __future__ import annotations

from qblif.gen import training
from qblif.gen.training import recipe

TINY = {
    "name": "tiny",
    "data": {"name": "digits"},
    "model": {"name": "vgg", "channels": [4, 8], "strides": [1, 2], "input_scale": 0.0625},
    "neuron": {"method": "qblif", "levels": 7},
    "train": {"T": 2, "epochs": 3, "quantised_epochs": 2, "batch": 16, "rate": 1e-2},
    "augment": [{"name": "crop", "padding": 1}],
}


def tiny(**changes):
    """Return the recipe with some keys of its tables changed: tiny(train={"epochs": 1})."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for table, keys in changes.items():
        tree[table] = keys if table == "augment" else {**tree[table], **keys}
    return recipe.from_tree(tree)


def make(folder, chosen=None, **options):
    """Return a Run of the recipe on its first 60 digits."""
    return training.Run(chosen or tiny(), folder, limit=60, **options)
