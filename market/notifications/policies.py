"""Whom to write to when something happens, and how letters leave the house."""

from datetime import timedelta

from craton.application import Policy
from craton.domain import Event, Id, Name, Recorded, Text
from market.identity.api import EmailAddress, PasswordChanged, UserCreated, UserUpdated
from market.notifications.api import LetterDue, LetterId, LetterWritten, Notifications
from market.notifications.ports import Mail, MailDelayed, Mailer
from market.ordering.api import OrderCancelled, OrderPlaced, OrderShipped
from market.payments.api import PaidAgainReturned, PaymentRefunded
from market.shipping.api import ShipmentId


class Write(Policy):
    """Whenever something happens that a person should know of."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    async def react(
        self,
        event: Recorded[
            UserCreated
            | UserUpdated
            | PasswordChanged
            | OrderPlaced
            | OrderShipped
            | OrderCancelled
            | PaymentRefunded
            | PaidAgainReturned
        ],
    ) -> None:
        id = event.subject
        match event.data:
            case UserCreated():
                await self._write(event, id, "Welcome", "It is good to have you here.")
            case UserUpdated(former_email=former) if former is not None:
                text = "The e-mail address of your account was changed. If it wasn't you, write to us."
                await self._write(event, id, "Your e-mail address", text, to=former)
            case PasswordChanged(email=email):
                text = "The password of your account was changed. If it wasn't you, write to us."
                await self._write(event, id, "Your password", text, to=email)
            case OrderPlaced(buyer=buyer, total=total):
                await self._write(event, buyer, "Order confirmation", f"We have your order {id} over {total}.")
            case OrderShipped(buyer=buyer):
                number = ShipmentId.of_order(Id(id)).tracking_number
                text = f"Your order {id} is on its way. Its tracking number is {number}."
                await self._write(event, buyer, "Order shipped", text)
            case OrderCancelled(buyer=buyer):
                text = f"Your order {id} was cancelled. Why, you find where you look at the order."
                await self._write(event, buyer, "Order cancelled", text)
            case (
                PaymentRefunded(payer=payer, amount=amount, order=order)
                | PaidAgainReturned(payer=payer, amount=amount, order=order)
            ):
                text = f"We have given you back {amount} for your order {order}."
                await self._write(event, payer, "Payment refunded", text)

    async def _write(
        self, event: Recorded[Event], user: str, subject: str, text: str, *, to: EmailAddress | None = None
    ) -> None:
        """No letter holds what somebody has typed: nobody has confirmed yet that an address is his."""
        await self._notifications.write(LetterId.about(event.id), Id(user), Name(subject), Text(text), to=to)


class Post(Policy):
    """Whenever a letter is due, it is sent. While the mail server is away everything waits, for a day at most."""

    patience = timedelta(days=1)

    def __init__(self, notifications: Notifications, mailer: Mailer) -> None:
        self._notifications = notifications
        self._mailer = mailer

    async def react(self, event: Recorded[LetterWritten | LetterDue]) -> None:
        id = LetterId(event.subject)
        letter = await self._notifications.to_post(id)
        if letter is None:
            return
        try:
            await self._mailer.send(Mail(id=id, to=letter.to, subject=letter.subject, body=letter.body))
        except MailDelayed as delayed:
            await self._notifications.delay(id, Text(delayed.reason))
        else:
            await self._notifications.sent(id)
