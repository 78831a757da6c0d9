"""Clients that send commands side by side until the process dies, and repeat what has no answer."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from craton.testing.crash.client import Client, Command, NoAnswer, Reply, Script, Sent
from craton.testing.crash.process import Process

# These bound what never ends, on a slow and busy machine, too.
ANSWER_SECONDS: Final = 120.0
DRIVE_SECONDS: Final = 300.0
REPEAT_SECONDS: Final = 300.0
PAUSE_SECONDS: Final = 0.05


def drive(
    process: Process,
    scripts: Sequence[Script],
    *,
    seconds: float = DRIVE_SECONDS,
    until: Callable[[], bool] = lambda: False,
) -> list[Sent]:
    """Run the scripts side by side, each on a connection of its own, until the process dies; return all they sent.

    A script is run again and again. It ends when the process no longer answers; all end when `until` says so. After
    `seconds` they end too: assert `process.killed` where a crash was meant.
    """
    deadline = time.monotonic() + seconds
    sent: list[Sent] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run(script: Script) -> None:
        def send(command: Command) -> Reply:
            entry = Sent(command)
            sent.append(entry)
            try:
                reply = client.send(command)
            except NoAnswer:
                entry.note(None)
                raise
            entry.note(reply)
            return reply

        with process.client() as client:
            try:
                while not stop.is_set():
                    script(send)
            except NoAnswer:
                return
            except BaseException as problem:
                failures.append(problem)
                stop.set()

    threads = [threading.Thread(target=run, args=(script,), daemon=True) for script in scripts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not stop.is_set():
        if time.monotonic() > deadline or until():
            stop.set()
        time.sleep(0.005)
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    if failures:
        raise failures[0]
    return sent


def repeat(process: Process, sent: Sequence[Sent], *, clients: int = 8, seconds: float = REPEAT_SECONDS) -> None:
    """Send what has no final answer again, with its key, until it has one. Raises `TimeoutError` when it gets none."""
    waiting = [entry for entry in sent if entry.reply is None]
    deadline = time.monotonic() + seconds
    failures: list[BaseException] = []

    def run() -> None:
        with process.client() as client:
            while waiting and not failures:
                try:
                    entry = waiting.pop()
                except IndexError:
                    return
                try:
                    _repeat_one(client, entry, deadline)
                except (NoAnswer, TimeoutError) as problem:
                    failures.append(problem)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _repeat_one(client: Client, entry: Sent, deadline: float) -> None:
    while entry.reply is None:
        reply = client.send(entry.command)
        entry.note(reply)
        if entry.reply is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{entry.command.path} was still answered with {reply.status}: {reply.body}")
            time.sleep(PAUSE_SECONDS)
