"""Training: a float phase, then a quantised phase in which the forward pass computes the deployed integers.

recipe: how to train, and recipes as files; samples: data; phase: the loop; run: a training with a folder, that stops
and goes on; finished: what it left; api: `train` for modules of your own.
"""

from .api import Progress, Trained, fit, train
from .phase import Phase
from .recipe import Recipe, RecipeError, RecipeFile
from .run import Finished, Run
from .samples import Data, Samples
from .score import evaluate, predict
from .threads import one_thread

__all__ = ["Data", "Finished", "Phase", "Progress", "Recipe", "RecipeError", "RecipeFile", "Run", "Samples",
           "Trained", "evaluate", "fit", "one_thread", "predict", "train"]
