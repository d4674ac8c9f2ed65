"""The digits of scikit-learn: small, and part of the package, so that everything can be tried without a download."""

from __future__ import annotations

import torch

from .dataset import DataSet, TensorSplit


def digits(about, root, *, seed: int = 0) -> DataSet:
    """Return 1437 images to train and 360 to test, (N, 1, 8, 8) of 0 to 16, stratified; seed: of the split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 1, 8, 8).astype("uint8")
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=360, random_state=seed, stratify=y)
    train, test = (TensorSplit(torch.as_tensor(a), torch.as_tensor(b).long())
                   for a, b in ((train_x, train_y), (test_x, test_y)))
    return DataSet(about.name, train, test, tuple("0123456789"), about.shape, bits=5)
