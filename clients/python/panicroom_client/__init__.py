"""Clients of `panicroom serve`: runs, their events and files, and machines under a program's own hands.

Messages are those of the package panicroom.v1, generated from the project's .proto files.
"""

from .addresses import TlsFiles
from .client import Client
from .control import ControlSession
from .errors import (
    CallError,
    ChecksumError,
    DeniedError,
    ExhaustedError,
    FieldViolation,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    OperationError,
    OptionsError,
    OutcomeError,
    OutOfRangeError,
    PanicroomError,
    PreconditionError,
    ProtocolError,
    SessionEndedError,
    StoppedError,
    UnavailableError,
    printable,
)
from .scenarios import ScenarioText

__all__ = [
    "CallError",
    "ChecksumError",
    "Client",
    "ControlSession",
    "DeniedError",
    "ExhaustedError",
    "FieldViolation",
    "InvalidRequestError",
    "LimitError",
    "NotFoundError",
    "OperationError",
    "OptionsError",
    "OutOfRangeError",
    "OutcomeError",
    "PanicroomError",
    "PreconditionError",
    "ProtocolError",
    "ScenarioText",
    "SessionEndedError",
    "StoppedError",
    "TlsFiles",
    "UnavailableError",
    "printable",
]
