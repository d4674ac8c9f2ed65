"""The host side: opening a bundle on an accelerator and running it. Needs numpy alone."""

from .accelerator import Accelerator, open
from .bundle import Bundle
from .codec import InputLayout
from .errors import (
    BuildMismatch,
    BundleError,
    CacheError,
    ClosedError,
    DeviceError,
    InputError,
    QblifError,
    SelfTestFailed,
    Timeout,
    ToolMissing,
    TransportError,
    UnknownTarget,
)
from .stats import CoreStats, Stats
from .transport import Transport

__all__ = ["Accelerator", "BuildMismatch", "Bundle", "BundleError", "CacheError", "ClosedError", "CoreStats",
           "DeviceError", "InputError", "InputLayout", "QblifError", "SelfTestFailed", "Stats", "Timeout",
           "ToolMissing", "Transport", "TransportError", "UnknownTarget", "open"]
