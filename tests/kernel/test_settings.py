"""A module's settings: read from the environment, checked at start, and never shown when they are secret."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import pytest
from msgspec import Meta

from craton.application import Api, Module, Settings, WiringError, query
from craton.application.settings import read_settings, shown, variable
from craton.domain import Name, Secret
from craton.runtime import App
from tests.conftest import SqlitePlace


class Greeting(Protocol):
    def greet(self, name: str) -> str: ...


class Polite:
    def greet(self, name: str) -> str:
        return f"Good day, {name}."


class Rude:
    def __init__(self, word: str) -> None:
        self._word = word

    def greet(self, name: str) -> str:
        return f"{self._word}, {name}!"


class DoorSettings(Settings):
    doors: Annotated[int, Meta(ge=1, le=9, description="how many there are")] = 2
    locked: bool = False
    ajar: float = 0.5
    sign: Name = Name("Welcome")
    rude_word: Annotated[str | None, Meta(description="how everybody is greeted")] = None
    code: Annotated[Secret | None, Meta(description="what opens them")] = None


class StrictSettings(Settings):
    key: Annotated[Secret, Meta(description="what opens the door")]


class Door(Api):
    @query
    async def knock(self, name: str) -> str:
        """Be greeted."""


class DoorService(Door):
    def __init__(self, greeting: Greeting, settings: DoorSettings) -> None:
        self._greeting = greeting
        self._settings = settings

    async def knock(self, name: str) -> str:
        return f"{self._greeting.greet(name)} {self._settings.sign} to {self._settings.doors} doors."


class PlainService(Door):
    async def knock(self, name: str) -> str:
        return name


def choose(settings: DoorSettings) -> Greeting:
    return Polite() if settings.rude_word is None else Rude(settings.rude_word)


def door(**options: Any) -> Module:
    options = {"provides": {Greeting: choose}, "settings": DoorSettings, **options}
    return Module("door", api=Door, service=DoorService, **options)


def read(**environment: str) -> DoorSettings:
    return read_settings(DoorSettings, "door", {f"CRATON_DOOR_{name}": value for name, value in environment.items()})


class TestASetting:
    def test_has_a_variable_of_its_module_and_name(self) -> None:
        assert variable("door", "rude_word") == "CRATON_DOOR_RUDE_WORD"

    def test_is_read_by_its_annotation(self) -> None:
        found = read(DOORS="9", LOCKED="true", AJAR="0.25", SIGN=" Come in ", RUDE_WORD="Hey", CODE=" 1234 ")

        assert (found.doors, found.locked, found.ajar, found.sign) == (9, True, 0.25, "Come in")
        assert (found.rude_word, found.code) == ("Hey", Secret(" 1234 "))
        assert type(found.sign) is Name

    def test_has_its_default_when_it_is_not_there_or_empty(self) -> None:
        assert read() == read(DOORS="", LOCKED="", CODE="", NONSENSE="5") == DoorSettings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DOORS", "0"),
            ("DOORS", "10"),
            ("DOORS", "two"),
            ("DOORS", "1.5"),
            ("LOCKED", "perhaps"),
            ("AJAR", "wide"),
            ("SIGN", "x" * 201),
            ("CODE", "x" * 5_001),
        ],
    )
    def test_that_is_wrong_is_named_and_not_repeated(self, name: str, value: str) -> None:
        with pytest.raises(WiringError, match=f"^CRATON_DOOR_{name} can't be used: ") as refusal:
            read(**{name: value})

        assert value not in str(refusal.value).removeprefix(f"CRATON_DOOR_{name}")
        assert refusal.value.__cause__ is None

    @pytest.mark.parametrize("environment", [{}, {"CRATON_DOOR_KEY": ""}])
    def test_that_is_required_is_named_with_what_it_is_for(self, environment: Mapping[str, str]) -> None:
        with pytest.raises(WiringError, match=r"^CRATON_DOOR_KEY must be set: what opens the door$"):
            read_settings(StrictSettings, "door", environment)

    def test_that_is_secret_is_shown_nowhere(self) -> None:
        found = read(CODE="sesame")

        assert "sesame" not in repr(found) + str(found) + repr(found.code) + str(found.code) + f"{found.code}"
        assert "sesame" not in dict(shown(found))["code"]
        assert found.code is not None
        assert found.code.reveal() == "sesame"
        assert dict(shown(DoorSettings()))["code"] == ""

    def test_is_not_changed_afterwards(self) -> None:
        with pytest.raises(AttributeError):
            read().doors = 3  # type: ignore[misc]


class TestASecret:
    def test_is_compared_by_what_it_hides(self) -> None:
        assert Secret("sesame") == Secret("sesame") != Secret("mellon")
        assert Secret("sesame") != "sesame"
        assert len({Secret("sesame"), Secret("sesame")}) == 1
        assert [bool(Secret("")), bool(Secret(" "))] == [False, True]

    def test_is_at_most_so_long(self) -> None:
        assert Secret("x" * 5_000)
        with pytest.raises(ValueError, match="more than 5000 characters") as refusal:
            Secret("x" * 5_001)
        assert "xx" not in str(refusal.value)


class TestAnApp:
    async def test_refuses_to_start_with_a_wrong_setting(self, sqlite_place: SqlitePlace) -> None:
        app = App("test", modules=[door()], environment={"CRATON_DOOR_DOORS": "none"})

        with pytest.raises(WiringError, match=r"^CRATON_DOOR_DOORS can't be used"):
            async with app.run(sqlite_place):
                pass

    @pytest.mark.parametrize(
        ("environment", "greeting"),
        [
            ({}, "Good day, Ann. Welcome to 2 doors."),
            ({"CRATON_DOOR_RUDE_WORD": "Hey", "CRATON_DOOR_DOORS": "3"}, "Hey, Ann! Welcome to 3 doors."),
        ],
    )
    async def test_gives_a_service_its_settings_and_what_was_chosen_by_them(
        self, sqlite_place: SqlitePlace, environment: Mapping[str, str], greeting: str
    ) -> None:
        app = App("test", modules=[door()], environment=environment)

        async with app.run(sqlite_place):
            assert await app.api(Door).knock("Ann") == greeting
        assert list(app.wiring.problems()) == []

    async def test_chooses_once_for_all_parts_of_a_module(self, sqlite_place: SqlitePlace) -> None:
        chosen: list[Greeting] = []

        def choosing(settings: DoorSettings) -> Greeting:
            chosen.append(Polite())
            return chosen[-1]

        async def start(greeting: Greeting) -> Sequence[str]:
            return ["the same" if greeting is chosen[0] else "another"]

        app = App("test", modules=[door(provides={Greeting: choosing}, start=start)], environment={})

        async with app.run(sqlite_place):
            assert await app.begin(empty=True) == ["the same"]
        assert len(chosen) == 1

    async def test_says_what_a_choosing_function_lacks(self) -> None:
        def choosing(nobodys: Name) -> Greeting:
            return Polite()

        (problem,) = App("test", modules=[door(provides={Greeting: choosing})], environment={}).wiring.problems()

        assert problem.startswith("module door: choosing asks for nobodys: Name, which nothing provides.")


class TestAStart:
    async def test_is_given_what_it_asks_for_and_its_sentences_are_said(self, sqlite_place: SqlitePlace) -> None:
        async def start(door: Door, settings: DoorSettings) -> Sequence[str]:
            return [await door.knock("Ann"), f"{settings.doors} doors"]

        async def other_start() -> Sequence[str]:
            return ["and so on"]

        class Other(Api):
            @query
            async def nothing(self) -> None:
                """Nothing."""

        class OtherService(Other):
            async def nothing(self) -> None:
                return None

        other = Module("other", api=Other, service=OtherService, start=other_start)
        app = App("test", modules=[door(start=start), other], environment={"CRATON_DOOR_DOORS": "4"})

        for _ in range(2):
            async with app.run(sqlite_place):
                said = await app.begin(empty=True)
            assert said == ["Good day, Ann. Welcome to 4 doors.", "4 doors", "and so on"]

    async def test_comes_before_the_demo_data_which_an_empty_start_leaves_out(self, sqlite_place: SqlitePlace) -> None:
        async def start() -> Sequence[str]:
            return ["started"]

        async def fill(app: App) -> Sequence[str]:
            return ["filled"]

        app = App("test", modules=[door(start=start)], fill=fill, environment={})

        async with app.run(sqlite_place):
            assert await app.begin(empty=False) == ["started", "filled"]
            assert await app.begin(empty=True) == ["started"]

    async def test_tells_of_variables_that_nobody_reads(self, sqlite_place: SqlitePlace) -> None:
        environment = {"CRATON_DOOR_DOORS": "3", "CRATON_DOOR_LOKED": "true", "CRATON_STORE": "sqlite", "DOOR": "open"}

        app = App("test", modules=[door()], environment=environment)

        async with app.run(sqlite_place):
            assert await app.begin(empty=True) == ["CRATON_DOOR_LOKED is set, but there is no such setting."]

    def test_says_what_it_lacks(self) -> None:
        async def start(nobodys: Name) -> Sequence[str]:
            return []

        (problem,) = App("test", modules=[door(start=start)], environment={}).wiring.problems()

        assert problem.startswith("module door: start asks for nobodys: Name, which nothing provides.")
