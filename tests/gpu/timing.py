# SPDX-License-Identifier: Apache-2.0
"""Both ends of a process that times something: jobs are lines of JSON on its
standard input, answers lines on its standard output."""
import json
import os
import selectors
import signal
import subprocess
import sys
import time


class Failed(Exception):
    """What the other process could not do, or not in time."""


def with_torch(named=None):
    """A Python that has PyTorch, or None: the one that is named, by the
    variable DLCC_TORCH where no other is, or this one or python3."""
    named = named or os.environ.get("DLCC_TORCH")
    for python in [named] if named else [sys.executable, "python3"]:
        try:
            if not subprocess.run([python, "-c", "import torch"],
                                  capture_output=True).returncode:
                return python
        except OSError:
            pass
    return None


def calls_for(run, seconds):
    """How many calls take that long: the first of it warm up."""
    n = 1
    while seconds:
        start = time.perf_counter()
        run(n)
        spent = time.perf_counter() - start
        if spent > seconds / 4:
            return max(1, int(n * seconds / spent))
        n *= 4
    return n


def sample(run, n):
    """Seconds of a call, by so many."""
    start = time.perf_counter()
    run(n)
    return (time.perf_counter() - start) / n


def serve(jobs):
    """Answers until the input ends.  jobs: what a job's "do" calls with the
    rest of it, and what a dict is returned by."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)       # what libraries print is no answer
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = jobs[job.pop("do")](**job) or {}
        except Exception as e:
            said = str(e).strip().splitlines()
            answer = {"error": f"{type(e).__name__}: "
                      + (said[0] if said else "")}
            print(answer["error"], *said[1:], sep="\n", file=sys.stderr,
                  flush=True)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    def __init__(self, command, log, env=None):
        self.log, self.text = log, b""
        with open(log, "ab") as f:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=f, env=env, bufsize=0, start_new_session=True)
        self.select = selectors.DefaultSelector()
        self.select.register(self.process.stdout, selectors.EVENT_READ)

    def start(self, do, **job):
        try:
            self.process.stdin.write(
                (json.dumps({"do": do, **job}) + "\n").encode())
        except OSError:
            self.fail("it ended: " + self.said())

    def said(self):
        with open(self.log, errors="replace") as f:
            lines = f.read().strip().splitlines()
        return f"status {self.process.wait()}, " + (
            lines[-1][-300:] if lines else "without a word")

    def fail(self, why):
        self.close()
        raise Failed(why)

    def wait(self, limit):
        """The answer to what was started; one that takes longer is ended."""
        end = time.monotonic() + limit
        while b"\n" not in self.text:
            if not self.select.select(max(0, end - time.monotonic())):
                self.fail(f"not done in {limit:.0f} s")
            got = os.read(self.process.stdout.fileno(), 1 << 16)
            if not got:
                self.fail("it ended: " + self.said())
            self.text += got
        line, self.text = self.text.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, limit, do, **job):
        """The answer, within so many seconds."""
        self.start(do, **job)
        return self.wait(limit)

    def close(self):
        """Ends it with the processes that it has started."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
