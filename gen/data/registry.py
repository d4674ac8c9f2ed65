"""The table of data sets, and `load`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from qblif.gen.errors import DataError, DataMissing

from . import cifar, cifar10_dvs, digits, dvs_gesture, idx, imagenet, nmnist
from .about import About
from .dataset import DataSet

DATASETS = {about.name: about for about in (
    About("digits", "handwritten digits of scikit-learn, 1437 and 360, values 0 to 16", 10, (1, 8, 8),
          "It comes with scikit-learn, which the extra `sim` brings", "part of the package scikit-learn", (),
          digits.digits),
    About("mnist", "handwritten digits, 60,000 and 10,000", 10, (1, 28, 28),
          "People get MNIST's four files *-ubyte.gz from http://yann.lecun.com/exdb/mnist or its mirrors "
          "(https://ossci-datasets.s3.amazonaws.com/mnist)", "idx, with or without .gz",
          ("mnist", "MNIST/raw", "MNIST"), idx.mnist),
    About("fashion-mnist", "articles of clothing, 60,000 and 10,000", 10, (1, 28, 28),
          "People get Fashion-MNIST's four files *-ubyte.gz from https://github.com/zalandoresearch/fashion-mnist",
          "idx, with or without .gz", ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
          idx.fashion_mnist),
    About("cifar10", "small photographs, 50,000 and 10,000", 10, (3, 32, 32),
          "People get cifar-10-python.tar.gz or cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
          "python batches; binary batches; xz-packed parts with labels.npz",
          ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-py",
           "cifar10/cifar-10-batches-bin", "CIFAR10/cifar-10-batches-py", "CIFAR10"), cifar.cifar10),
    About("cifar100", "small photographs, 50,000 and 10,000", 100, (3, 32, 32),
          "People get cifar-100-python.tar.gz or cifar-100-binary.tar.gz from "
          "https://www.cs.toronto.edu/~kriz/cifar.html", "python batches; binary batches",
          ("cifar-100-python", "cifar-100-binary", "cifar100", "cifar100/cifar-100-python",
           "cifar100/cifar-100-binary", "CIFAR100/cifar-100-python", "CIFAR100"), cifar.cifar100),
    About("imagenet", "photographs, 1,281,167 and 50,000; read from disk batch by batch", 1000, (3, 224, 224),
          "People get ILSVRC2012 from https://image-net.org/download-images (with an account) and unpack it into "
          "train/CLASS/*.JPEG and val/CLASS/*.JPEG", "class folders train and val, .JPEG, .jpg or .png",
          ("imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "imagenet-1k"), imagenet.imagenet),
    About("n-mnist", "MNIST seen by a moving event camera, 60,000 and 10,000", 10, (2, 34, 34),
          "People get N-MNIST's Train.zip and Test.zip from https://www.garrickorchard.com/datasets/n-mnist",
          "folders Train and Test of .bin files; one .npz of recordings",
          ("nmnist", "n-mnist", "N-MNIST", "NMNIST", "nmnist_small"), nmnist.nmnist),
    About("cifar10-dvs", "CIFAR-10 images seen by an event camera, 1,000 recordings of each class", 10, (2, 128, 128),
          "People get CIFAR10-DVS from https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671 and unpack each "
          "class", "class folders of .aedat, .aedat4 or .mat files",
          ("cifar10-dvs", "cifar10_dvs", "CIFAR10DVS", "CIFAR10-DVS", "CIFAR10DVS/extract"), cifar10_dvs.cifar10_dvs),
    About("dvs128-gesture", "eleven hand gestures in front of an event camera, 1,176 and 288", 11, (2, 128, 128),
          "People get DvsGesture.tar.gz from https://research.ibm.com/interactive/dvsgesture",
          ".aedat recordings with _labels.csv; folders of .npy or .npz per gesture",
          ("dvs128-gesture", "dvs128_gesture", "DvsGesture", "DVSGesture", "DVS128Gesture"),
          dvs_gesture.dvs_gesture),
)}
"""Name -> what is known of the set."""

SAMPLES = Path(__file__).with_name("samples")
"""The first sixteen test images of some sets (docs/data.md), in the sets' own formats: a root for `load`. There is one
training image of each, since no set is without."""


def load(name: str, root: str | os.PathLike | None = None, **options) -> DataSet:
    """Return a data set, read from files.

    root: the folder that holds the set's folder, or is it; default: $QBLIF_DATA, then ./data
    options: of the set: `DATASETS[name].options()`; docs/data.md explains them

    Raises DataError: no such set or option, not found (the text lists where it was looked for), or damaged files."""
    about = DATASETS.get(name)
    if about is None:
        raise DataError(f"there is no data set {name!r}{_near(name, DATASETS)}. There are {', '.join(DATASETS)}",
                        hint="the folder that holds it is named in $QBLIF_DATA" if os.sep in str(name) else "")
    allowed = about.options()
    for option in options:
        if option not in allowed:
            raise DataError(f"the data set {name!r} has no option {option!r}{_near(option, allowed)}. It has "
                            f"{', '.join(allowed) or 'none'}")
    return about.reader(about, root, **options)


def _near(name: str, allowed) -> str:
    near = difflib.get_close_matches(str(name), allowed, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def is_sample(dataset: DataSet) -> bool:
    """Return whether a data set is only what comes with qblif of it (SAMPLES)."""
    return dataset.folder is not None and SAMPLES in dataset.folder.parents


def or_sample(load: Callable[[str | os.PathLike | None], DataSet]) -> DataSet:
    """Return a data set or, where it is not here, what comes with qblif of it (`is_sample`).

    load: root -> the set. Raises DataMissing, of the set itself, where nothing of it comes along."""
    try:
        return load(None)
    except DataMissing as missing:
        try:
            return load(SAMPLES)
        except DataMissing:
            raise missing from None
