"""The `craton` command, run as a process of its own on a small data folder."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.nursery import Nursery
from tests.market.bank import Bank
from tests.market.guarded import GuardedPlace
from tests.market.money import eur

PROJECT = Path(__file__).parents[2]
CRATON = Path(sys.executable).parent / "craton"
LEDGER = "tests.market.ledger_app:app"


class Ended(msgspec.Struct, frozen=True):
    """A command that has ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[Any]:
        """What was written with --json, one object a line."""
        return [json.loads(line) for line in self.lines]

    def require_one_sentence(self, code: int, *words: str) -> None:
        """Check that the command was refused with one sentence for people, and no traceback."""
        assert self.code == code, self
        sentence = self.err.strip()
        assert "Traceback" not in self.out + self.err
        assert len(sentence.splitlines()) == 1
        assert sentence.endswith(".")
        for word in words:
            assert word in sentence


Craton = Callable[..., Ended]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of craton's."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CRATON_")}
    return {**plain, "CRATON_APP": LEDGER, "COLUMNS": "200", "NO_COLOR": "1", **(more or {})}


NURSERY = Nursery(environment())


def craton(*arguments: str, cwd: Path = PROJECT, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    return Ended(*NURSERY.run(arguments, cwd, environment(env)))


class Data(msgspec.Struct, frozen=True):
    """A folder with a ledger in it: two accounts, a deposit of 100 EUR and a transfer of 30."""

    folder: Path
    ada: str
    bob: str

    @property
    def option(self) -> tuple[str, str]:
        return "--data", str(self.folder)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Made once; tests that change it take a copy (`data`)."""
    folder = tmp_path_factory.mktemp("ledger")

    async def fill() -> Data:
        async with GuardedPlace("sqlite", folder).open() as bank:
            ada, bob = await _accounts(bank)
            await bank.settled()
            return Data(folder, ada, bob)

    return asyncio.run(fill())


async def _accounts(bank: Bank) -> tuple[str, str]:
    ada = await bank.open("100", owner="Ada")
    bank.clock.turn(minutes=1)
    bob = await bank.open(owner="Bob")
    bank.clock.turn(minutes=1)
    await bank.ledger.transfer(ada, bob, eur("30"))
    return ada, bob


@pytest.fixture
def data(filled: Data, tmp_path: Path) -> Data:
    folder = tmp_path / "var"
    shutil.copytree(filled.folder, folder)
    return msgspec.structs.replace(filled, folder=folder)
