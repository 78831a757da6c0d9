"""Records as a table for people, or as JSON lines for scripts."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from craton.application.codec import encode_text
from craton.cli.load import out


def print_records(records: Sequence[Any], columns: Sequence[str], *, as_json: bool) -> None:
    """Print structs: as JSON with all their fields, or as a table with the named columns."""
    if as_json:
        for record in records:
            print_json(record)
        return
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(*(str(getattr(record, column)) for column in columns))
    out.print(table)


def print_json(record: Any) -> None:
    out.out(encode_text(record), highlight=False)
