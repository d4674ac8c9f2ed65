"""Errors that a user of qblif can meet."""


class QblifError(Exception):
    """Base of all errors that qblif raises about what it was given or where it runs."""


class DeviceError(QblifError):
    """The hardware reports an error code. code: abi.Error value; info: ERROR_INFO register."""

    def __init__(self, code: int, info: int = 0):
        super().__init__(f"the device reports error {code}, info {info}")
        self.code, self.info = code, info


class Timeout(QblifError, TimeoutError):
    """Something did not happen in the time allowed."""


class ToolMissing(QblifError):
    """A program that is needed is not installed."""


class CacheError(QblifError):
    """The cache folder cannot be used."""
