"""What the documentation promises is there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from craton.adapters.http.operations import operators_routes
from craton.application.routes import Route
from craton.cli.main import cli
from craton.runtime.settings import SETTINGS, Setting
from market.app import app

README = Path("README.md").read_text(encoding="utf-8")
OPERATIONS = Path("docs/operations.md").read_text(encoding="utf-8")
FOR_OPERATORS = OPERATIONS + Path("docs/sagas.md").read_text(encoding="utf-8")
PAGES = [*Path().glob("*.md"), *Path("docs").glob("*.md")]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "craton", "up", "--port", "0", "--data", str(tmp_path / "var")]
    environment = {**os.environ, "COLUMNS": "200", "CRATON_NOTIFICATIONS_FOLDER": str(tmp_path / "mail")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        found = next(
            match[1] for line in server.stdout if (match := re.search(r"API +http://127\.0\.0\.1:(\d+)", line))
        )
        yield found
        server.terminate()
        assert server.wait(300) == 0


SHOWN = (
    '"status":"completed"',
    '"total":{"amount":"104.80","currency":"EUR"},"status":"confirmed"',
    '"status":"succeeded"',
    '"status":"scheduled"',
    '"status":"refunded"',
)
"""What comes of it, look for look, as the README says beside each."""
SHOWS = """
shows() { while answer=$(me "${@:2}"); [[ $answer != *"$1"* ]]; do sleep 0.1; done; echo "$answer"; }
"""
"""Looks again and again, until there is what was to come; the README's readers take their time."""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readmes_terminal_session_buys_and_cancels(port: str, tmp_path: Path) -> None:
    session = README.split("## Buy something")[1].split("```sh\n")[1].split("```")[0]
    script = session.replace("localhost:8000", f"localhost:{port}").replace("var/mail", str(tmp_path / "mail"))
    script = script.replace("--json ", "-H 'content-type: application/json' -d ")  # for a curl older than 7.82
    expected = iter(SHOWN)
    patiently = SHOWS + re.sub("me curl -s", lambda _: f"shows {shlex.quote(next(expected))} curl -s", script)
    patiently = patiently.replace(
        "grep -l", f"until [ $(ls {tmp_path}/mail | wc -l) -ge 2 ]; do sleep 0.1; done; grep -l"
    )
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", patiently], capture_output=True, text=True, timeout=300, check=False
    )

    assert finished.returncode == 0, finished.stderr
    registered_and_repeated, *seen, refunded = finished.stdout.splitlines()
    assert registered_and_repeated.count('"order_id"') == 1
    for shown, look in zip(SHOWN, [registered_and_repeated, *seen[:3], refunded], strict=True):
        assert shown in look
    assert len([mail for mail in seen[3:] if mail.endswith(".eml")]) >= 2


def test_the_demo_ends_well() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "craton", "demo"], capture_output=True, text=True, timeout=300, check=False
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "the checkout goes on: Confirmed" in told.stdout


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_is_documented_with_its_default(setting: Setting) -> None:
    default = f"`{setting.default}`" if setting.default else "none"

    assert f"| `{setting.name}` | {default} |" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("route", [*operators_routes(app)], ids=lambda route: f"{route.method} {route.path}")
def test_each_route_of_operators_is_documented(route: Route) -> None:
    shown = route.path.replace("{saga}", "{id}")

    assert re.search(rf"`{route.method} {re.escape(shown)}[`?]", FOR_OPERATORS)


def commands(group: Any, prefix: str = "craton") -> Iterator[str]:
    """All commands of the command line, as they are typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


@pytest.mark.parametrize("command", [*commands(typer.main.get_command(cli))])
def test_each_command_is_documented(command: str) -> None:
    assert re.search(rf"`{command}[` ]", FOR_OPERATORS)
