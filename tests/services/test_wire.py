"""What crosses between services of different versions."""

from typing import Any

import msgspec
import pytest

from craton.adapters.services.wire import AnswerMessage, CallMessage
from craton.application import Context
from craton.application.codec import decode, encode
from craton.domain import Conflict, InvalidValue, NotFound
from craton.runtime.commands.refusals import Refusal, UnknownRefusal
from tests.services.fair import PurseId, Till

PAY = Till.operations["pay"]
ADA = PurseId("ada")


def test_arguments_at_their_defaults_are_not_sent() -> None:
    message = CallMessage.of(PAY, {"purse": ADA, "amount": 1}, Context())

    assert decode(dict[str, Any], bytes(message.arguments)) == {"purse": "ada"}
    assert message.bound(PAY) == {"purse": ADA, "amount": 1}


@pytest.mark.parametrize("kind", [NotFound, InvalidValue, Conflict])
@pytest.mark.parametrize("temporary", [True, False])
def test_a_refusal_of_a_class_that_the_caller_does_not_know_keeps_its_family_code_and_text(
    kind: type[Any], temporary: bool
) -> None:
    sent = AnswerMessage(
        refusal=Refusal("market.shop.events:SoldOut", "sold-out", {"left": 0}),
        text="All are sold.",
        family=kind.__name__,
        temporary=temporary,
    )

    with pytest.raises(kind) as refused:
        decode(AnswerMessage, encode(sent)).answer(PAY)

    assert (refused.value.reason, str(refused.value)) == ("sold-out", "All are sold.")
    assert refused.value.temporary is temporary


def test_a_refusal_that_may_be_taken_back_is_not_final_for_its_caller() -> None:
    assert not UnknownRefusal(reason="x", text="x").temporary


def test_a_message_with_fields_of_a_later_version_is_understood() -> None:
    message = msgspec.json.decode(encode(CallMessage.of(PAY, {"purse": ADA, "amount": 2}, Context())))

    assert decode(CallMessage, encode({**message, "urgency": "high"})).bound(PAY)["amount"] == 2
