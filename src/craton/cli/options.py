"""Options that several commands share."""

from typing import Annotated

import typer

AppName = Annotated[str | None, typer.Option("--app", help="The application, as module:name.")]
Data = Annotated[str | None, typer.Option(help="The folder of the SQLite files.")]
StoreUrl = Annotated[str | None, typer.Option("--store", help="The store: sqlite, memory, or a postgresql:// URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
