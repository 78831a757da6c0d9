"""The record of operators' actions, kept in the log of the module that they concern."""

from typing import Final

from craton.domain import Aggregate, Event, Id, Text


class OperatorActed(Event):
    """An operator has done something to a module; the event's metadata names the operator."""

    verb: str
    """The action, such as `retry_parked`."""
    subject: str
    """The thing that the action concerns."""
    reason: Text = Text("")


class OperatorLogId(Id):
    """The id of a module's operator log; each module has one."""

    pattern = "all"


OPERATOR_LOG: Final = OperatorLogId("all")


class OperatorLog(Aggregate[OperatorLogId]):
    """All actions of operators on one module."""

    stream_prefix = "operator_log"

    def note(self, verb: str, subject: str, reason: Text) -> None:
        """Record an action, in the same commit as its effect."""
        self.record(OperatorActed(verb=verb, subject=subject, reason=reason))

    def apply(self, event: OperatorActed) -> None:
        """Keep nothing: no decision depends on earlier actions."""


OPERATOR_STREAM: Final = f"{OperatorLog.stream_prefix}-{OPERATOR_LOG}"
