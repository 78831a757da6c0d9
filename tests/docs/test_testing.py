"""The examples about testing are what the page says: they run, and they check clean."""

from pathlib import Path

import pytest

from tests.docs.test_tutorial import run, written_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written_out(Path("docs/testing.md"), tmp_path, blocks=5)


def test_they_pass(folder: Path) -> None:
    finished = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", ".")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "18 passed" in finished.stdout


def test_each_of_them_can_fail(folder: Path) -> None:
    library = folder / "library.py"
    code = library.read_text(encoding="utf-8")
    assert "if self.member:" in code
    library.write_text(code.replace("if self.member:", "if not self.title:"), encoding="utf-8")

    finished = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", ".")

    for file in ("test_rules.py", "test_library.py", "test_http.py", "test_many_orders.py"):
        assert f"FAILED {file}" in finished.stdout, finished.stdout


def test_craton_has_nothing_to_complain_about(folder: Path) -> None:
    finished = run(folder, "craton", "check", "--app", "library:app")

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_mypy_accepts_them_in_strict_mode(folder: Path) -> None:
    finished = run(folder, "mypy", "--strict", "--explicit-package-bases", ".")

    assert finished.returncode == 0, finished.stdout + finished.stderr
