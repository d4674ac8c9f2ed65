"""Training: a float phase, then a quantised phase in which the forward pass computes the deployed integers.

recipe: how to train, and recipes as files; samples: data; phase: the loop; run: a training with a folder, that stops
and goes on; api: `train` for modules of your own; digits: the network of `make sim`.
"""

from .api import Progress, Trained, fit, train
from .digits import DIGITS, digits_data, jitter, train_digits
from .phase import Phase
from .recipe import Recipe, RecipeError, RecipeFile
from .run import Finished, Run
from .samples import Data, Samples
from .score import evaluate, predict

__all__ = ["DIGITS", "Data", "Finished", "Phase", "Progress", "Recipe", "RecipeError", "RecipeFile", "Run", "Samples",
           "Trained", "digits_data", "evaluate", "fit", "jitter", "predict", "train", "train_digits"]
