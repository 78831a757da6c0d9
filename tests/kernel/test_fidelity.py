"""A value that needn't be read back to be believed is read back as it is, whatever its type."""

from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from craton.application.codec import decode, encode
from craton.application.fidelity import certainly_kept
from craton.domain import Currency, Id, Instant, Money, Name, Secret, Text, Value
from craton.domain.money import Total


class ParcelId(Id):
    pass


class Sku(Id):
    pattern = "[a-z]{3}"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


class Shouted(Text):
    def __new__(cls, text: str) -> "Shouted":
        return super().__new__(cls, text + "!")


class Card(Value, tag=True):
    name: Name


class Cash(Value, tag=True):
    amount: Money


class Parcel(Value):
    id: ParcelId
    any_id: Id
    sku: Sku
    name: Name
    note: Text | None
    price: Money
    count: int
    weight: float
    colour: Colour
    level: Level
    sent: datetime
    due: Instant | None
    day: date
    fragile: bool
    size: Literal["s", "m", 1]
    paid: Card | Cash | None
    tags: tuple[Name, ...]
    pair: tuple[int, Text]
    seen: frozenset[ParcelId]
    counts: dict[Sku, int]
    inner: "Parcel | None"


class Guarded(Value):
    id: ParcelId
    count: Annotated[int, msgspec.Meta(ge=1)]


class Counted(Value):
    id: ParcelId
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("too few")


class Ambiguous(Value):
    id: ParcelId
    said: str | datetime


class Sparing(msgspec.Struct, frozen=True, omit_defaults=True):
    id: ParcelId
    count: int = 1


class Locked(Value):
    id: ParcelId
    password: Secret


times = some.datetimes(timezones=some.sampled_from([UTC, timezone(timedelta(hours=2))]) | some.none())
ids = some.builds(ParcelId.new)
skus = some.sampled_from(["abc", "xyz"]).map(Sku) | some.builds(Sku.new)
names = some.sampled_from(["a", "Ä", "two words"]).map(Name)
money = some.integers(-(10**6), 10**6).map(lambda minor: Money(minor, Currency("EUR")))
anything = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=3)
    | times
    | ids
    | skus
    | names
    | money
    | some.sampled_from([*Colour, *Level, Shouted("a"), Total(10**30, Currency("EUR"))])
    | some.builds(Card, name=names)
    | some.builds(Cash, amount=money)
    | some.lists(names, max_size=2)
    | some.tuples(some.integers(), names)
)
right: dict[str, Any] = {
    "id": ids,
    "any_id": ids | skus,
    "sku": skus,
    "name": names,
    "note": some.none() | some.text(max_size=3).map(lambda text: Text(text.replace("\0", ""))),
    "price": money,
    "count": some.integers(),
    "weight": some.floats(),
    "colour": some.sampled_from(Colour),
    "level": some.sampled_from(Level),
    "sent": times,
    "due": some.none() | times,
    "day": some.dates(),
    "fragile": some.booleans(),
    "size": some.sampled_from(["s", 1, True]),
    "paid": some.none() | some.builds(Card, name=names) | some.builds(Cash, amount=money),
    "tags": some.lists(names, max_size=2).map(tuple),
    "pair": some.tuples(some.integers(), names.map(Text)),
    "seen": some.frozensets(ids, max_size=2),
    "counts": some.dictionaries(skus, some.integers(), max_size=2),
    "inner": some.none(),
}
parcels = some.fixed_dictionaries(right).map(lambda fields: Parcel(**fields))


def same(value: Any, again: Any) -> bool:
    """Whether two values are equal and of the same classes, but for an id that is annotated less narrowly."""
    if isinstance(value, Id):
        return isinstance(again, Id) and value == again
    if isinstance(value, msgspec.Struct):
        return type(value) is type(again) and all(
            same(getattr(value, name), getattr(again, name)) for name in value.__struct_fields__
        )
    if isinstance(value, dict):
        return type(again) is dict and same([*value.items()], [*again.items()])
    if isinstance(value, list | tuple):
        return len(value) == len(again) and all(map(same, value, again))
    return type(value) is type(again) and bool(value == again)


def require_kept_if_certain(value: Any) -> None:
    kind: Any = type(value)
    if certainly_kept(kind)(value):
        assert same(value, decode(kind, encode(value)))


@given(parcels)
def test_a_value_of_the_annotated_types_that_is_certainly_kept_is_read_back_as_it_is(parcel: Parcel) -> None:
    require_kept_if_certain(parcel)


@given(parcels, some.sampled_from(sorted(right)), anything)
def test_so_is_one_with_a_field_of_another_type(parcel: Parcel, field: str, value: Any) -> None:
    require_kept_if_certain(msgspec.structs.replace(parcel, **{field: value}))


@given(parcels, parcels)
def test_so_is_one_within_another(outer: Parcel, inner: Parcel) -> None:
    require_kept_if_certain(msgspec.structs.replace(outer, inner=inner))


def test_a_usual_value_is_certainly_kept() -> None:
    parcel = Parcel(
        id=ParcelId.new(),
        any_id=ParcelId.new(),
        sku=Sku("abc"),
        name=Name("a"),
        note=None,
        price=Money(1, Currency("EUR")),
        count=1,
        weight=1.5,
        colour=Colour.RED,
        level=Level.LOW,
        sent=datetime(2026, 1, 1, tzinfo=UTC),
        due=None,
        day=date(2026, 1, 1),
        fragile=False,
        size="s",
        paid=Cash(amount=Money(1, Currency("EUR"))),
        tags=(Name("a"),),
        pair=(1, Text("b")),
        seen=frozenset(),
        counts={Sku("abc"): 1},
        inner=None,
    )
    assert certainly_kept(Parcel)(parcel)


@pytest.mark.parametrize(
    "value",
    [
        Guarded(id=ParcelId.new(), count=0),
        Counted(id=ParcelId.new(), count=1),
        Ambiguous(id=ParcelId.new(), said="2026-01-01T00:00:00Z"),
        Sparing(id=ParcelId.new(), count=1),
        Locked(id=ParcelId.new(), password=Secret("x")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_is_certain_where_reading_back_may_refuse_or_change_a_value(value: Any) -> None:
    kind: Any = type(value)
    assert not certainly_kept(kind)(value)


def test_a_class_of_texts_that_changes_them_when_they_are_read_is_never_certain() -> None:
    assert not certainly_kept(Shouted)(Shouted("a"))
    assert not certainly_kept(Total)(Total(10**50, Currency("EUR")))
