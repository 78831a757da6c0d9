"""A real HTTP client, the commands that it sends, and what was answered."""

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from uuid import uuid4

# These bound what never ends, on a slow and busy machine, too.
ANSWER_SECONDS: Final = 120.0


class NoAnswer(Exception):
    """The process hung up or was gone before it answered: nobody knows whether the command ran."""


@dataclass(frozen=True)
class Reply:
    """An answer. `body` is the decoded JSON, None when there was none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether this is the command's outcome, be it a refusal, and not "try again"."""
        return self.status < 500 and self.status != 429


@dataclass(frozen=True)
class Command:
    """A request that changes something, and its idempotency key."""

    path: str
    body: Any
    method: str = "POST"
    key: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class Sent:
    """A command and its final answer; `reply` is None as long as there is none.

    `first` is what came back the first time it was sent (None: the process was gone), `asked` how often it was sent.
    """

    command: Command
    reply: Reply | None = None
    first: Reply | None = None
    asked: int = 0

    def note(self, reply: Reply | None) -> None:
        self.asked += 1
        if self.asked == 1:
            self.first = reply
        if reply is not None and reply.final:
            self.reply = reply


Send = Callable[[Command], Reply]
Script = Callable[[Send], None]


class Client:
    """A keep-alive connection to a process. Not for several threads at once."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask. Raises `NoAnswer` when the connection ends before the answer is complete."""
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if content is not None else {}
        try:
            self._connection.request(method, path, content, {**sent, **(headers or {})})
            response = self._connection.getresponse()
            text = response.read()
        except (http.client.HTTPException, OSError) as problem:
            self._connection.close()
            raise NoAnswer(f"{method} {path}: {type(problem).__name__}: {problem}") from None
        names = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in names.get("content-type", "")
        return Reply(response.status, names, json.loads(text) if text and is_json else None)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)

    def send(self, command: Command) -> Reply:
        """Send a command with its key."""
        return self.request(command.method, command.path, command.body, {"idempotency-key": command.key})
