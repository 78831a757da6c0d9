"""What crosses between services of different versions."""

from typing import Any

import msgspec
import pytest

from craton.adapters.services.wire import AnswerMessage, CallMessage
from craton.application import Api, Context, Page, query
from craton.application.codec import decode, encode
from craton.domain import Conflict, InvalidValue, NotFound, Value
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


class Old(Value):
    id: int
    parts: tuple["Part", ...] = ()
    best: "Part | None" = None


class Part(Value):
    name: str


class Shop(Api):
    @query
    async def page(self) -> Page[Old]:
        """A page."""


def test_a_result_that_has_grown_is_read_without_what_is_new() -> None:
    item = {"id": 1, "parts": [{"name": "lid", "weight": 3}], "best": {"name": "jar", "weight": 4}, "colour": "red"}
    newer = {"items": [item], "total": 1, "page": 1, "page_size": 20, "total_pages": 1, "sorted": True}

    answer = AnswerMessage(result=msgspec.Raw(encode(newer))).answer(Shop.operations["page"])

    assert answer.result == Page((Old(id=1, parts=(Part(name="lid"),), best=Part(name="jar")),), 1, 1, 20, 1)


def test_a_result_that_lacks_something_is_not_understood() -> None:
    with pytest.raises(msgspec.ValidationError):
        AnswerMessage(result=msgspec.Raw(b'{"items": [{}]}')).answer(Shop.operations["page"])


def test_a_message_with_fields_of_a_later_version_is_understood() -> None:
    message = msgspec.json.decode(encode(CallMessage.of(PAY, {"purse": ADA, "amount": 2}, Context())))

    assert decode(CallMessage, encode({**message, "urgency": "high"})).bound(PAY)["amount"] == 2
