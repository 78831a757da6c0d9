"""What notifications show."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Index, Key, Projection, Row, Rows
from craton.domain import Id, Recorded
from market.notifications.api import Letter
from market.notifications.events import LetterId, LetterSent, LetterStatus, LetterWritten


class LetterRow(Row):
    letter: Key[LetterId]
    user: Index[Id]
    written_at: Index[datetime]
    state: Letter


class Letters(Projection):
    """All letters, and whether they were sent."""

    version = 1
    letters: Rows[LetterRow]

    def project(self, event: Recorded[LetterWritten | LetterSent]) -> None:
        id = LetterId(event.subject)
        match event.data:
            case LetterWritten(user=user, subject=subject, body=body):
                state = Letter(
                    id=id,
                    user=user,
                    subject=subject,
                    body=body,
                    status=LetterStatus.QUEUED,
                    written_at=event.time,
                    version=event.version,
                )
                self.letters.put(LetterRow(letter=id, user=user, written_at=event.time, state=state))
            case LetterSent():
                self.letters.fold(
                    id,
                    by=lambda row: replace(
                        row, state=replace(row.state, status=LetterStatus.SENT, version=event.version)
                    ),
                )
