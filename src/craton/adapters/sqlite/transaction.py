"""An interactive transaction."""

from collections.abc import Callable, Sequence
from typing import Any

from craton.adapters.sqlite.writer import Writer
from craton.ports import Changeset, ChangesetRefused, Statement, StatementFailed, StoreUnavailable


class SqliteTransaction:
    """An interactive transaction: it holds the writer until its end."""

    def __init__(self, writer: Writer, run: Callable[[Callable[[], Any]], Any]) -> None:
        self._writer = writer
        self._run = run

    async def execute(self, statement: Statement) -> int:
        changed: int = await self._within(lambda: self._writer.execute(statement))
        return changed

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self._within(lambda: self._writer.fetch(statement))
        return rows

    async def write(self, unit: Changeset) -> int:
        try:
            position: int = await self._within(lambda: self._writer.write_unit(unit))
        except (ChangesetRefused, StoreUnavailable):
            raise
        except Exception as problem:
            raise StatementFailed(f"{type(problem).__name__}: {problem}") from problem
        return position

    async def _within(self, work: Callable[[], Any]) -> Any:
        return await self._run(lambda: self._writer.within_savepoint(work))
