"""What the tests of the Python client share: folders, servers, and how a test program ends."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

SKIPPED = 77  # As SKIP_RETURN_CODE in CMakeLists.txt.

try:
    import grpc
    import google.protobuf
except ImportError as error:
    print(f"{error}: apt-get install python3-grpcio python3-protobuf")
    sys.exit(SKIPPED)

PROGRAM = os.environ.get("PANICROOM_PROGRAM", "")
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCENARIOS = Path(__file__).resolve().parents[3] / "scenarios"

SCENARIO = """name: one
workload: {cpu0: syscalls}
timeline:
  - {cpu: 0, at: workload, do: panic, message: x}
expect: {outcome: dumped}
"""


def main() -> None:
    """Runs the tests of the calling file. If all skip, the program does, with the reason as its last line."""
    result = unittest.main(module="__main__", exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == 0:
        sys.exit("there is no test")
    if len(result.skipped) >= result.testsRun:
        print(result.skipped[-1][1])
        sys.exit(SKIPPED)


class TestCase(unittest.TestCase):
    """Has a folder of its own; its path is short enough for unix sockets."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="panicroom-py"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


class Server:
    """`panicroom serve` in a process of its own."""

    def __init__(self, folder: Path, *options: str, path: Optional[Path] = None) -> None:
        runtime = folder / "runtime"
        runtime.mkdir(exist_ok=True)
        environment = dict(os.environ, XDG_RUNTIME_DIR=str(runtime))
        if path is not None:
            environment["PATH"] = f"{path}:{environment['PATH']}"
            environment["XDG_CACHE_HOME"] = str(folder / "cache")
        self.state = folder / "state"
        with open(folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", "--state", str(self.state), *options],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        # It says its addresses when it listens.
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError("the server did not start: " + (folder / "server.log").read_text())

    def end(self, number: int = signal.SIGINT) -> None:
        """By default without waiting for what is under way, as SIGTERM would."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


_numbers = itertools.count()


def serve_messages(test: TestCase, handlers: dict[str, Any]) -> str:
    """A server of gRPC's in this process, for what a real one does not do. Returns its address.

    `handlers`: by "Service/Method"; see grpc.unary_unary_rpc_method_handler and the like.
    """

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return handlers.get(details.method.removeprefix("/panicroom.v1."))

    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=(Handler(),))
    address = f"unix:{test.folder}/fake-{next(_numbers)}"
    server.add_insecure_port(address)
    server.start()
    test.addCleanup(lambda: server.stop(grace=None).wait())
    return address


def unary(request: Any, answer: Callable[[Any, Any], Any]) -> Any:
    """A handler of one request and one response."""
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


def stream(request: Any, answer: Callable[[Any, Any], Iterator[Any]]) -> Any:
    """A handler of one request and many responses."""
    return grpc.unary_stream_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


def both_ways(request: Any, answer: Callable[[Iterator[Any], Any], Iterator[Any]]) -> Any:
    """A handler of many requests and many responses."""
    return grpc.stream_stream_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


class Background:
    """Runs something in a thread; its result, or its exception, comes out of result()."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self._result: Any = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, args=(what,), daemon=True)
        self._thread.start()

    def _run(self, what: Callable[[], Any]) -> None:
        try:
            self._result = what()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


class WaitingApt:
    """A folder for PATH with an apt-get that never answers: a run that wants a kernel of Debian's waits for it.

    That is how a run is under way for as long as a test wants, without a guest.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        script = self.path / "apt-get"
        script.write_text(f"#!/bin/sh\necho begun >'{folder}/begun'\nread -r line <'{folder}/gate'\nexit 100\n")
        script.chmod(0o700)
        # Both ends of each: the script's ends open at once, and it waits for a line that does not come.
        self._fifos = []
        for name in ("begun", "gate"):
            os.mkfifo(folder / name)
            self._fifos.append(os.open(folder / name, os.O_RDWR))

    def wait(self) -> None:
        """Returns when a run has come to it."""
        os.read(self._fifos[0], len("begun\n"))

    def close(self) -> None:
        """Whoever still reads comes to the end."""
        while self._fifos:
            os.close(self._fifos.pop())
