"""Errors that a user can cause; all of them derive from `QblifError`."""

from __future__ import annotations


class QblifError(Exception):
    """Base of every error that this package raises on purpose: what was found, what is allowed, what to do."""


class InputError(QblifError, ValueError):
    """Data given to a network is not what it takes: type, shape or values."""
