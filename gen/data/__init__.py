"""Data sets as unsigned integers, with labels: `load(name)`; what there is: `DATASETS`; augmentation: `augment`.

    ds = load("mnist")                              # looked for in $QBLIF_DATA, then in ./data
    x, y = ds.train.batch(torch.tensor([0, 1]))     # uint8 (2, 1, 28, 28), int64 (2,)
    ds = load("n-mnist", steps=4, bits=4)           # x: uint8 (T, N, 2, 34, 34), counts of events 0 to 15
    data = ds.to_data()                             # for qblif.gen.train

Event recordings of your own, or of Tonic's data sets, become counts by `from_events`.

Nothing is downloaded: where a set is missing, the error says where it was looked for and where people get it. The
first test images of some come with qblif: `load(name, SAMPLES)`.
"""

from qblif.gen.errors import DataError

from .about import About
from .dataset import DataSet, Split, TensorSplit
from .recordings import from_events
from .registry import DATASETS, SAMPLES, is_sample, load, or_sample

__all__ = ["DATASETS", "SAMPLES", "About", "DataError", "DataSet", "Split", "TensorSplit", "digits_data",
           "from_events", "is_sample", "load", "or_sample"]


def digits_data(seed: int = 0):
    """Return the digits as `qblif.gen.train` takes them; no folder is looked into. seed: of the split."""
    return load("digits", seed=seed).to_data()
