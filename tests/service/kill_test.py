#!/usr/bin/python3
"""Kills a server again and again, at random moments, while it carries out runs on a real kernel.

  kill_test.py PANICROOM SCENARIO SCRATCH [--kills N] [--seed N]

The kernel is $PANICROOM_TEST_KERNEL; without it the test is skipped, which is exit status 77.

After each kill the server is started again, and then: no guest and no runner of the killed server is left; what was finished
is finished as it was, its files among it; the run that was under way is finished or interrupted; what was queued is queued or
goes on. At the end the queue is carried out. Prints what it saw, and exits 1 at the first thing that is not so.
"""

import argparse
import atexit
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FINAL = ("finished", "failed", "cancelled", "interrupted")


class Server:
    """`panicroom serve` in a process of its own, with a runtime folder that its guests' command lines name."""

    def __init__(self, arguments, scratch, runtime):
        self.log = open(scratch / "server.log", "ab")
        environment = dict(os.environ, XDG_RUNTIME_DIR=runtime)
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        # It says its address when it listens, which is after it has cleaned up.
        self.address = self.process.stdout.readline().decode().strip()
        if not self.address:
            raise SystemExit(f"FAILED: the server did not start; see {scratch / 'server.log'}")

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def processes_with(text):
    """The numbers of all processes whose command line has it."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def digests(folder):
    """What each file of a run's --out folder is."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("panicroom")
    parser.add_argument("scenario")
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    kernel = os.environ.get("PANICROOM_TEST_KERNEL")
    if not kernel:
        print("skipped: no kernel:", os.environ.get("PANICROOM_TEST_KERNEL_MISSING", "PANICROOM_TEST_KERNEL is not set"))
        return 77
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    scratch = options.scratch.resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    # The sockets in it have short paths at most.
    runtime = tempfile.mkdtemp(prefix="pr-", dir="/tmp")
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    state = scratch / "state"
    serve = [options.panicroom, "serve", "--state", str(state), "--allow-kernels", os.path.dirname(kernel)]

    def command(server, *arguments):
        return subprocess.run(
            [options.panicroom, *arguments, "--server", server.address], capture_output=True, text=True, check=False
        )

    def states(server):
        result = command(server, "runs", "list")
        if result.returncode != 0:
            raise SystemExit(f"FAILED: runs cannot be listed: {result.stderr}")
        rows = [line.split() for line in result.stdout.splitlines()[1:]]
        return {row[0]: row[1] for row in rows}

    def submit(server, count):
        """Queues runs; the clients that would watch them are ended."""
        for _ in range(count):
            before = len(states(server))
            client = subprocess.Popen(
                [options.panicroom, "run", options.scenario, "--kernel", kernel, "--repeat", "2",
                 "--out", str(scratch / "client-out"), "--server", server.address],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(states(server)) == before:
                time.sleep(0.05)
            client.kill()
            client.wait()

    finished = {}  # The files of each finished run, as they were when it was first seen so.
    seen = {"finished": 0, "interrupted": 0, "nothing under way": 0}
    server = Server(serve, scratch, runtime)
    submit(server, 3)
    for kill in range(options.kills):
        now = states(server)
        if sum(state in ("queued", "running") for state in now.values()) < 2:
            submit(server, 2)
        # Before its process is there, while it boots, in its trials, behind its end.
        time.sleep(chance.uniform(0, 25))
        before = states(server)
        for name, what in before.items():
            if what == "finished" and name not in finished:
                finished[name] = digests(out_folder(state, name))
        server.end(signal.SIGKILL)
        server = Server(serve, scratch, runtime)
        after = states(server)
        running_now = [name for name, state in after.items() if state == "running"]
        for name, what in before.items():
            new = after.get(name)
            if new is None:
                raise SystemExit(f"FAILED: kill {kill}: {name} is lost")
            if what in FINAL and new != what:
                raise SystemExit(f"FAILED: kill {kill}: {name} was {what} and is {new}")
            if what == "running" and new not in FINAL:
                raise SystemExit(f"FAILED: kill {kill}: {name} was under way and is {new}")
            if what == "running":
                seen[new] = seen.get(new, 0) + 1
        if "running" not in before.values():
            seen["nothing under way"] += 1
        runners = [pid for pid in processes_with(f"--out={state}/runs/") if not any(
            f"/runs/{name.split('/')[1]}/".encode() in command_line(pid) for name in running_now)]
        if runners:
            raise SystemExit(f"FAILED: kill {kill}: processes {runners} of ended runs are left")
        if not running_now and (left := processes_with(runtime)):
            raise SystemExit(f"FAILED: kill {kill}: guests {left} are left")
        for name, files in finished.items():
            if digests(out_folder(state, name)) != files:
                raise SystemExit(f"FAILED: kill {kill}: files of {name}, which was finished, are others")
        print(f"kill {kill + 1}: {summary(after)}", flush=True)

    # What is left is carried out.
    while any(state in ("queued", "running") for state in states(server).values()):
        time.sleep(0.5)
    end = states(server)
    if "finished" not in end.values():
        raise SystemExit("FAILED: no run was carried out to its end")
    # A run that could not boot a guest would be finished, too.
    for line in command(server, "runs", "list").stdout.splitlines():
        if " finished " in line and "2 passed, 0 failed, 0 errors, 0 skipped" not in line:
            raise SystemExit(f"FAILED: {line}")
    server.end(signal.SIGTERM)
    left = processes_with(runtime)
    if left:
        raise SystemExit(f"FAILED: guests {left} are left at the end")
    print(f"{options.kills} kills; what was under way: {seen}; at the end: {summary(end)}")
    if any(state not in ("finished", "interrupted") for state in end.values()):
        raise SystemExit("FAILED: a run is neither finished nor interrupted")
    return 0


def out_folder(state, name):
    return state / "runs" / name.split("/")[1] / "out"


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def summary(states):
    counts = {}
    for state in states.values():
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
