"""craton lock, and craton check --lock."""

from pathlib import Path

import pytest

from tests.cli.conftest import craton

APP = {"CRATON_APP": "market.app:app"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with the market in it."""
    (tmp_path / "market").symlink_to(Path(__file__).parents[2] / "market")
    return tmp_path


def test_what_was_just_written_is_compatible(folder: Path) -> None:
    assert craton("lock", cwd=folder, env=APP).code == 0

    checked = craton("check", "--lock", cwd=folder, env=APP)

    assert "The upgrade is compatible." in checked.out
    assert checked.code == 0


def test_a_breaking_change_is_an_error(folder: Path) -> None:
    craton("lock", cwd=folder, env=APP)
    file = folder / "craton.lock"
    file.write_text(file.read_text().replace('"ledger.transfer"', '"ledger.move"'))

    checked = craton("check", "--lock", cwd=folder, env=APP)

    assert "breaking: ledger.move is gone, and services of the old version still call it." in checked.out
    assert "The upgrade is breaking." in checked.out
    assert checked.code == 1


def test_without_a_lock_it_says_how_to_write_one(folder: Path) -> None:
    refused = craton("check", "--lock", cwd=folder, env=APP)

    assert "There is no craton.lock here; craton lock writes one." in refused.err
    assert refused.code == 2


def test_a_lock_that_is_none_is_refused(folder: Path) -> None:
    (folder / "craton.lock").write_text("{")

    refused = craton("check", "--lock", cwd=folder, env=APP)

    assert "craton.lock can't be read" in refused.err
    assert refused.code == 2
