"""The service as its clients see it."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Type, Union

import grpc

from panicroom.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    control_pb2,
    control_service_pb2_grpc,
    host_service_pb2,
    host_service_pb2_grpc,
    kernel_service_pb2,
    kernel_service_pb2_grpc,
    run_events_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)

from .addresses import TlsFiles, credentials
from .control import ControlSession
from .downloads import Folder, PartialFile
from .errors import LimitError, PanicroomError, ProtocolError, call_error, printable
from .names import artifact_parts, run_name
from .scenarios import Scenarios, scenario_files

_ANSWER_SECONDS = 60.0  # For an answer that takes the server no time.
_CANCEL_SECONDS = 10.0
_MAX_IDLE_ATTEMPTS = 20  # Connections that bring nothing, one behind the other.
_DROPPED_SECONDS = 0.1
_MAX_FILES = 100_000
_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    # Soon after the server is back, not after ever longer pauses.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # The server is named as it is reached.
    ("grpc.enable_http_proxy", 0),
)



def _lost(error: grpc.RpcError) -> bool:
    # The connection or the server went away, which is nothing about the call. A server that shuts down cancels what is
    # under way.
    code: Any = error
    return code.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Client:
    """A server of panicroom's. Does not connect before the first call. Thread-safe.

    `address` is what the server prints when it listens: "unix:PATH" or "HOST:PORT". `tls` is needed for addresses of
    other hosts. OptionsError if either is wrong.

    `patience` is how many seconds a server may be away, in a restart for one, before watch(), fetch() and start_run()
    give up; `on_trouble` is told when a connection is lost.
    """

    def __init__(
        self,
        address: str,
        tls: Optional[TlsFiles] = None,
        *,
        patience: float = 300.0,
        on_trouble: Optional[Callable[[str], None]] = None,
    ) -> None:
        secure = credentials(address, tls)
        self.address = address
        self._patience = patience
        self._on_trouble = on_trouble or (lambda what: None)
        self._closed = False
        self._channel: grpc.Channel = (
            grpc.insecure_channel(address, options=_OPTIONS)
            if secure is None
            else grpc.secure_channel(address, secure, options=_OPTIONS)
        )
        self._runs = run_service_pb2_grpc.RunServiceStub(self._channel)
        self._artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self._channel)
        self._kernels = kernel_service_pb2_grpc.KernelServiceStub(self._channel)
        self._host = host_service_pb2_grpc.HostServiceStub(self._channel)
        self._health = self._channel.unary_unary("/grpc.health.v1.Health/Check")
        self._control = control_service_pb2_grpc.ControlServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call that is under way. Runs go on."""
        self._closed = True
        self._channel.close()

    # --- Runs.

    def start_run(
        self,
        scenarios: Scenarios = (),
        *,
        catalogue: Iterable[str] = (),
        kernels: Iterable[str] = (),
        capture_kernel: str = "",
        engine: str = "",
        tiers: Iterable[str] = (),
        repeat: int = 0,
        jobs: int = 0,
        request_id: Optional[str] = None,
    ) -> run_service_pb2.RunRecord:
        """Queues a run of scenario files, folders of them and ScenarioTexts, and of names in the server's catalogue.

        The request has a mark of its own, so that asking again after a lost connection cannot start a second run; a
        caller that wants to ask again itself, in another process, gives the mark. The options are those of `panicroom
        run`, left to the server if they are empty or 0.
        """
        request = run_service_pb2.StartRunRequest(
            scenario_files=scenario_files(scenarios),
            catalogue=catalogue,
            options=run_service_pb2.RunOptions(
                tiers=tiers,
                kernels=kernels,
                capture_kernel=capture_kernel,
                engine=engine,
                repeat=repeat,
                jobs=jobs,
            ),
            request_id=request_id or secrets.token_hex(16),
        )
        # Whoever names no server at all is to know at once; from then on it is a connection that was lost.
        self._connect(patient=False)
        attempts = 0
        while True:
            try:
                response: run_service_pb2.StartRunResponse = self._runs.StartRun(request, timeout=_ANSWER_SECONDS)
                return response.run
            except grpc.RpcError as error:
                attempts += 1
                self._go_on_or_raise(error, attempts)

    def get_run(self, name: str) -> run_service_pb2.RunRecord:
        """What is known of a run: "runs/17", or "17"."""
        request = run_service_pb2.GetRunRequest(name=run_name(name))
        response: run_service_pb2.GetRunResponse = self._ask(self._runs.GetRun, request)
        return response.run

    def list_runs(self, state: int = run_events_pb2.RUN_STATE_UNSPECIFIED) -> Iterator[run_service_pb2.RunRecord]:
        """The runs, the newest first, page by page as they are taken; only those in that state, if one is given."""
        request = run_service_pb2.ListRunsRequest(state=state)  # type: ignore[arg-type]
        page: run_service_pb2.ListRunsResponse
        for page in self._pages(self._runs.ListRuns, request):
            yield from page.runs

    def cancel_run(self, name: str) -> run_service_pb2.RunRecord:
        """Ends a run. One that is being carried out takes a moment: watch it to know."""
        request = run_service_pb2.CancelRunRequest(name=run_name(name))
        response: run_service_pb2.CancelRunResponse = self._ask(self._runs.CancelRun, request, _CANCEL_SECONDS)
        return response.run

    def watch(self, name: str, after: int = 0) -> Iterator[run_events_pb2.RunEvent]:
        """The run's events behind number `after`, each once and in order, while they happen; up to `ended`.

        Goes on through lost connections and restarts of the server.
        """
        request = run_service_pb2.WatchRunRequest(name=run_name(name), after_sequence=after)
        attempts = 0
        while True:
            call = self._runs.WatchRun(request)
            try:
                while True:
                    try:
                        event: run_events_pb2.RunEvent = next(call).event
                    except StopIteration:
                        # A caller that has the last event already gets none, and that is right.
                        if request.after_sequence == after > 0:
                            return
                        raise ProtocolError("the server ended the stream before the run had ended") from None
                    except grpc.RpcError as error:
                        attempts += 1
                        self._go_on_or_raise(error, attempts)
                        break
                    if event.sequence != request.after_sequence + 1:
                        raise ProtocolError(
                            f"the server sent event {event.sequence} behind event {request.after_sequence}"
                        )
                    request.after_sequence = event.sequence
                    attempts = 0
                    yield event
                    if event.HasField("ended"):
                        return
            finally:
                call.cancel()

    # --- Files.

    def fetch(
        self,
        name: str,
        folder: Union[str, "os.PathLike[str]"],
        *,
        on_file: Optional[Callable[[str], None]] = None,
        max_bytes: int = 64 << 30,
    ) -> list[Path]:
        """Every file of the run into `folder`, each whole and as its checksum says, or not at all.

        `on_file` is told which is next. LimitError if they have more than `max_bytes` in all. Returns the files' paths.
        """
        run = run_name(name)
        # All names before anything is written: a server that means harm is not half believed.
        files = [(artifact, artifact_parts(run, artifact)) for artifact in self._list_artifacts(run)]
        fetched: list[Path] = []
        left = max_bytes
        with Folder(os.fspath(folder)) as target:
            for artifact, parts in files:
                if on_file is not None:
                    on_file("/".join(parts))
                with PartialFile(target, parts) as file:
                    self._download(artifact, file, left)
                    left -= file.size
                fetched.append(Path(folder, *parts))
        return fetched

    def _list_artifacts(self, run: str) -> list[str]:
        names: list[str] = []
        request = artifact_service_pb2.ListArtifactsRequest(parent=run)
        page: artifact_service_pb2.ListArtifactsResponse
        for page in self._pages(self._artifacts.ListArtifacts, request):
            names += [artifact.name for artifact in page.artifacts]
            if len(names) > _MAX_FILES:
                raise LimitError(f"{run} has more than {_MAX_FILES} files")
        return names

    def _download(self, artifact: str, file: PartialFile, limit: int) -> None:
        attempts = 0
        while True:
            call = self._artifacts.DownloadArtifact(
                artifact_service_pb2.DownloadArtifactRequest(name=artifact, offset=file.size)
            )
            try:
                part: artifact_service_pb2.DownloadArtifactResponse
                for part in call:
                    if part.HasField("digest"):
                        file.finish(part.digest)
                        return
                    if not part.chunk:
                        raise ProtocolError(f"the server sent an empty piece of {artifact}")
                    if file.size + len(part.chunk) > limit:
                        raise LimitError(f"the run's files have more bytes than are wanted; the next is {artifact}")
                    attempts = 0
                    file.append(part.chunk)
                raise ProtocolError(f"the server sent no checksum for {artifact}")
            except grpc.RpcError as error:
                attempts += 1
                self._go_on_or_raise(error, attempts)
            finally:
                call.cancel()

    # --- The host.

    def list_kernels(self) -> Iterator[kernel_service_pb2.Kernel]:
        """The kernels that the server has cached, the newest release first."""
        page: kernel_service_pb2.ListKernelsResponse
        for page in self._pages(self._kernels.ListKernels, kernel_service_pb2.ListKernelsRequest()):
            yield from page.kernels

    def host(self) -> host_service_pb2.GetHostResponse:
        """What `panicroom doctor` measured when the server started."""
        response: host_service_pb2.GetHostResponse = self._ask(self._host.GetHost, host_service_pb2.GetHostRequest())
        return response

    # --- Interactive control.

    def control(
        self,
        *,
        kernel: str = "",
        capture_kernel: str = "",
        engine: str = "",
        machine: Optional[control_pb2.ControlMachine] = None,
        kernel_cmdline: str = "",
        workload: Optional[Mapping[str, str]] = None,
        unfix: Iterable[str] = (),
        stop_ipi: Iterable[control_pb2.ControlStopIpi] = (),
    ) -> ControlSession:
        """Boots a machine and returns when its kernel has kdump armed, which takes from seconds to minutes.

        The machine ends with the session: use it as a context manager.
        """
        return ControlSession(
            self._control.Control,
            control_pb2.OpenOperation(
                kernel=kernel,
                capture_kernel=capture_kernel,
                engine=engine,
                machine=machine,
                kernel_cmdline=kernel_cmdline,
                workload=workload,
                unfix=unfix,
                stop_ipi=stop_ipi,
            ),
        )

    # --- Calls.

    def _ask(self, method: Any, request: object, seconds: float = _ANSWER_SECONDS) -> Any:
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise call_error(error) from None

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        while True:
            page = self._ask(method, request)
            yield page
            if not page.next_page_token:
                return
            if page.next_page_token == request.page_token:
                raise ProtocolError("the server sends the same page for ever")
            request.page_token = page.next_page_token

    def _go_on_or_raise(self, error: grpc.RpcError, attempts: int) -> None:
        """Returns when the call can be made again, once the server is back. Raises if that makes no sense."""
        if self._closed:
            raise PanicroomError("the client was closed") from None
        if not _lost(error):
            raise call_error(error) from None
        self._on_trouble(printable(str(call_error(error))))
        if attempts > _MAX_IDLE_ATTEMPTS:
            raise call_error(error) from None
        self._connect(patient=True)

    def _connect(self, patient: bool) -> None:
        """Returns when the server answers; one that is away is waited for as long as the client is patient."""
        until = time.monotonic() + self._patience
        while True:
            try:
                # Any answer will do, also that of a server without this service. Of the channel's own states a thread of
                # gRPC's would tell, which does not end with the channel.
                self._health(b"", timeout=max(until - time.monotonic(), 0.001), wait_for_ready=patient)
                return
            except grpc.RpcError as error:
                code: Any = error
                if code.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    return
                if not patient or time.monotonic() >= until:
                    raise call_error(error) from None
                # gRPC has waited, unless something there takes connections and drops them.
                time.sleep(_DROPPED_SECONDS)
