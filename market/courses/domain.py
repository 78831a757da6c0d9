"""The rules of courses."""

import re

from craton.domain import Name
from market.courses.events import BlankName, BlankTitle, NameIsId

_IS_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def require_title(title: Name) -> None:
    if not title:
        raise BlankTitle()


def require_name(name: Name) -> None:
    """A participant is found by its id or its name, so that a name mustn't look like an id."""
    if not name:
        raise BlankName()
    if _IS_ID(name):
        raise NameIsId()
