"""Alarms: the commands that timers are tested with. What becomes of each is planned by the test."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, ClassVar, Self

from craton.application import Api, Database, Module, command, query, schedule
from craton.domain import Conflict, DomainError, Secret

Plan = Callable[[], Awaitable[None]]


class TooLate(Conflict):
    """Everybody is awake."""


class NotNow(DomainError):
    """It can't be done yet."""

    temporary = True


class Odd:
    """A value that is refused with a domain error when it is read."""

    json_schema: ClassVar[dict[str, Any]] = {"type": "string"}

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        raise TooLate

    def encode_value(self) -> str:
        return "odd"


class Bells:
    """Notes which bells are rung, and does with each what is planned for it; what has no plan simply rings."""

    def __init__(self) -> None:
        self.rung: list[Any] = []
        self.plans: dict[Any, Plan] = {}

    async def ring(self, bell: Any) -> None:
        self.rung.append(bell)
        if bell in self.plans:
            await self.plans[bell]()

    def fail(self, bell: Any, problem: BaseException) -> None:
        async def fail() -> None:
            raise problem

        self.plans[bell] = fail

    def hang(self, bell: Any) -> None:
        async def hang() -> None:
            await asyncio.Event().wait()

        self.plans[bell] = hang


class Alarms(Api):
    @command
    async def set(self, bell: str, at: datetime) -> None:
        """Have a bell rung."""

    @command
    async def set_many(self, bells: list[str], at: datetime) -> None:
        """Have bells rung."""

    @command
    async def set_secret(self, bell: str, at: datetime) -> None:
        """Have a bell rung by a command that answers a secret."""

    @command
    async def set_chimes(self, chimes: dict[int, frozenset[str]], at: datetime) -> None:
        """Have chimes played."""

    @command
    async def set_wrong(self, at: datetime) -> None:
        """Have a command run whose SQL is wrong."""

    @command
    async def ring(self, bell: str) -> None:
        """Ring a bell."""

    @command
    async def ring_secret(self, bell: str) -> Secret:
        """Ring a bell, and answer what nobody may keep."""

    @command
    async def chime(self, chimes: dict[int, frozenset[str]]) -> None:
        """Ring bells by the hour."""

    @command
    async def wrong(self) -> None:
        """Run SQL that is wrong."""

    @command
    async def odd(self, odd: Odd) -> None:
        """Ring an odd bell."""

    @query
    async def bells(self) -> list[str]:
        """The bells that were rung."""


class AlarmsService(Alarms):
    def __init__(self, bells: Bells, database: Database) -> None:
        self._bells = bells
        self._database = database

    async def set(self, bell: str, at: datetime) -> None:
        schedule(at, Alarms.ring, bell=bell)

    async def set_many(self, bells: list[str], at: datetime) -> None:
        for bell in bells:
            schedule(at, Alarms.ring, bell=bell)

    async def set_secret(self, bell: str, at: datetime) -> None:
        schedule(at, Alarms.ring_secret, bell=bell)

    async def set_chimes(self, chimes: dict[int, frozenset[str]], at: datetime) -> None:
        schedule(at, Alarms.chime, chimes=chimes)

    async def ring(self, bell: str) -> None:
        await self._bells.ring(bell)

    async def ring_secret(self, bell: str) -> Secret:
        await self._bells.ring(bell)
        return Secret(f"the sound of {bell}")

    async def set_wrong(self, at: datetime) -> None:
        schedule(at, Alarms.wrong)

    async def chime(self, chimes: dict[int, frozenset[str]]) -> None:
        self._bells.rung.append(chimes)

    async def wrong(self) -> None:
        await self._database.execute("INSERT INTO nowhere VALUES (1)")

    async def odd(self, odd: Odd) -> None:
        await self._bells.ring("odd")

    async def bells(self) -> list[str]:
        return self._bells.rung


class OldAlarms(Api):
    """The module in an older version of the program, which can't ring what it sets."""

    @command
    async def set(self, bell: str, at: datetime) -> None:
        """Have a bell rung."""


class OldAlarmsService(OldAlarms):
    async def set(self, bell: str, at: datetime) -> None:
        schedule(at, Alarms.ring, bell=bell)


def alarms(bells: Bells) -> Module:
    return Module("alarms", api=Alarms, service=AlarmsService, provides={Bells: bells})


def old_alarms() -> Module:
    return Module("alarms", api=OldAlarms, service=OldAlarmsService)
