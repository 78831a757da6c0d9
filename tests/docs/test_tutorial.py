"""The tutorial's code is what it says: it runs, checks clean, passes its own test, and serves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import craton

TUTORIAL = Path("docs/tutorial.md")
_BLOCK = re.compile(r"```python\n# (?P<path>[\w/]+\.py)\n(?P<code>.*?)```", re.DOTALL)


def written_out(page: Path, folder: Path, *, blocks: int) -> Path:
    """Write each block of code that begins with the name of a file into that file."""
    found = list(_BLOCK.finditer(page.read_text(encoding="utf-8")))
    assert len(found) == blocks
    for block in found:
        path = folder / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["code"], encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written_out(TUTORIAL, tmp_path, blocks=13)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    toolkit = Path(craton.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{toolkit}"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_its_own_tests_pass(folder: Path) -> None:
    finished = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_box_office.py", "test_evening.py")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout


@pytest.mark.parametrize("app", ["theatre:app", "test_evening:app"])
def test_craton_has_nothing_to_complain_about(folder: Path, app: str) -> None:
    finished = run(folder, "craton", "check", "--app", app)

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_mypy_accepts_it_in_strict_mode(folder: Path) -> None:
    finished = run(folder, "mypy", "--strict", "--explicit-package-bases", ".")

    assert finished.returncode == 0, finished.stdout + finished.stderr
