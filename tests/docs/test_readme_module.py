"""The README's module runs as pasted."""

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from craton.adapters.stores import stores
from craton.runtime import App
from tests.cli.conftest import craton
from tests.http.client import Client
from tests.http.conftest import served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    section = Path("README.md").read_text(encoding="utf-8").split("## A module")[1]
    code = section.split("```python\n")[1].split("```")[0]
    (tmp_path / "demo.py").write_text(code, encoding="utf-8")
    return tmp_path


@pytest.fixture
def app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("demo").app
    del sys.modules["demo"]


@pytest.fixture
async def client(app: App, tmp_path: Path) -> AsyncIterator[Client]:
    async with app.run(stores("sqlite", tmp_path, app.name)), served(app) as client:
        yield client


async def test_it_serves(client: Client) -> None:
    opened = await client.post("/accounts", {"owner": "Ann"})
    deposits = f"/accounts/{opened.json['id']}/deposits"

    assert (await client.post(deposits, {"amount": 5})).status == 204
    assert (await client.post(deposits, {"amount": 0})).code == "not-positive"
    assert (await client.get(opened.headers["location"])).json == 5


def test_craton_has_nothing_to_complain_about(folder: Path) -> None:
    checked = craton("check", "--app", "demo:app", cwd=folder)

    assert (checked.code, checked.err) == (0, "")
