"""`python -m craton` is `craton`."""

from craton.cli.main import run

run()
