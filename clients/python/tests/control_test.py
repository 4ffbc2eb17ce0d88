"""Sessions of interactive control against servers of the test's own: what is asked, and what becomes of the answers."""

import unittest

import support
from support import Background, TestCase, both_ways, serve_messages

import grpc

from panicroom.v1 import control_pb2 as control, report_pb2 as report
from panicroom_client import (
    CallError,
    Client,
    ExhaustedError,
    InvalidRequestError,
    OperationError,
    OptionsError,
    OutcomeError,
    ProtocolError,
    SessionEndedError,
    StoppedError,
)


def result(request, **outcome):
    return control.ControlResponse(result=control.ControlResult(id=request.id, **outcome))


def done(request):
    return result(request, done=control.DoneResult())


def opened(request):
    return result(request, opened=control.OpenResult(kernel_release="6.1", vcpus=2))


def stopped(number, cpu=0):
    return control.ControlResponse(
        event=control.ControlEvent(stopped=control.MachineStopped(breakpoint=number, cpu=cpu, place="panic\x1b"))
    )


def decided(outcome=report.OUTCOME_RESET):
    response = control.ControlResponse()
    response.event.trial.outcome.outcome = outcome
    return response


class ControlTest(TestCase):
    def serve(self, answer):
        """A session whose server answers `open`, and everything else with what `answer(request)` yields."""
        self.requests = []

        def handler(requests, context):
            for request in requests:
                self.requests.append(request)
                if request.HasField("open"):
                    yield opened(request)
                else:
                    yield from answer(request)

        return self.client(handler).control(kernel="host", unfix=["panic-gate"], workload={"cpu0": "syscalls"})

    def client(self, handler):
        client = Client(serve_messages(self, {"ControlService/Control": both_ways(control.ControlRequest, handler)}))
        self.addCleanup(client.close)
        return client

    def test_what_is_asked(self):
        def answer(request):
            operation = request.WhichOneof("operation")
            yield {
                "add_breakpoint": lambda: result(request, breakpoint_added=control.AddBreakpointResult(breakpoint=7)),
                "read_registers": lambda: result(request, registers=control.VcpuRegisters(rip=5)),
                "read_memory": lambda: result(request, memory=control.ReadMemoryResult(data=b"abcd")),
                "look_up_symbol": lambda: result(request, symbol=control.LookUpSymbolResult(name="panic")),
            }.get(operation, lambda: done(request))()

        with self.serve(answer) as machine:
            self.assertEqual(machine.opened.vcpus, 2)
            self.assertEqual(machine.add_breakpoint("panic", [1]).breakpoint, 7)
            machine.add_breakpoint(0x1000)
            machine.remove_breakpoint(7)
            self.assertEqual(machine.read_registers(1).rip, 5)
            machine.write_registers(1, control.VcpuRegisters(rax=0))
            self.assertEqual(machine.read_memory(0x2000, 4, cpu=1), b"abcd")
            with self.assertRaises(ProtocolError):
                machine.read_memory(0x2000, 5, cpu=None)
            machine.write_memory(0x2000, b"x", cpu=None)
            self.assertEqual(machine.look_up("panic").name, "panic")
            machine.look_up(0x3000)
            machine.hold(1)
            machine.release(1)
            machine.step(0, 3)
            machine.panic(0, "first")
            machine.oops(0)
            machine.nmi(1)
            machine.mce(0, bank=0)
            machine.irqs_off(0, lasts="1s")
            machine.spin(0, until="panic")
            machine.skip(0)
            machine.set_stop_ipi([control.ControlStopIpi(deliver="drop")])
            machine.snapshot("here")
            machine.restore("here")
            machine.resume()
            machine.pause()
        self.assertEqual([request.id for request in self.requests], list(range(1, len(self.requests) + 1)))
        self.assertEqual(self.requests[0].open.unfix, ["panic-gate"])
        self.assertEqual(dict(self.requests[0].open.workload), {"cpu0": "syscalls"})
        wanted = """
            add_breakpoint {point: "panic" cpus: 1}
            add_breakpoint {address: 4096}
            remove_breakpoint {breakpoint: 7}
            read_registers {cpu: 1}
            write_registers {cpu: 1 registers {rax: 0}}
            read_memory {at {virtual_address {cpu: 1 address: 8192}} length: 4}
            read_memory {at {physical_address: 8192} length: 5}
            write_memory {at {physical_address: 8192} data: "x"}
            look_up_symbol {name: "panic"}
            look_up_symbol {address: 12288}
            set_held {cpu: 1 held: true}
            set_held {cpu: 1}
            step {count: 3}
            inject {cpu: 0 panic {message: "first"}}
            inject {oops {}}
            inject {cpu: 1 nmi {}}
            inject {mce {bank: 0}}
            inject {irqs_off {lasts: "1s"}}
            inject {spin {until: "panic"}}
            inject {skip {}}
            set_stop_ipi {rules {deliver: "drop"}}
            take_snapshot {name: "here"}
            restore_snapshot {name: "here"}
            resume {}
            pause {}"""
        from google.protobuf import text_format

        for line, request in zip(wanted.split("\n")[1:], self.requests[1:], strict=True):
            asked = text_format.Parse(line, control.ControlRequest(id=request.id))
            self.assertEqual(request, asked)

    def test_a_refusal_leaves_the_session(self):
        def answer(request):
            if request.HasField("pause"):
                code = control.ControlError.CODE_PRECONDITION
                yield result(request, error=control.ControlError(code=code, message="not\x1bnow"))
            else:
                yield done(request)

        with self.serve(answer) as machine:
            with self.assertRaises(OperationError) as raised:
                machine.pause()
            self.assertEqual(raised.exception.code, control.ControlError.CODE_PRECONDITION)
            self.assertEqual(str(raised.exception), "CODE_PRECONDITION: not\\x1bnow")
            machine.hold(0)
            with self.assertRaises(OptionsError):
                machine.await_outcome(-1)

    def test_runs_to_a_place(self):
        def answer(request):
            if request.HasField("add_breakpoint"):
                yield result(request, breakpoint_added=control.AddBreakpointResult(breakpoint=request.id))
                self.breakpoint = request.id
            else:
                yield done(request)
            if request.HasField("resume"):
                yield stopped(self.breakpoint if len(self.requests) < 5 else 99, cpu=1)

        with self.serve(answer) as machine:
            self.assertEqual(machine.run_to("panic", [1]).cpu, 1)
            self.assertEqual(self.requests[-1].remove_breakpoint.breakpoint, 2)
            with self.assertRaises(StoppedError):
                machine.run_to("panic", [1])
            kinds = [event.WhichOneof("what") for event in machine.events(timeout=0)]
        self.assertEqual(kinds, ["stopped", "stopped"])

    def test_an_earlier_stop_is_not_taken_for_the_next(self):
        def answer(request):
            yield done(request)
            if request.HasField("resume"):
                yield stopped(len(self.requests))
            if request.HasField("pause"):
                yield decided()

        with self.serve(answer) as machine:
            machine.resume()
            self.assertEqual(machine.wait_stopped().breakpoint, 2)
            machine.resume()
            self.assertEqual(machine.wait_stopped().breakpoint, 3)
            machine.restore()
            with self.assertRaises(TimeoutError):
                machine.wait_stopped(timeout=0)
            machine.pause()
            with self.assertRaises(OutcomeError) as raised:
                machine.wait_stopped()
        self.assertEqual(raised.exception.outcome, report.OUTCOME_RESET)

    def test_the_outcome_comes_when_it_is_decided(self):
        awaited = []

        def answer(request):
            if request.HasField("await_outcome"):
                awaited.append(request)
                yield stopped(1)
            elif request.HasField("set_held"):
                yield done(request)
            else:
                yield done(request)
                # Behind a later request's: this is the one whose answer does not come in turn.
                yield result(awaited[0], decided=control.AwaitOutcomeResult(run=report.Run(outcome=report.OUTCOME_DUMPED)))

        with self.serve(answer) as machine:
            with self.assertRaises(StoppedError) as raised:
                machine.await_outcome(2.5)
            self.assertIn("panic\\x1b", str(raised.exception))
            with self.assertRaises(StoppedError):
                machine.await_outcome(2.5)
            machine.hold(1)
            machine.resume()
            self.assertEqual(machine.await_outcome().outcome, report.OUTCOME_DUMPED)
        self.assertEqual(len(awaited), 1)
        self.assertEqual(awaited[0].await_outcome.timeout.ToMilliseconds(), 2500)

    def test_threads_get_their_own_answers(self):
        held = []

        def answer(request):
            if request.HasField("read_registers"):
                held.append(request)
                if len(held) < 8:
                    return
                for kept in reversed(held):
                    yield result(kept, registers=control.VcpuRegisters(rip=kept.read_registers.cpu))

        with self.serve(answer) as machine:
            threads = [Background(lambda cpu=cpu: machine.read_registers(cpu).rip) for cpu in range(8)]
            self.assertEqual([thread.result() for thread in threads], list(range(8)))

    def test_answers_that_nobody_asked_for(self):
        for wrong in (
            lambda request: control.ControlResponse(result=control.ControlResult(id=99, done=control.DoneResult())),
            lambda request: result(request, memory=control.ReadMemoryResult(data=b"x")),
            lambda request: result(request),
        ):
            machine = self.serve(lambda request: iter([wrong(request)]))
            with self.assertRaises(ProtocolError):
                machine.pause()
            with self.assertRaises(ProtocolError):
                machine.pause()
            machine.close()

    def test_a_server_that_ends_the_session(self):
        def handler(requests, context):
            yield opened(next(requests))
            next(requests)
            yield stopped(3)
            context.abort(grpc.StatusCode.ABORTED, "the machine was lost")

        with self.client(handler).control() as machine:
            with self.assertRaises(CallError) as raised:
                machine.pause()
            self.assertEqual(raised.exception.code, grpc.StatusCode.ABORTED)
            # What came before is still there.
            self.assertEqual(machine.wait_stopped().breakpoint, 3)
            self.assertEqual(len(list(machine.events())), 1)
            with self.assertRaises(CallError):
                machine.resume()

    def test_a_session_that_does_not_open(self):
        def handler(code):
            def refuse(requests, context):
                context.abort(code, "no")
                yield

            return refuse

        with self.assertRaises(ExhaustedError):
            self.client(handler(grpc.StatusCode.RESOURCE_EXHAUSTED)).control()
        with self.assertRaises(InvalidRequestError):
            self.client(handler(grpc.StatusCode.INVALID_ARGUMENT)).control()

    def test_closing_lets_the_server_end_the_machine(self):
        ends = []

        def handler(requests, context):
            for request in requests:
                yield opened(request)
            ends.append("the client's side")

        machine = self.client(handler).control()
        machine.close()
        self.assertEqual(ends, ["the client's side"])
        with self.assertRaises(SessionEndedError):
            machine.pause()
        machine.close()

    def test_events_that_nobody_takes_are_bounded(self):
        line = "x" * (1 << 20)

        def answer(request):
            for _ in range(100):
                response = control.ControlResponse()
                response.event.trial.console.text = line
                yield response
            yield done(request)

        with self.serve(answer) as machine:
            machine.pause()
            kept = sum(1 for _ in machine.events(timeout=0))
            self.assertEqual(machine.lost_events + kept, 100)
            self.assertGreater(machine.lost_events, 30)
            self.assertGreater(kept, 30)


if __name__ == "__main__":
    support.main()
