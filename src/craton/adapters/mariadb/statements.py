"""What must be known of a statement's text: whether it makes a table, commits by itself, and which table it changes."""

import re
from typing import Final

TABLE_OPTIONS: Final = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
"""Transactions, and texts that are equal only if they are the same, as in the other stores."""
_PART: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--(?=\s|$)[^\n]*|\#[^\n]*|/\*.*?\*/""", re.DOTALL)
"""A quoted text or name, or a comment."""
_CREATES_TABLE: Final = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\b", re.IGNORECASE).match
_COMMITS: Final = re.compile(
    r"(?:ALTER|ANALYZE|BEGIN|COMMIT|CREATE|DROP|FLUSH|GRANT|LOCK|OPTIMIZE|RENAME|REPAIR|RESET|REVOKE|ROLLBACK|START"
    r"|TRUNCATE|UNLOCK|SET\s+(?:\w+\s+)?AUTOCOMMIT)\b",
    re.IGNORECASE,
).match
"""https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/, and what begins or ends a transaction."""
_CHANGED: Final = re.compile(r"\b(?:INTO|UPDATE)\s+[\"`]?(\w+)", re.IGNORECASE).search


def _bare(text: str) -> str:
    """A statement without its comments."""
    return _PART.sub(lambda part: " " if part[0][0] in "-#/" else part[0], text).strip()


def commits_by_itself(text: str) -> bool:
    """Whether a statement would end the transaction."""
    return _COMMITS(_bare(text)) is not None


def with_table_options(text: str) -> str:
    """The statement; if it makes a table, with the options that every table has."""
    bare = _bare(text)
    return bare.rstrip("; \n") + TABLE_OPTIONS if _CREATES_TABLE(bare) else text


def changed_table(text: str) -> str:
    """The table that an INSERT or UPDATE changes; empty if it is none."""
    found = _CHANGED(_bare(text))
    return found[1] if found else ""
