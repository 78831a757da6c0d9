"""What the documentation promises is there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from craton.runtime.settings import SETTINGS, Setting

README = Path("README.md").read_text(encoding="utf-8")
OPERATIONS = Path("docs/operations.md").read_text(encoding="utf-8")
PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *Path("docs").glob("*.md")]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "craton", "up", "--port", "0", "--data", str(tmp_path / "var")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as server:
        assert server.stdout is not None
        found = next(
            match[1] for line in server.stdout if (match := re.search(r"API +http://127\.0\.0\.1:(\d+)", line))
        )
        yield found
        server.terminate()
        assert server.wait(20) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readmes_terminal_session_moves_money(port: str) -> None:
    session = README.split("## Move money")[1].split("```sh\n")[1].split("```")[0]
    json_flag = re.compile(r"--json ")  # for a curl older than 7.82
    script = json_flag.sub(
        "-H 'content-type: application/json' -d ", session.replace("localhost:8000", f"localhost:{port}")
    )
    answers = script.replace("curl -s", "sleep 0.3; curl -s -w '\\n'")
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", answers], capture_output=True, text=True, timeout=60, check=False
    )

    assert finished.returncode == 0, finished.stderr
    *_, first, second, bob, ann_before, _events, trial = finished.stdout.splitlines()
    assert first == second
    assert '"balance":{"amount":"12.34","currency":"EUR"}' in bob
    assert '"balance":{"amount":"100.00","currency":"EUR"}' in ann_before
    assert '"difference":{"amount":"0.00","currency":"EUR"}' in trial


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_is_documented_with_its_default(setting: Setting) -> None:
    assert f"| `{setting.name}` | `{setting.default}` |" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
