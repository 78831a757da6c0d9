"""What notifications show."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.notifications import domain
from market.notifications.api import Letter


class Letters(Projection):
    """All letters, and whether they were sent."""

    version = 2

    def row(self, letter: domain.Letter, event: Recorded[Event]) -> Letter:
        return Letter(
            id=letter.id,
            user=letter.user,
            subject=letter.subject,
            body=letter.body,
            status=letter.status,
            written_at=letter.began_at,
            version=letter.version,
        )
