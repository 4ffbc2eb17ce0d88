"""What can go wrong, as exceptions. Everything that a server said is made printable in them: it may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

import grpc

from panicroom.v1 import control_pb2, error_details_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_BAD_REQUEST_URL = "type.googleapis.com/google.rpc.BadRequest"
_MAX_TEXT = 4096
_MAX_VIOLATIONS = 100


def printable(text: str, keep_newlines: bool = False) -> str:
    """The text with everything escaped that could steer a terminal."""
    return "".join(
        c if c.isprintable() or (keep_newlines and c == "\n") else c.encode("unicode_escape").decode("ascii") for c in text
    )


@dataclass(frozen=True)
class FieldViolation:
    """One thing that is wrong with a request, as the server says it (google.rpc.BadRequest)."""

    field: str
    description: str


class PanicroomError(Exception):
    """The root of all that this package raises on its own."""


class OptionsError(PanicroomError, ValueError):
    """The caller's mistake, found before anything was sent: an address, files of TLS, scenario files."""


class ProtocolError(PanicroomError):
    """The server sent what no server of this version sends."""


class ChecksumError(ProtocolError):
    """A file did not arrive as the server says that it is."""


class LimitError(PanicroomError):
    """The server has more to send than the caller is ready to take."""


class SessionEndedError(PanicroomError):
    """The session of interactive control has ended, so nothing more can be asked of its machine."""


class OperationError(PanicroomError):
    """An operation of interactive control was not carried out; the session goes on."""

    def __init__(self, error: control_pb2.ControlError) -> None:
        self.code: int = error.code
        self.message: str = error.message
        super().__init__(f"{self.code_name}: {printable(error.message[:_MAX_TEXT])}")

    @property
    def code_name(self) -> str:
        """ "CODE_PRECONDITION", or the number of a code that this version does not know."""
        known = control_pb2.ControlError.Code.items()
        return next((name for name, number in known if number == self.code), str(self.code))


class StoppedError(PanicroomError):
    """The machine has stopped at a breakpoint while its outcome was awaited: resume it, and await again."""

    def __init__(self, stopped: control_pb2.MachineStopped) -> None:
        self.stopped = stopped
        super().__init__(f"the machine stopped on CPU {stopped.cpu} at {printable(stopped.place)}")


class OutcomeError(PanicroomError):
    """The outcome was decided where something else was waited for."""

    def __init__(self, outcome: int, detail: str) -> None:
        self.outcome = outcome
        self.detail = detail
        super().__init__(f"the outcome is decided: {printable(detail[:_MAX_TEXT])}")


class CallError(PanicroomError):
    """The server refused a call, or could not be reached. See the classes below for what can be told apart."""

    def __init__(self, code: grpc.StatusCode, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        self.code = code
        self.message = message
        self.violations = tuple(violations)
        lines = [f"{v.field}: {v.description}" for v in self.violations] or [message[:_MAX_TEXT]]
        super().__init__(f"{code.name}: " + "\n".join(printable(line) for line in lines))


class InvalidRequestError(CallError):
    """INVALID_ARGUMENT: mistakes in the request; `violations` has each of them."""


class NotFoundError(CallError):
    """NOT_FOUND: no such run or file."""


class OutOfRangeError(CallError):
    """OUT_OF_RANGE: no such event, or a file that ends before the offset."""


class DeniedError(CallError):
    """PERMISSION_DENIED or UNAUTHENTICATED: the client's role does not allow it."""


class ExhaustedError(CallError):
    """RESOURCE_EXHAUSTED: a limit of the server's."""


class PreconditionError(CallError):
    """FAILED_PRECONDITION: not at this moment; the server is about to stop, for one."""


class UnavailableError(CallError):
    """UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED: the server is not to be had."""


_CLASSES: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.PERMISSION_DENIED: DeniedError,
    grpc.StatusCode.UNAUTHENTICATED: DeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}


def violations_of(details: bytes) -> list[FieldViolation]:
    """The violations in a `grpc-status-details-bin`; none in what is no such thing."""
    try:
        status = error_details_pb2.ErrorStatus.FromString(details)
        found: list[FieldViolation] = []
        for detail in status.details:
            if detail.type_url != _BAD_REQUEST_URL:
                continue
            request = error_details_pb2.BadRequest.FromString(detail.value)
            found += [FieldViolation(v.field, v.description) for v in request.field_violations]
        return found[:_MAX_VIOLATIONS]
    except Exception:  # DecodeError of either of protobuf's implementations; the call's own code says enough.
        return []


def call_error(error: grpc.RpcError) -> CallError:
    """The exception for a call that failed."""
    call: Any = error
    code: grpc.StatusCode = call.code()
    details: Optional[str] = call.details()
    violations: list[FieldViolation] = []
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            violations = violations_of(value)
    return _CLASSES.get(code, CallError)(code, details or "", violations)
