"""What is in the stores of a market that doesn't run, and what it has logged."""

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.crash.databases import run_sql


@dataclass(frozen=True)
class Fact:
    """An event, as it stands in a module's log."""

    module: str
    stream: str
    version: int
    kind: str
    data: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.stream.partition("-")[2]


class Logs:
    """The stores of a market that doesn't run. SQLite's files are copied first: whoever opens them repairs them."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._copy = tempfile.TemporaryDirectory(prefix="craton-market-")

    def __enter__(self) -> Self:
        if self._url == "sqlite":
            shutil.copytree(self._folder, self._copy.name, dirs_exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._copy.cleanup()

    def rows(self, module: str, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives in a module's store; `{schema}` stands for where its tables are."""
        if self._url == "sqlite":
            with closing(sqlite3.connect(Path(self._copy.name) / f"{module}.db")) as connection:
                return list(connection.execute(sql.format(schema="main")))
        return [tuple(row) for row in run_sql(self._url, sql.format(schema=f"market_{module}"))]


def failures_in(log: str) -> list[str]:
    """The lines that tell of what is wrong.

    A warning does not: it tells of something that was not to be had for a moment, which a busy machine is enough for;
    nor does it when the process was given no time to run.
    """
    return [line for line in log.splitlines() if _tells_of_what_is_wrong(line)]


def _tells_of_what_is_wrong(line: str) -> bool:
    if not line.startswith("{"):
        return True
    told = json.loads(line)
    return told["level"] in _WRONG and not told["event"].startswith("the event loop is blocked")


_WRONG: Final = ("error", "critical")
