"""Interactive control: one machine with an armed kernel, under a program's own hands."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Optional, Type, Union

import grpc

from google.protobuf import duration_pb2

from panicroom.v1 import control_pb2, events_pb2, report_pb2

from .errors import (
    OperationError,
    OptionsError,
    OutcomeError,
    PanicroomError,
    ProtocolError,
    SessionEndedError,
    StoppedError,
    call_error,
)

_MAX_EVENTS = 100_000
_MAX_EVENT_BYTES = 64 << 20
_CLOSE_SECONDS = 120.0  # The server ends the machine before it ends the stream.


class _Pending:
    """A request whose response has not come yet."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.result: Optional[control_pb2.ControlResult] = None


class ControlSession:
    """A machine, for as long as the session lasts: see Client.control() and control.proto.

    A method returns when the server has carried it out, and raises OperationError if it did not, which leaves the
    session as it is. When the session has ended, methods raise why: CallError if the server ended it, SessionEndedError
    if close() did. Thread-safe. Times are in seconds.
    """

    def __init__(self, method: Callable[..., Any], operation: control_pb2.OpenOperation) -> None:
        self._requests: queue.SimpleQueue[Optional[control_pb2.ControlRequest]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        # --- Under the condition's lock.
        self._last_id = 0
        self._pending: dict[int, _Pending] = {}
        self._events: deque[control_pb2.ControlEvent] = deque()
        self._event_bytes = 0
        self._lost_events = 0
        self._stop: Optional[control_pb2.MachineStopped] = None
        self._decided: Optional[events_pb2.OutcomeDecided] = None
        self._awaiting: Optional[_Pending] = None
        self._end: Optional[Exception] = None
        self._closing = False

        self._call = method(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, name="panicroom-control", daemon=True)
        self._reader.start()
        try:
            request = control_pb2.ControlRequest(open=operation)
            self.opened: control_pb2.OpenResult = self._ask(request, "opened").opened
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ControlSession:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the machine, and returns when it is gone."""
        with self._changed:
            self._closing = True
        self._requests.put(None)
        try:
            self._reader.join(_CLOSE_SECONDS)
        finally:
            # Ends a stream whose server does not, and one that a second Ctrl-C does not wait for.
            self._call.cancel()
        self._reader.join()

    # --- Whether it runs.

    def resume(self) -> None:
        """Lets every CPU that is not held go on."""
        self._go_on(lambda: self._do(control_pb2.ControlRequest(resume=control_pb2.ResumeOperation())))

    def pause(self) -> None:
        """Stops all CPUs."""
        self._do(control_pb2.ControlRequest(pause=control_pb2.PauseOperation()))

    def wait_stopped(self, timeout: Optional[float] = None) -> control_pb2.MachineStopped:
        """The stop at a breakpoint since the last resume(), when it happens.

        OutcomeError if it is decided what the guest did before that; TimeoutError if there is neither in time.
        """
        with self._changed:
            self._wait(lambda: self._stop is not None or self._decided is not None, timeout)
            if self._stop is not None:
                return self._stop
            assert self._decided is not None
            raise OutcomeError(self._decided.outcome, self._decided.detail)

    def run_to(
        self, where: Union[str, int], cpus: Iterable[int] = (), timeout: Optional[float] = None
    ) -> control_pb2.MachineStopped:
        """Resumes the machine until one of the CPUs (none named: any) stops at the place, and there alone.

        StoppedError if another breakpoint comes first; otherwise as wait_stopped().
        """
        breakpoint_ = self.add_breakpoint(where, cpus).breakpoint
        self.resume()
        stopped = self.wait_stopped(timeout)
        # When none of it is reached, the breakpoint stays: the machine runs, and nothing can be removed from it.
        if stopped.breakpoint != breakpoint_:
            raise StoppedError(stopped)
        self.remove_breakpoint(breakpoint_)
        return stopped

    # --- Breakpoints.

    def add_breakpoint(self, where: Union[str, int], cpus: Iterable[int] = ()) -> control_pb2.AddBreakpointResult:
        """`where`: a point as scenarios write it behind `at:`, or a guest-virtual address. No CPUs: all of them."""
        operation = (
            control_pb2.AddBreakpointOperation(point=where, cpus=cpus)
            if isinstance(where, str)
            else control_pb2.AddBreakpointOperation(address=where, cpus=cpus)
        )
        return self._ask(control_pb2.ControlRequest(add_breakpoint=operation), "breakpoint_added").breakpoint_added

    def remove_breakpoint(self, breakpoint_: int) -> None:
        """By the number that add_breakpoint() gave it."""
        operation = control_pb2.RemoveBreakpointOperation(breakpoint=breakpoint_)
        self._do(control_pb2.ControlRequest(remove_breakpoint=operation))

    # --- Registers, memory, symbols.

    def read_registers(self, cpu: int) -> control_pb2.VcpuRegisters:
        operation = control_pb2.ReadRegistersOperation(cpu=cpu)
        return self._ask(control_pb2.ControlRequest(read_registers=operation), "registers").registers

    def write_registers(self, cpu: int, registers: control_pb2.VcpuRegisters) -> None:
        """Writes those that are present."""
        operation = control_pb2.WriteRegistersOperation(cpu=cpu, registers=registers)
        self._do(control_pb2.ControlRequest(write_registers=operation))

    def read_memory(self, address: int, length: int, cpu: Optional[int] = 0) -> bytes:
        """At a guest-virtual address as that CPU's page tables have it; with `cpu=None`, at a guest-physical one."""
        operation = control_pb2.ReadMemoryOperation(at=_guest_address(address, cpu), length=length)
        data = self._ask(control_pb2.ControlRequest(read_memory=operation), "memory").memory.data
        if len(data) != length:
            raise ProtocolError(f"the server sent {len(data)} bytes of memory instead of {length}")
        return data

    def write_memory(self, address: int, data: bytes, cpu: Optional[int] = 0) -> None:
        """As read_memory()."""
        operation = control_pb2.WriteMemoryOperation(at=_guest_address(address, cpu), data=data)
        self._do(control_pb2.ControlRequest(write_memory=operation))

    def look_up(self, symbol: Union[str, int]) -> control_pb2.LookUpSymbolResult:
        """A symbol by its name, or the one that an address belongs to."""
        operation = (
            control_pb2.LookUpSymbolOperation(name=symbol)
            if isinstance(symbol, str)
            else control_pb2.LookUpSymbolOperation(address=symbol)
        )
        return self._ask(control_pb2.ControlRequest(look_up_symbol=operation), "symbol").symbol

    # --- What is done to CPUs.

    def hold(self, cpu: int) -> None:
        """It executes nothing from here on while the others go on; interrupts for it stay pending."""
        self._do(control_pb2.ControlRequest(set_held=control_pb2.SetHeldOperation(cpu=cpu, held=True)))

    def release(self, cpu: int) -> None:
        self._do(control_pb2.ControlRequest(set_held=control_pb2.SetHeldOperation(cpu=cpu, held=False)))

    def step(self, cpu: int, count: int = 1) -> None:
        """Executes so many instructions on it while all others stand still."""
        self._do(control_pb2.ControlRequest(step=control_pb2.StepOperation(cpu=cpu, count=count)))

    def inject(self, operation: control_pb2.InjectOperation) -> None:
        """Any injection; the methods below are the usual ones."""
        self._do(control_pb2.ControlRequest(inject=operation))

    def panic(self, cpu: int, message: str = "") -> None:
        """The CPU calls panic()."""
        self.inject(control_pb2.InjectOperation(cpu=cpu, panic=control_pb2.InjectPanic(message=message)))

    def oops(self, cpu: int) -> None:
        """The CPU calls address 0."""
        self.inject(control_pb2.InjectOperation(cpu=cpu, oops=control_pb2.InjectOops()))

    def nmi(self, cpu: int) -> None:
        """An NMI from outside, for exactly this CPU."""
        self.inject(control_pb2.InjectOperation(cpu=cpu, nmi=control_pb2.InjectNmi()))

    def mce(self, cpu: int, bank: Optional[int] = None, status: Optional[int] = None) -> None:
        """The CPU's hardware reports an error."""
        self.inject(control_pb2.InjectOperation(cpu=cpu, mce=control_pb2.InjectMce(bank=bank, status=status)))

    def irqs_off(self, cpu: int, lasts: str = "", until: str = "") -> None:
        """The CPU spins with interrupts off: `lasts` "250ms", or `until` something happens."""
        spin = control_pb2.InjectSpin(lasts=lasts, until=until)
        self.inject(control_pb2.InjectOperation(cpu=cpu, irqs_off=spin))

    def spin(self, cpu: int, lasts: str = "", until: str = "") -> None:
        """The same with interrupts as they are."""
        spin = control_pb2.InjectSpin(lasts=lasts, until=until)
        self.inject(control_pb2.InjectOperation(cpu=cpu, spin=spin))

    def skip(self, cpu: int) -> None:
        """The CPU goes on behind its instruction."""
        self.inject(control_pb2.InjectOperation(cpu=cpu, skip=control_pb2.InjectSkip()))

    def set_stop_ipi(self, rules: Iterable[control_pb2.ControlStopIpi]) -> None:
        """What becomes of IPIs from now on."""
        self._do(control_pb2.ControlRequest(set_stop_ipi=control_pb2.SetStopIpiOperation(rules=rules)))

    # --- Snapshots.

    def snapshot(self, name: str) -> None:
        """Keeps the machine as it is; before the crash."""
        self._do(control_pb2.ControlRequest(take_snapshot=control_pb2.TakeSnapshotOperation(name=name)))

    def restore(self, name: str = "") -> None:
        """Goes back to a snapshot; without a name, to the moment at which the machine was opened."""
        self._do(control_pb2.ControlRequest(restore_snapshot=control_pb2.RestoreSnapshotOperation(name=name)))
        # The machine stands still now, so nothing newer can have come.
        with self._changed:
            self._stop = self._decided = self._awaiting = None

    # --- What happens.

    def await_outcome(self, timeout: Optional[float] = None) -> report_pb2.Run:
        """Lets the machine run on until it is decided what the guest did: the entry that a report has for a trial.

        `timeout` is the guest's, from 1 to 600; the first one in a trial counts. StoppedError if a breakpoint stops the
        machine: after resume(), this method goes on waiting. OperationError if there will be no outcome.
        """
        operation = control_pb2.AwaitOutcomeOperation(timeout=_duration(timeout))
        with self._changed:
            if self._awaiting is None:
                self._stop = None
                self._awaiting = self._send(control_pb2.ControlRequest(await_outcome=operation), "decided")
            awaiting = self._awaiting
            self._wait(lambda: awaiting.result is not None or self._stop is not None, None)
            if awaiting.result is None:
                assert self._stop is not None
                raise StoppedError(self._stop)
            self._awaiting = None
        return self._checked(awaiting).decided.run

    def events(self, timeout: Optional[float] = None) -> Iterator[control_pb2.ControlEvent]:
        """The events in their order, each once, as they come; until none comes for `timeout`, or the session ends.

        A caller that takes none loses the oldest beyond some 100,000: see `lost_events`.
        """
        while True:
            with self._changed:
                try:
                    self._wait(lambda: bool(self._events), timeout)
                except (TimeoutError, PanicroomError):
                    return
                event = self._events.popleft()
                self._event_bytes -= event.ByteSize()
            yield event

    @property
    def lost_events(self) -> int:
        """How many events were thrown away because nobody took them."""
        with self._changed:
            return self._lost_events

    # --- Requests and responses.

    def _go_on(self, ask: Callable[[], None]) -> None:
        # Forgotten before it is asked: the next stop may be told before the answer is seen here.
        with self._changed:
            before, self._stop = self._stop, None
        try:
            ask()
        except OperationError:
            with self._changed:
                self._stop = self._stop or before
            raise

    def _do(self, request: control_pb2.ControlRequest) -> None:
        self._ask(request, "done")

    def _ask(self, request: control_pb2.ControlRequest, wanted: str) -> control_pb2.ControlResult:
        with self._changed:
            pending = self._send(request, wanted)
            self._wait(lambda: pending.result is not None, None)
        return self._checked(pending)

    def _send(self, request: control_pb2.ControlRequest, wanted: str) -> _Pending:
        # Under the lock: requests go out in the order of their numbers.
        if self._closing:
            raise SessionEndedError("the session was closed")
        if self._end is not None:
            raise self._end
        self._last_id += 1
        request.id = self._last_id
        pending = self._pending[request.id] = _Pending(wanted)
        self._requests.put(request)
        return pending

    @staticmethod
    def _checked(pending: _Pending) -> control_pb2.ControlResult:
        assert pending.result is not None
        if pending.result.HasField("error"):
            raise OperationError(pending.result.error)
        return pending.result

    def _wait(self, condition: Callable[[], bool], timeout: Optional[float]) -> None:
        # What has come by the end of the session still counts.
        if not self._changed.wait_for(lambda: condition() or self._end is not None, timeout):
            raise TimeoutError("the machine did not come to it in time")
        if not condition():
            assert self._end is not None
            raise self._end

    def _read(self) -> None:
        """The thread that takes what the server sends."""
        end: Exception
        try:
            response: control_pb2.ControlResponse
            for response in self._call:
                with self._changed:
                    self._take(response)
                    self._changed.notify_all()
            end = SessionEndedError("the session has ended")
        except grpc.RpcError as error:
            end = SessionEndedError("the session was closed") if self._closing else call_error(error)
        except ProtocolError as error:
            end = error
        with self._changed:
            self._end = end
            self._changed.notify_all()
        # The thread of gRPC's that sends requests waits for the next one.
        self._requests.put(None)
        self._call.cancel()

    def _take(self, response: control_pb2.ControlResponse) -> None:
        content = response.WhichOneof("content")
        if content == "result":
            result = response.result
            pending = self._pending.pop(result.id, None)
            if pending is None:
                raise ProtocolError(f"the server answered request {result.id}, which waits for no answer")
            if result.WhichOneof("outcome") not in ("error", pending.wanted):
                raise ProtocolError(f"the server answered request {result.id} with something else than was asked for")
            pending.result = result
        elif content == "event":
            self._take_event(response.event)

    def _take_event(self, event: control_pb2.ControlEvent) -> None:
        if event.HasField("stopped"):
            self._stop = event.stopped
        elif event.HasField("trial") and event.trial.HasField("outcome"):
            self._decided = event.trial.outcome
        self._events.append(event)
        self._event_bytes += event.ByteSize()
        while len(self._events) > _MAX_EVENTS or self._event_bytes > _MAX_EVENT_BYTES:
            self._event_bytes -= self._events.popleft().ByteSize()
            self._lost_events += 1


def _guest_address(address: int, cpu: Optional[int]) -> control_pb2.GuestAddress:
    if cpu is None:
        return control_pb2.GuestAddress(physical_address=address)
    return control_pb2.GuestAddress(virtual_address=control_pb2.VirtualAddress(cpu=cpu, address=address))


def _duration(seconds: Optional[float]) -> Optional[duration_pb2.Duration]:
    if seconds is None:
        return None
    if not 0 <= seconds < 1 << 32:
        raise OptionsError(f"{seconds} s is no timeout")
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=int((seconds - whole) * 1_000_000_000))
