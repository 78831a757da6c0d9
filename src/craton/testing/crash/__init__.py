"""Crash an application on purpose, in a process of its own, and see what is left of its work.

    with Process(data=folder, crash_at="commit.written:40") as doomed:
        sent = drive(doomed, [script] * 8)      # until it dies
    with Process(data=folder) as healed:
        repeat(healed, sent)                    # what had no answer is asked again, with its key
        ...                                     # now look at what there is

A script is a function that is given `send` and sends one command after the other. Every command has an idempotency
key, so that a client that got no answer can ask again. `sent` holds all that was asked and what was answered, in a
form from which a test computes what must be there.

The crash is a SIGKILL that the process gives itself at a named point (`craton.ports.crash`): no handler runs, nothing
is flushed. Everything here is the standard library's: a real process and a real HTTP client.
"""

from craton.ports.crash import CRASH_POINTS
from craton.testing.crash.client import Client, Command, NoAnswer, Reply, Script, Send, Sent
from craton.testing.crash.drive import drive, repeat
from craton.testing.crash.process import Process

__all__ = [
    "CRASH_POINTS",
    "Client",
    "Command",
    "NoAnswer",
    "Process",
    "Reply",
    "Script",
    "Send",
    "Sent",
    "drive",
    "repeat",
]
