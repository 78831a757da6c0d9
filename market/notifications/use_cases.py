"""What notifications do with letters. A policy sends them."""

from craton.application import Page, Paging, Repository, View, narrow, now, schedule
from craton.domain import Id, Name, Text
from market.identity.api import Identity
from market.identity.events import EmailAddress, UserId, UserNotFound
from market.notifications import domain
from market.notifications.api import Letter, Notifications, Unsent
from market.notifications.events import LetterId, LetterStatus, MailboxId
from market.notifications.settings import NotificationsSettings


class NotificationsService(Notifications):
    def __init__(
        self,
        letters: Repository[domain.Letter],
        mailboxes: Repository[domain.Mailbox],
        rows: View[Letter],
        identity: Identity,
        settings: NotificationsSettings,
    ) -> None:
        self._max_letters_a_day = settings.letters_a_day
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
        self._letters.add(domain.Letter.write(letter, user, address, subject, whole, about_account=to is not None))

    async def delay(self, letter: LetterId, reason: Text) -> None:
        pause = (await self._letters.get(letter)).delay(reason)
        schedule(now() + pause, Notifications.try_again, letter=letter)

    async def try_again(self, letter: LetterId) -> None:
        (await self._letters.get(letter)).try_again()

    async def sent(self, letter: LetterId) -> None:
        (await self._letters.get(letter)).sent()

    async def to_post(self, letter: LetterId) -> Unsent | None:
        found = await self._letters.get(letter)
        if found.status is LetterStatus.SENT:
            return None
        if not found.about_account and not await self._may_go(found):
            return None
        return Unsent(to=found.to, subject=found.subject, body=found.body)

    async def letters(self, *, user: Id | None = None, paging: Paging = Paging()) -> Page[Letter]:
        return await self._rows.page(user=narrow(user, "admin"), order="-written_at", paging=paging)

    async def _may_go(self, letter: domain.Letter) -> bool:
        """Whether the letter may be sent now: its user isn't deleted, and its address may get another letter today.

        If the address has got too many, the letter is held back until it may get another one.
        """
        if not (await self._identity.validate(UserId(letter.user))).valid:
            return False
        mailbox = await self._mailboxes.find_or_add(MailboxId.derived(letter.to.casefold()))
        wait = mailbox.admit(letter.id, now(), self._max_letters_a_day)
        if wait:
            letter.hold_back()
            schedule(now() + wait, Notifications.try_again, letter=letter.id)
        return not wait
