"""The client and its example for CI against `panicroom serve`, with runs that need no guest."""

import os
import signal
import socket
import subprocess
import sys
import threading

import support
from support import EXAMPLES, SCENARIO, Background, Server, TestCase, WaitingApt

import grpc

from panicroom.v1 import run_events_pb2 as events
from panicroom_client import (
    CallError,
    Client,
    DeniedError,
    InvalidRequestError,
    NotFoundError,
    OptionsError,
    OutOfRangeError,
    PanicroomError,
    ScenarioText,
    TlsFiles,
    UnavailableError,
)

ONE = ScenarioText("one.yaml", SCENARIO)
NEVER = "debian:bookworm/cloud-amd64"  # Of an archive that does not answer: see WaitingApt.


class ServeTest(TestCase):
    def serve(self, *options, **more):
        kernels = self.folder / "kernels"
        kernels.mkdir(exist_ok=True)
        self.kernel = kernels / "bzImage"
        self.kernel.write_text("none")
        server = Server(self.folder, "--allow-kernels", str(kernels), *options, **more)
        self.addCleanup(server.end)
        self.server = server
        return server

    def waiting_run(self, **options):
        """A client, and a run that is under way until `self.apt` is closed: its second kernel has to be fetched."""
        self.apt = WaitingApt(self.folder)
        self.addCleanup(self.apt.close)
        client = self.client(self.serve(path=self.apt.path), **options)
        running = client.start_run([ONE], kernels=[str(self.kernel), NEVER])
        self.apt.wait()
        return client, running

    def client(self, server, **options):
        client = Client(server.address, **options)
        self.addCleanup(client.close)
        return client

    def failing_run(self, client, **options):
        """A run whose kernel is none: it ends soon, without a guest."""
        return client.start_run([ONE], kernels=[str(self.kernel)], **options)


class Runs(ServeTest):
    def test_mistakes(self):
        client = self.client(self.serve())
        bad = self.folder / "bad.yaml"
        bad.write_text("name: one\nwhat: 1\n")
        with self.assertRaises(InvalidRequestError) as raised:
            client.start_run([ONE], kernels=["/etc/passwd"], engine="none")
        self.assertEqual(raised.exception.code, grpc.StatusCode.INVALID_ARGUMENT)
        fields = [violation.field for violation in raised.exception.violations]
        self.assertEqual(fields, ["options.engine", "options.kernels[0]"])
        with self.assertRaises(InvalidRequestError) as raised:
            client.start_run([ONE, bad])
        self.assertEqual({violation.field for violation in raised.exception.violations}, {"scenario_files[1].yaml"})
        self.assertRegex(raised.exception.violations[0].description, r"bad\.yaml:\d+:\d+: error: ")
        self.assertEqual(list(client.list_runs()), [])
        with self.assertRaises(NotFoundError):
            client.get_run("1")
        with self.assertRaises(NotFoundError):
            list(client.watch("1"))
        with self.assertRaises(NotFoundError):
            client.fetch("1", self.folder / "out")
        with self.assertRaises(OptionsError):
            client.get_run("nonsense")

    def test_a_run_and_its_files(self):
        server = self.serve()
        client = self.client(server)
        run = self.failing_run(client)
        self.assertEqual(run.name, "runs/1")
        watched = list(client.watch(run.name))
        self.assertEqual([event.sequence for event in watched], list(range(1, len(watched) + 1)))
        ended = watched[-1].ended
        self.assertEqual(ended.state, events.RUN_STATE_FAILED)
        self.assertIn("bzImage", ended.error)
        self.assertEqual(client.get_run("1").state, events.RUN_STATE_FAILED)
        self.assertEqual(list(client.watch("1", after=len(watched) - 1))[0].ended, ended)
        self.assertEqual(list(client.watch("1", after=len(watched))), [])
        with self.assertRaises(OutOfRangeError):
            list(client.watch("1", after=len(watched) + 1))

        content = os.urandom(3 << 20)
        out = server.state / "runs/1/out"
        (out / "6.1/one/1").mkdir(parents=True)
        (out / "6.1/one/1/dump").write_bytes(content)
        (out / "report.json").write_text("{}")
        fetched = client.fetch("1", self.folder / "out")
        self.assertEqual(fetched, [self.folder / "out/6.1/one/1/dump", self.folder / "out/report.json"])
        self.assertEqual([path.read_bytes() for path in fetched], [content, b"{}"])

        self.assertNotEqual(client.host().host.kernel_release, "")
        self.assertEqual([kernel for kernel in client.list_kernels() if not kernel.reference.startswith("debian:")], [])

    def test_a_mark_makes_one_run_of_two_requests(self):
        client = self.client(self.serve())
        first = self.failing_run(client, request_id="a-mark")
        self.assertEqual(self.failing_run(client, request_id="a-mark").name, first.name)
        with self.assertRaises(InvalidRequestError) as raised:
            self.failing_run(client, request_id="a-mark", repeat=2)
        self.assertEqual([violation.field for violation in raised.exception.violations], ["request_id"])
        self.assertEqual(self.failing_run(client).name, "runs/2")
        self.assertEqual([run.name for run in client.list_runs()], ["runs/2", "runs/1"])

    def test_a_lost_answer_starts_no_second_run(self):
        server = self.serve()
        through = AnswerLoser(server.address.removeprefix("unix:"), b"runs/1")
        self.addCleanup(through.close)
        trouble = []
        with Client(through.address, on_trouble=trouble.append) as client:
            self.assertEqual(self.failing_run(client).name, "runs/1")
        self.assertEqual(len(trouble), 1)
        self.assertEqual([run.name for run in self.client(server).list_runs()], ["runs/1"])

    def test_cancelling(self):
        client, running = self.waiting_run()
        watched = client.watch(running.name)
        next(watched)
        queued = self.failing_run(client)
        self.assertEqual([run.name for run in client.list_runs(events.RUN_STATE_QUEUED)], [queued.name])
        self.assertEqual(client.cancel_run(queued.name).state, events.RUN_STATE_CANCELLED)
        client.cancel_run(running.name)
        self.apt.close()
        self.assertEqual(list(watched)[-1].ended.state, events.RUN_STATE_CANCELLED)
        with self.assertRaises(NotFoundError):
            client.cancel_run("3")

    def test_watching_goes_on_through_a_killed_server(self):
        lost = threading.Event()
        client, running = self.waiting_run(on_trouble=lambda what: lost.set())
        queued = self.failing_run(client)
        watched = client.watch(running.name)
        got = [next(watched), next(watched), next(watched)]
        watching = Background(lambda: list(client.watch(queued.name)))
        self.server.end(signal.SIGKILL)
        # The run's process is told by the kernel, and does not end an apt-get that it waits for.
        self.apt.close()
        lost.wait()
        self.serve(path=self.apt.path)
        got += watched
        self.assertEqual([event.sequence for event in got], list(range(1, len(got) + 1)))
        self.assertGreater(len(got), 4)
        self.assertEqual(got[-1].ended.state, events.RUN_STATE_INTERRUPTED)
        of_queued = watching.result()
        self.assertEqual([event.sequence for event in of_queued], list(range(1, len(of_queued) + 1)))
        self.assertEqual(of_queued[-1].ended.state, events.RUN_STATE_FAILED)

    def test_a_closed_client_ends_what_it_was_doing(self):
        client, running = self.waiting_run()
        watched = client.watch(running.name)
        next(watched)
        watching = Background(lambda: list(watched))
        client.close()
        with self.assertRaisesRegex(PanicroomError, "the client was closed"):
            watching.result()


class AnswerLoser:
    """Stands between a client and a server, and drops the connection instead of the first answer with that text."""

    def __init__(self, target, text):
        self._target = target
        self._text = text
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._sockets = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        # Wakes the thread, which close() would not.
        self._listening.shutdown(socket.SHUT_RDWR)
        for end in self._sockets:
            end.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._sockets += [near, far]
            threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source, sink, answers):
        try:
            while data := source.recv(1 << 16):
                if answers and self._text and self._text in data:
                    self._text = b""
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Authority:
    """A certificate authority of the test's."""

    def __init__(self, folder):
        folder.mkdir()
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._openssl("req", "-x509", "-subj", f"/CN={folder.name}", "-keyout", folder / "ca.key", "-out", self.ca)

    def _openssl(self, *arguments):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "1"]
        subprocess.run(["openssl", *map(str, arguments), *key], check=True, capture_output=True)

    def issue(self, name, ca=None):
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        signed_by = ["-CA", self.ca, "-CAkey", self._folder / "ca.key"]
        names = ["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
        self._openssl("req", "-x509", "-subj", f"/CN={name}", *names, *signed_by, "-keyout", key, "-out", certificate)
        key.chmod(0o600)
        return TlsFiles(certificate, key, ca or self.ca)


class Tls(ServeTest):
    def test_certificates(self):
        lab, foreign = Authority(self.folder / "lab"), Authority(self.folder / "foreign")
        own = lab.issue("localhost")
        roles = self.folder / "clients.yaml"
        roles.write_text("clients: {ci.example.org: run, seer.example.org: view}\n")
        server = self.serve(
            "--listen=localhost:0",
            *(f"--tls-{what}={path}" for what, path in (("certificate", own.certificate), ("key", own.key), ("ca", own.ca))),
            f"--clients={roles}",
        )
        client = self.client(server, tls=lab.issue("ci.example.org"))
        run = self.failing_run(client)
        self.assertEqual(run.client, "ci.example.org")
        self.assertEqual(list(client.watch(run.name))[-1].ended.state, events.RUN_STATE_FAILED)
        seer = self.client(server, tls=lab.issue("seer.example.org"))
        self.assertEqual(seer.get_run(run.name).name, run.name)
        with self.assertRaises(DeniedError):
            self.failing_run(seer)
        with self.assertRaises(DeniedError):
            self.client(server, tls=lab.issue("stranger.example.org")).get_run(run.name)
        for why, tls in (
            ("plain text", None),
            ("a certificate of another authority", foreign.issue("ci.example.org", ca=lab.ca)),
            ("a server of another authority", lab.issue("ci.example.org", ca=foreign.ca)),
        ):
            with self.assertRaises(UnavailableError, msg=why):
                self.failing_run(self.client(server, tls=tls))


class RunCatalogue(ServeTest):
    def start(self, server, *arguments):
        return subprocess.Popen(
            [sys.executable, "-B", EXAMPLES / "run_catalogue.py", "--server", server.address]
            + ["--out", self.folder / "out", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_it(self, server, *arguments):
        program = self.start(server, *arguments)
        out, err = program.communicate()
        return program.returncode, out, err

    def test_what_is_wrong(self):
        server = self.serve()
        status, out, err = self.run_it(server, "catalogue:none")
        self.assertEqual(status, 2, err)
        self.assertIn("catalogue[0]: the server has no catalogue", err)
        self.assertEqual(self.run_it(server, self.folder / "none.yaml")[0], 2)
        self.assertEqual(self.run_it(server)[0], 2)
        server.end()
        status, out, err = self.run_it(server, "catalogue:.")
        self.assertEqual(status, 3, err)

    def test_a_run_that_cannot_be_carried_out(self):
        catalogue = self.folder / "catalogue"
        (catalogue / "sub").mkdir(parents=True)
        (catalogue / "sub/one.yaml").write_text(SCENARIO)
        server = self.serve(f"--catalogue={catalogue}")
        status, out, err = self.run_it(server, "--kernel", self.kernel, "catalogue:sub")
        self.assertEqual(status, self.client(server).get_run("1").exit_status, err)
        self.assertNotEqual(status, 0)
        self.assertIn("runs/1 failed: ", out)
        self.assertIn("0 passed, 0 failed, 0 errors, 0 skipped", out)

    def test_ctrl_c_cancels_the_run(self):
        self.apt = WaitingApt(self.folder)
        self.addCleanup(self.apt.close)
        server = self.serve(path=self.apt.path)
        scenario = self.folder / "one.yaml"
        scenario.write_text(SCENARIO)
        program = self.start(server, "--kernel", self.kernel, "--kernel", NEVER, scenario)
        self.apt.wait()
        program.send_signal(signal.SIGINT)
        said = ""
        for line in program.stdout:
            said += line
            if line == "runs/1 is being cancelled\n":
                break
        self.apt.close()
        out, err = program.communicate()
        self.assertEqual(program.returncode, 130, said + out + err)
        self.assertIn("runs/1 cancelled", out)


if __name__ == "__main__":
    if not support.PROGRAM:
        print("PANICROOM_PROGRAM does not name a built panicroom")
        sys.exit(support.SKIPPED)
    support.main()
