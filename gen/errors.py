"""Errors of the way from a trained model to a plan."""

from __future__ import annotations

from qblif.host.errors import QblifError


class ModelError(QblifError):
    """A torch module cannot be folded; the text lists every unsupported part and what to do instead."""


class VerifyError(QblifError):
    """A `Network` breaks rules.

    failures: one text per broken rule, naming the layer, the value found and what is allowed.
    """

    def __init__(self, name: str, failures):
        self.failures = tuple(failures)
        count = "1 rule is" if len(self.failures) == 1 else f"{len(self.failures)} rules are"
        super().__init__("\n".join([f"network {name!r} is not valid, {count} broken:",
                                    *(f"  - {failure}" for failure in self.failures)]))


class PlanError(QblifError):
    """A `Network` does not fit the hardware; the text lists everything that does not, and by how much."""


class NetworkFileError(QblifError):
    """A network file cannot be used: missing, truncated, altered, of a newer schema or with contents not allowed."""


class ZooError(QblifError):
    """There is no network of that name, or a network of the zoo and its card do not belong together."""


class DataError(QblifError):
    """A data set cannot be loaded: not found, damaged, or of another kind."""


class DataMissing(DataError):
    """A data set was not found; the text lists where it was looked for, the hint tells where people get it."""
