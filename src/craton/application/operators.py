"""What operators have done, in the log of the module that it was done to."""

from typing import Final

from craton.domain import Aggregate, Event, Id, Text


class OperatorActed(Event):
    """An operator has done something to a module; the event's metadata says who."""

    verb: str
    """Such as `retry_parked`."""
    subject: str
    """What it was done to."""
    reason: Text = Text("")


class OperatorLogId(Id):
    """A module has one log of its operators."""

    pattern = "all"


OPERATOR_LOG: Final = OperatorLogId("all")


class OperatorLog(Aggregate[OperatorLogId]):
    """All that operators have done to one module."""

    stream_prefix = "operator_log"

    def note(self, verb: str, subject: str, reason: Text) -> None:
        """Record what is being done, in the same commit."""
        self.record(OperatorActed(verb=verb, subject=subject, reason=reason))

    def apply(self, event: OperatorActed) -> None:
        """Nothing is decided by what was done before."""


OPERATOR_STREAM: Final = f"{OperatorLog.stream_prefix}-{OPERATOR_LOG}"
