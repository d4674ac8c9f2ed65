"""Errors that a user can cause; every one says what was found, what is allowed and what to do."""


class QblifError(Exception):
    """Base class of all errors that qblif raises on purpose."""
