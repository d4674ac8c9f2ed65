"""The host side: opening a bundle on an accelerator and running it. Needs numpy alone."""

from .accelerator import Accelerator, open
from .bundle import Bundle
from .codec import InputLayout
from .errors import (
    AddressOutOfReach,
    BuildMismatch,
    BundleError,
    CacheError,
    ClockError,
    ClosedError,
    DeviceError,
    InputError,
    OutOfBoardMemory,
    OverlayError,
    OverlayNotFound,
    PartMismatch,
    QblifError,
    SelfTestFailed,
    Timeout,
    ToolMissing,
    TransportError,
    UnknownTarget,
)
from .stats import Clock, CoreStats, JobStats, Stats
from .transport import Transport

__all__ = ["Accelerator", "AddressOutOfReach", "BuildMismatch", "Bundle", "BundleError", "CacheError", "Clock",
           "ClockError", "ClosedError", "CoreStats", "DeviceError", "InputError", "InputLayout", "JobStats",
           "OutOfBoardMemory", "OverlayError", "OverlayNotFound", "PartMismatch", "QblifError", "SelfTestFailed",
           "Stats", "Timeout", "ToolMissing", "Transport", "TransportError", "UnknownTarget", "open"]
