"""The client against servers that do what a real one does not: lost answers, hostile names, wrong checksums."""

import hashlib
import os
import unittest
from pathlib import Path

import support
from support import TestCase, serve_messages, stream, unary

import grpc

from panicroom.v1 import (
    artifact_service_pb2 as artifacts,
    error_details_pb2,
    kernel_service_pb2 as kernels,
    run_events_pb2 as events,
    run_service_pb2 as runs,
)
from panicroom_client import (
    CallError,
    ChecksumError,
    Client,
    InvalidRequestError,
    LimitError,
    OptionsError,
    ProtocolError,
    ScenarioText,
    TlsFiles,
    UnavailableError,
)
from panicroom_client.errors import violations_of
from panicroom_client.names import is_plain_path, run_name


def event(sequence, ended=False):
    made = events.RunEvent(sequence=sequence)
    if ended:
        made.ended.state = events.RUN_STATE_FINISHED
    else:
        made.notice.text = str(sequence)
    return runs.WatchRunResponse(event=made)


class Addresses(unittest.TestCase):
    def test_plain_text_stays_on_this_host(self):
        for address in ("example.org:1", "10.0.0.1:1", "[2001:db8::1]:1", "0.0.0.0:1", "[::]:1", "127.0.0.1.example.org:1"):
            with self.assertRaisesRegex(OptionsError, "another host", msg=address):
                Client(address)
        for address in ("unix:/x", "127.0.0.1:1", "[::1]:1", "localhost:1"):
            Client(address).close()

    def test_what_is_no_address(self):
        for address in ("", "unix:", "unix:" + "x" * 108, "host", "host:", "host:x", "host:65536", "a b:1", "dns:///x:1", ":1"):
            with self.assertRaises(OptionsError, msg=address):
                Client(address)


class Tls(TestCase):
    def test_files_that_cannot_be_used(self):
        pem = self.folder / "x.pem"
        pem.write_text("-----BEGIN X-----\n")
        pem.chmod(0o644)
        with self.assertRaisesRegex(OptionsError, "open to everybody"):
            Client("localhost:1", TlsFiles(pem, pem, pem))
        with self.assertRaisesRegex(OptionsError, "No such file"):
            Client("localhost:1", TlsFiles(pem, pem, self.folder / "none"))
        with self.assertRaisesRegex(OptionsError, "is no file"):
            Client("localhost:1", TlsFiles(pem, pem, self.folder))


class Names(unittest.TestCase):
    def test_runs(self):
        self.assertEqual(run_name("17"), "runs/17")
        self.assertEqual(run_name("runs/17"), "runs/17")
        for text in ("", "0", "runs/0", "runs/017", "-1", "runs/1\n", "runs/1/artifacts/x", "1" * 20):
            with self.assertRaises(OptionsError, msg=text):
                run_name(text)

    def test_paths(self):
        for path in ("report.json", "6.1.0-56-cloud-amd64/one/1/console.log", "a/b+c~d:e_f"):
            self.assertTrue(is_plain_path(path), path)
        for path in ("", "/a", "../a", "a/../b", "a//b", "a/", "a/.b", "a\n", "a b", "-a", "é", "a\0", "/".join("a" * 17), "a" * 401):
            self.assertFalse(is_plain_path(path), path)


class Calls(TestCase):
    def test_violations_are_had_and_what_is_none_is_left(self):
        details = error_details_pb2.ErrorStatus(code=3, message="m")
        wrong = error_details_pb2.BadRequest()
        wrong.field_violations.add(field="options.repeat", description="\x1b[2Jmuch")
        details.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=wrong.SerializeToString())

        def start(request, context):
            context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "m")

        with Client(serve_messages(self, {"RunService/StartRun": unary(runs.StartRunRequest, start)})) as client:
            with self.assertRaises(InvalidRequestError) as raised:
                client.start_run(catalogue=["."])
        (violation,) = raised.exception.violations
        self.assertEqual((violation.field, violation.description), ("options.repeat", "\x1b[2Jmuch"))
        # Nothing that steers a terminal comes out of a traceback.
        self.assertIn("options.repeat: \\x1b[2Jmuch", str(raised.exception))
        self.assertEqual(violations_of(b"\xff\xff"), [])
        self.assertEqual(violations_of(b""), [])

    def test_a_lost_answer_starts_no_second_run(self):
        requests = []

        def start(request, context):
            requests.append(request)
            if len(requests) == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            return runs.StartRunResponse(run=runs.RunRecord(name="runs/1"))

        trouble = []
        address = serve_messages(self, {"RunService/StartRun": unary(runs.StartRunRequest, start)})
        with Client(address, on_trouble=trouble.append) as client:
            run = client.start_run([ScenarioText("one.yaml", support.SCENARIO)], repeat=2)
            client.start_run([ScenarioText("one.yaml", support.SCENARIO)], repeat=2)
        self.assertEqual(run.name, "runs/1")
        self.assertEqual(len(trouble), 1)
        self.assertEqual(requests[0], requests[1])
        self.assertRegex(requests[0].request_id, "^[0-9a-f]{32}$")
        self.assertNotEqual(requests[0].request_id, requests[2].request_id)

    def test_a_server_that_is_not_there_is_told_at_once(self):
        with Client(f"unix:{self.folder}/none", patience=3600) as client:
            with self.assertRaises(UnavailableError):
                client.start_run(catalogue=["."])
            with self.assertRaises(UnavailableError):
                list(client.list_runs())

    def test_pages(self):
        def answer(request, context):
            first = int(request.page_token or 0)
            token = str(first + 2) if first < 4 else ""
            return runs.ListRunsResponse(
                runs=[runs.RunRecord(name=f"runs/{9 - n}") for n in range(first, first + 2)], next_page_token=token
            )

        def endless(request, context):
            return kernels.ListKernelsResponse(next_page_token="again")

        handlers = {
            "RunService/ListRuns": unary(runs.ListRunsRequest, answer),
            "KernelService/ListKernels": unary(kernels.ListKernelsRequest, endless),
        }
        with Client(serve_messages(self, handlers)) as client:
            self.assertEqual([run.name for run in client.list_runs()], [f"runs/{n}" for n in (9, 8, 7, 6, 5, 4)])
            with self.assertRaisesRegex(ProtocolError, "same page"):
                list(client.list_kernels())


class Watching(TestCase):
    def watch(self, answer, after=0):
        asked = []

        def handler(request, context):
            asked.append(request.after_sequence)
            yield from answer(request, context)

        with Client(serve_messages(self, {"RunService/WatchRun": stream(runs.WatchRunRequest, handler)})) as client:
            try:
                return [e.sequence for e in client.watch("1", after)], asked
            except ProtocolError as error:
                return error, asked

    def test_goes_on_where_it_was_lost(self):
        def answer(request, context):
            for sequence in range(request.after_sequence + 1, 8):
                yield event(sequence, ended=sequence == 7)
                if sequence in (2, 3):
                    context.abort(grpc.StatusCode.UNAVAILABLE if sequence == 2 else grpc.StatusCode.CANCELLED, "gone")

        self.assertEqual(self.watch(answer), ([1, 2, 3, 4, 5, 6, 7], [0, 2, 3]))

    def test_begins_behind_an_event(self):
        def answer(request, context):
            if request.after_sequence < 5:
                yield event(5, ended=True)

        self.assertEqual(self.watch(answer, after=4), ([5], [4]))

    def test_nothing_is_left_behind_the_last(self):
        self.assertEqual(self.watch(lambda request, context: iter(()), after=5), ([], [5]))

    def test_a_stream_that_ends_early_is_an_error(self):
        self.assertIsInstance(self.watch(lambda request, context: iter(()))[0], ProtocolError)

    def test_gaps_and_doubles_are_errors(self):
        self.assertIsInstance(self.watch(lambda request, context: iter([event(1), event(3)]))[0], ProtocolError)

    def test_an_event_that_comes_twice_is_an_error(self):
        self.assertIsInstance(self.watch(lambda request, context: iter([event(1), event(1)]))[0], ProtocolError)

    def test_a_server_that_brings_nothing_is_given_up(self):
        asked = []

        def handler(request, context):
            asked.append(request)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

        with Client(serve_messages(self, {"RunService/WatchRun": stream(runs.WatchRunRequest, handler)})) as client:
            with self.assertRaises(UnavailableError):
                list(client.watch("1"))
        self.assertEqual(len(asked), 21)

    def test_other_errors_are_not_tried_again(self):
        def handler(request, context):
            context.abort(grpc.StatusCode.DATA_LOSS, "lost")

        with Client(serve_messages(self, {"RunService/WatchRun": stream(runs.WatchRunRequest, handler)})) as client:
            with self.assertRaises(CallError) as raised:
                list(client.watch("1"))
        self.assertEqual(raised.exception.code, grpc.StatusCode.DATA_LOSS)


class Fetching(TestCase):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.content = os.urandom(100_000)
        self.asked = []

    def client(self, names, download=None):
        def names_of(request, context):
            return artifacts.ListArtifactsResponse(artifacts=[artifacts.Artifact(name=name) for name in names])

        def parts(request, context):
            self.asked.append(request.offset)
            yield from (download or self.honest)(request, context)

        client = Client(
            serve_messages(
                self,
                {
                    "ArtifactService/ListArtifacts": unary(artifacts.ListArtifactsRequest, names_of),
                    "ArtifactService/DownloadArtifact": stream(artifacts.DownloadArtifactRequest, parts),
                },
            )
        )
        self.addCleanup(client.close)
        return client

    def honest(self, request, context):
        for at in range(request.offset, len(self.content), 30_000):
            yield artifacts.DownloadArtifactResponse(chunk=self.content[at : at + 30_000])
        yield self.digest()

    def digest(self, size=None, content=None):
        digest = hashlib.sha256(self.content if content is None else content).digest()
        return artifacts.DownloadArtifactResponse(
            digest=artifacts.ArtifactDigest(size_bytes=len(self.content) if size is None else size, sha256=digest)
        )

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def refuse(self, error, names=("runs/1/artifacts/a",), download=None, **options):
        with self.assertRaises(error, msg=names):
            self.client(names, download).fetch("1", self.out, **options)
        self.assertEqual(self.files(), [], names)

    def test_whole_files(self):
        told = []
        names = ["runs/1/artifacts/a/b/c.log", "runs/1/artifacts/report.json"]
        fetched = self.client(names).fetch("1", self.out, on_file=told.append)
        self.assertEqual(told, ["a/b/c.log", "report.json"])
        self.assertEqual(fetched, [self.out / "a/b/c.log", self.out / "report.json"])
        self.assertEqual(self.files(), ["out/a/b/c.log", "out/report.json"])
        for path in fetched:
            self.assertEqual(path.read_bytes(), self.content)

    def test_goes_on_where_it_was_lost(self):
        def download(request, context):
            for part in self.honest(request, context):
                yield part
                if request.offset < 60_000 and part.HasField("chunk"):
                    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

        (path,) = self.client(["runs/1/artifacts/a"], download).fetch("1", self.out)
        self.assertEqual(path.read_bytes(), self.content)
        self.assertEqual(self.asked, [0, 30_000, 60_000])

    def test_wrong_checksums(self):
        for wrong in (self.digest(content=b"x"), self.digest(size=1)):

            def download(request, context, wrong=wrong):
                yield artifacts.DownloadArtifactResponse(chunk=self.content)
                yield wrong

            self.refuse(ChecksumError, download=download)

    def test_an_older_file_stays_if_the_new_one_does_not_arrive(self):
        self.out.mkdir()
        (self.out / "a").write_text("before")
        with self.assertRaises(ProtocolError):
            self.client(["runs/1/artifacts/a"], lambda request, context: iter(())).fetch("1", self.out)
        self.assertEqual((self.out / "a").read_text(), "before")
        self.assertEqual(self.files(), ["out/a"])

    def test_names_that_lead_elsewhere(self):
        for path in ("../evil", "/etc/evil", "a/../../evil", "a//b", "", ".", "..", ".hidden", "a/.", "a\0b", "a\\..\\b\n"):
            self.refuse(ProtocolError, ["runs/1/artifacts/" + path])
        for name in ("runs/2/artifacts/a", "a", "runs/1/a", "../runs/1/artifacts/a"):
            self.refuse(ProtocolError, [name])
        # And nothing of the good ones before it.
        self.refuse(ProtocolError, ["runs/1/artifacts/good", "runs/1/artifacts/../evil"])

    def test_links_are_not_followed(self):
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        self.out.mkdir()
        (self.out / "link").symlink_to(elsewhere)
        self.refuse(OSError, ["runs/1/artifacts/link/evil"])
        target = self.folder / "target"
        target.write_text("mine")
        (self.out / "file").symlink_to(target)
        self.client(["runs/1/artifacts/file"]).fetch("1", self.out)
        self.assertEqual(target.read_text(), "mine")
        self.assertEqual((self.out / "file").read_bytes(), self.content)

    def test_more_than_is_wanted(self):
        self.refuse(LimitError, max_bytes=len(self.content) - 1)
        self.refuse(ProtocolError, download=lambda request, context: iter([artifacts.DownloadArtifactResponse(chunk=b"")] * 9))


class ScenarioFiles(TestCase):
    def test_files_folders_and_texts(self):
        (self.folder / "tree/sub").mkdir(parents=True)
        for name in ("tree/b.yaml", "tree/sub/a.yml", "tree/none.txt", "-odd name.yaml"):
            (self.folder / name).write_text(name)
        asked = []

        def start(request, context):
            asked.append(request)
            return runs.StartRunResponse(run=runs.RunRecord(name="runs/1"))

        with Client(serve_messages(self, {"RunService/StartRun": unary(runs.StartRunRequest, start)})) as client:
            client.start_run(
                [self.folder / "tree", str(self.folder / "-odd name.yaml"), ScenarioText("t.yaml", "text")],
                catalogue=["seed"],
                kernels=["host"],
                tiers=["all"],
                jobs=3,
            )
            for wrong in (self.folder / "gone.yaml", self.folder / "tree/sub/../../none"):
                with self.assertRaises(OptionsError):
                    client.start_run([wrong])
            (self.folder / "large.yaml").write_bytes(b"x" * (256 * 1024 + 1))
            (self.folder / "binary.yaml").write_bytes(b"\xff")
            for wrong in ("large.yaml", "binary.yaml"):
                with self.assertRaises(OptionsError):
                    client.start_run([self.folder / wrong])
        (request,) = asked
        self.assertEqual([file.yaml for file in request.scenario_files], ["tree/b.yaml", "tree/sub/a.yml", "-odd name.yaml", "text"])
        self.assertEqual([file.named for file in request.scenario_files], [False, False, True, True])
        for file in request.scenario_files:
            self.assertTrue(is_plain_path(file.path), file.path)
        self.assertEqual(len({file.path for file in request.scenario_files}), 4)
        self.assertEqual((request.catalogue, request.options.kernels, request.options.tiers), (["seed"], ["host"], ["all"]))
        self.assertEqual(request.options.jobs, 3)


if __name__ == "__main__":
    support.main()
