"""The sets themselves, where $QBLIF_DATA has them: their published counts, and every event of N-MNIST accounted for."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from qblif.gen import data
from qblif.gen.data import files
from qblif.gen.data.events import Binning, Events
from qblif.gen.data.nmnist import read_npz


@pytest.mark.datasets("mnist")
def test_mnist_is_whole_and_loads_quickly():
    begin = time.process_time()
    ds = data.load("mnist")
    assert time.process_time() - begin < 2      # about 0.5 s on an idle core
    assert torch.bincount(ds.train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(ds.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(float(ds.train.x.double().mean()) / 255 - 0.1307) < 1e-4      # the mean that everyone normalises with


@pytest.mark.datasets("fashion-mnist")
def test_fashion_mnist_is_whole():
    ds = data.load("fashion-mnist")
    assert torch.bincount(ds.train.labels).tolist() == [6000] * 10
    assert torch.bincount(ds.test.labels).tolist() == [1000] * 10 and len(ds.classes) == 10
    assert abs(float(ds.train.x.double().mean()) / 255 - 0.2860) < 1e-4


@pytest.mark.long
@pytest.mark.datasets("cifar10")
def test_cifar10_is_whole():
    ds = data.load("cifar10")
    assert torch.bincount(ds.train.labels).tolist() == [5000] * 10
    assert torch.bincount(ds.test.labels).tolist() == [1000] * 10
    mean = ds.train.x.double().mean((0, 2, 3)) / 255      # published: 0.4914, 0.4822, 0.4465
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64), atol=1e-4)


@pytest.mark.datasets("n-mnist")
@pytest.mark.parametrize(("steps", "bits", "by", "window"), [(1, 3, "time", None), (4, 4, "time", None),
                                                             (8, 2, "time", 25_000), (5, 8, "count", None)])
def test_every_nmnist_event_is_counted_clipped_or_dropped(own_cache, steps, bits, by, window):
    ds = data.load("n-mnist", steps=steps, bits=bits, by=by, window=window)
    counted = sum(int(split.x.sum(dtype=torch.int64)) for split in (ds.train, ds.test))
    assert counted + ds.clipped + ds.dropped == ds.events > 4000 * (len(ds.train) + len(ds.test))
    assert (ds.clipped > 0) == (bits < 5) and (ds.dropped > 0) == (window is not None)
    assert int(ds.train.x.max()) == 2 ** bits - 1 or bits == 8
    assert len(ds.train) == 1000 and len(ds.test) == 100
    assert torch.bincount(ds.test.labels).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]


@pytest.mark.datasets("n-mnist", "mnist")
def test_nmnist_counts_look_like_the_digits_that_were_recorded():
    """Each recording's counts are closer to its own MNIST digit than to those of most others."""
    path = files.first(Path(os.environ["QBLIF_DATA"]) / "nmnist_small", "*.npz")
    labels, is_test, recording = read_npz(path)
    with np.load(path) as archive:
        index = archive["mnist_index"]
    mnist = data.load("mnist").train
    chosen = np.flatnonzero(~is_test)[:60]
    assert labels[chosen].tolist() == mnist.labels[index[chosen]].tolist()
    counts = np.stack([Binning(1).counts(recording(i), (34, 34)).counts.sum((0, 1))[3:31, 3:31] for i in chosen])
    digits = mnist.x[index[chosen], 0].numpy()
    likeness = np.corrcoef(counts.reshape(60, -1), digits.reshape(60, -1))[:60, 60:]
    assert (likeness.diagonal()[:, None] >= likeness).mean() > 0.95


SAMPLES = Path(os.environ.get("QBLIF_DATA", "")) / "event_samples"


@pytest.mark.parametrize(("name", "size"), [
    ("ncaltech101_faces_easy_0001", (180, 240)), ("ncars_obj_004397", (100, 120)),
    ("prophesee_gen3_sparklers", (480, 640)), ("prophesee_gen41_pedestrians", (720, 1280))])
def test_recordings_of_other_cameras_are_counted_in_full(name, size):
    if not (SAMPLES / f"{name}.npz").exists():
        pytest.skip("datasets are missing: no event_samples in QBLIF_DATA")
    with np.load(SAMPLES / f"{name}.npz") as arrays:
        events = Events(*(arrays[key] for key in "xypt"))
    first = None
    for binning in (Binning(5), Binning(5, by="count"), Binning(3, bits=2, window=1000)):
        counts, clipped, dropped = binning.counts(events, size)
        assert int(counts.sum(dtype=np.int64)) + clipped + dropped == len(events.t)
        first = counts if first is None else first
    slowly = np.zeros_like(first, dtype=np.int64)
    step = (events.t.astype(np.int64) - int(events.t.min())) * 5 // (int(events.t.max()) - int(events.t.min()) + 1)
    np.add.at(slowly, (step, events.p.astype(int), events.y, events.x), 1)
    assert np.array_equal(first, np.minimum(slowly, 255))
