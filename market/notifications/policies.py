"""Which events users are written to about, and how letters are sent."""

from datetime import timedelta

from craton.application import Policy
from craton.domain import Id, Name, Recorded, Text, Value
from market.identity.events import EmailAddress, PasswordChanged, UserCreated, UserUpdated
from market.notifications.api import Notifications
from market.notifications.events import LetterDue, LetterId, LetterWritten
from market.notifications.ports import Mail, MailDelayed, Mailer
from market.ordering.events import OrderCancelled, OrderPlaced, OrderShipped
from market.payments.events import PaidAgainReturned, PaymentRefunded
from market.shipping.events import ShipmentId

ToldEvent = (
    UserCreated
    | UserUpdated
    | PasswordChanged
    | OrderPlaced
    | OrderShipped
    | OrderCancelled
    | PaymentRefunded
    | PaidAgainReturned
)
"""The events that users are told about."""


class Write(Policy):
    """Whenever something happens that a user should know of, write the user one letter about it."""

    async def react(self, event: Recorded[ToldEvent], notifications: Notifications) -> None:
        draft = draft_about(event.data, event.subject)
        if draft is not None:
            letter = LetterId.derived(event.id)
            await notifications.write(letter, draft.user, draft.subject, draft.body, to=draft.to)


class Draft(Value):
    user: Id
    subject: Name
    body: Text
    to: EmailAddress | None = None


def draft_about(fact: ToldEvent, id: str) -> Draft | None:
    """What is to be written about an event; None if nothing is.

    It contains no text that a user has typed, such as names and reasons: nobody has confirmed the address, so the mail
    may reach somebody else.
    """
    match fact:
        case UserCreated():
            return _draft(id, "Welcome", "It is good to have you here.")
        case UserUpdated(former_email=former) if former is not None:
            text = "The e-mail address of your account was changed. If it wasn't you, write to us."
            return _draft(id, "Your e-mail address", text, former)
        case PasswordChanged(email=email):
            text = "The password of your account was changed. If it wasn't you, write to us."
            return _draft(id, "Your password", text, email)
        case OrderPlaced(buyer=buyer, total=total):
            return _draft(buyer, "Order confirmation", f"We have your order {id} over {total}.")
        case OrderShipped(buyer=buyer):
            number = ShipmentId.derived(id).tracking_number
            return _draft(buyer, "Order shipped", f"Your order {id} is on its way. Its tracking number is {number}.")
        case OrderCancelled(buyer=buyer):
            text = f"Your order {id} was cancelled. The order itself shows the reason."
            return _draft(buyer, "Order cancelled", text)
        case (
            PaymentRefunded(payer=payer, amount=amount, order=order)
            | PaidAgainReturned(payer=payer, amount=amount, order=order)
        ):
            return _draft(payer, "Payment refunded", f"We have given you back {amount} for your order {order}.")
    return None


def _draft(user: str, subject: str, body: str, to: EmailAddress | None = None) -> Draft:
    return Draft(user=Id(user), subject=Name(subject), body=Text(body), to=to)


class Post(Policy):
    """Whenever a letter is due, send it. If the mail server can't be reached, letters wait for a day at most."""

    patience = timedelta(days=1)

    async def react(
        self, event: Recorded[LetterWritten | LetterDue], notifications: Notifications, mailer: Mailer
    ) -> None:
        id = LetterId(event.subject)
        letter = await notifications.to_post(id)
        if letter is None:
            return
        try:
            await mailer.send(Mail(id=id, to=letter.to, subject=letter.subject, body=letter.body))
        except MailDelayed as delayed:
            await notifications.delay(id, Text(delayed.reason))
        else:
            await notifications.sent(id)
