"""Errors of the way from a PyTorch module to a program."""

from qblif.host.errors import QblifError


class ModelError(QblifError):
    """A PyTorch module cannot be turned into an integer network; the message lists every reason."""


class VerifyError(QblifError):
    """A Network breaks a rule of the integer program."""


class PlanError(QblifError):
    """A Network does not fit the hardware; the message lists everything that does not and by how much."""
