"""Counts the lines of code in a file: without blank lines, comments and docstrings."""

import ast
import io
import tokenize
from typing import Final

_NOT_CODE: Final = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)


def code_lines(source: str) -> int:
    """How many lines hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    written = {
        line for token in tokens if token.type not in _NOT_CODE for line in range(token.start[0], token.end[0] + 1)
    }
    return len(written - _lines_of_docstrings(source))


def _lines_of_docstrings(source: str) -> set[int]:
    """The lines of strings that are statements of their own: docstrings, and those of fields."""
    strings = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
