"""Runs `craton` commands in processes of their own that needn't import it: each is a fork of one that has done so.

Run as a program, this is the process that is forked. It reads what to run, one command a line, and answers with exit
codes. A command has its own arguments, folder, environment and output, and ends as a program ends.
"""

import atexit
import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TIMEOUT_SECONDS = 300
"""A command that runs this long waits for something that never comes, on a slow and busy machine, too."""


class Nursery:
    """The process that is forked. It is started when it is needed first, and ends when nobody can ask it any more."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def run(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code and what it wrote to stdout and stderr."""
        with self._one_at_a_time, tempfile.TemporaryDirectory(prefix="craton-command-") as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            command = [[*map(str, arguments)], str(cwd), dict(environment), [str(out), str(err)]]
            asked, answered = self._streams()
            asked.write(json.dumps(command) + "\n")
            asked.flush()
            code = int(answered.readline())
            return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def _streams(self) -> tuple[IO[str], IO[str]]:
        """Where the process is told what to run, and where it says how that has ended."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(self._end, self._process)
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None and answered is not None
        return asked, answered

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()


def fork_for_each_line() -> None:
    """Fork for each line that is read, and return in the fork, which is to run the command; exit when there is none."""
    gc.freeze()  # the forks needn't look through all that was imported
    for line in sys.stdin:
        if child := os.fork():
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        arguments, cwd, environment, files = json.loads(line)
        signal.alarm(TIMEOUT_SECONDS)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["craton", *arguments]
        for descriptor, file in enumerate((os.devnull, *files)):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
        return
    sys.exit()


def warm_up() -> None:
    """Run a command that changes nothing, so that the forks needn't import what is imported at first use."""
    sys.argv = ["craton", "config"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        run()


if __name__ == "__main__":
    from craton.cli.main import run

    warm_up()
    fork_for_each_line()
    run()
