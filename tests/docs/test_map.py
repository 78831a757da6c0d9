"""The map of the market in the documentation is the market's."""

from pathlib import Path

from tests.cli.conftest import craton


def test_the_picture_in_the_docs_is_what_the_command_draws() -> None:
    drawn = craton("check", "--app", "market.app:app", "--map", "--format", "svg")

    assert drawn.out.strip() == Path("docs/market-map.svg").read_text(encoding="utf-8").strip(), (
        "the market's modules have changed: run `craton check --map --format svg > docs/market-map.svg`"
    )
