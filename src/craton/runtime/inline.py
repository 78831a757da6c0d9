"""Inline projections: rows that are written in the commit of the events themselves."""

from collections.abc import Sequence

from craton.ports import Unit
from craton.runtime.projections import ProjectionRunner


class InlineProjections:
    """The inline projections of one module."""

    def __init__(self, runners: Sequence[ProjectionRunner]) -> None:
        self._runners = runners

    def add(self, unit: Unit) -> None:
        """Add their rows to a unit of events. Raises `Unavailable` while one is being built for this program."""
        if unit.appends:
            for runner in self._runners:
                runner.project_inline(unit)

    async def refresh(self) -> None:
        """Read again which generations are live."""
        for runner in self._runners:
            await runner.record.refresh()
