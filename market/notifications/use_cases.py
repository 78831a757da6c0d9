"""What notifications do: they write letters; a policy posts them."""

from craton.application import Page, Paging, Repository, View, narrow, now, schedule
from craton.domain import Id, Name, Text
from market.identity.api import Identity
from market.identity.events import EmailAddress, UserId, UserNotFound
from market.notifications.api import Letter, Notifications, Unsent
from market.notifications.domain import Letter as LetterAggregate
from market.notifications.domain import Mailbox
from market.notifications.events import LetterId, LetterStatus, MailboxId
from market.notifications.read_models import LetterRow
from market.notifications.settings import NotificationsSettings


class NotificationsService(Notifications):
    def __init__(
        self,
        letters: Repository[LetterAggregate],
        mailboxes: Repository[Mailbox],
        rows: View[LetterRow],
        identity: Identity,
        settings: NotificationsSettings,
    ) -> None:
        self._letters_a_day = settings.letters_a_day
        self._letters = letters
        self._mailboxes = mailboxes
        self._rows = rows
        self._identity = identity

    async def write(
        self, letter: LetterId, user: Id, subject: Name, body: Text, *, to: EmailAddress | None = None
    ) -> None:
        if await self._letters.find(letter) is not None:
            return
        address = Text(to or "")
        if not address:
            try:
                address = Text((await self._identity.user(UserId(user))).email or "")
            except UserNotFound:
                return
        whole = Text(f"Hello,\n\n{body}\n\nYour market")
        self._letters.add(LetterAggregate.write(letter, user, address, subject, whole, about_account=to is not None))

    async def delay(self, letter: LetterId, reason: Text) -> None:
        pause = (await self._letters.get(letter)).delay(reason)
        schedule(now() + pause, Notifications.try_again, letter=letter)

    async def try_again(self, letter: LetterId) -> None:
        (await self._letters.get(letter)).try_again()

    async def sent(self, letter: LetterId) -> None:
        (await self._letters.get(letter)).sent()

    async def to_post(self, letter: LetterId) -> Unsent | None:
        found = await self._letters.get(letter)
        recipient = await self._identity.validate(UserId(found.user))
        unsent = Unsent(to=found.to, subject=found.subject, body=found.body)
        if found.about_account and found.status is not LetterStatus.SENT:
            return unsent
        if found.status is LetterStatus.SENT or not recipient.valid:
            return None
        wait = (await self._mailboxes.find_or_add(MailboxId.derived(found.to.casefold()))).admit(
            letter, now(), self._letters_a_day
        )
        if wait:
            found.hold_back()
            schedule(now() + wait, Notifications.try_again, letter=letter)
            return None
        return unsent

    async def letters(self, *, user: Id | None = None, paging: Paging = Paging()) -> Page[Letter]:
        rows = await self._rows.page(user=narrow(user, "admin"), order="-written_at", paging=paging)
        return rows.map(lambda row: row.state)
