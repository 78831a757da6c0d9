"""Lists in pages."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec

from craton.ports import Range

T = TypeVar("T")
U = TypeVar("U")

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_PAGE = 1_000_000_000


class Paging(msgspec.Struct, frozen=True):
    """Which page of a list: `page` from 1, `page_size` from 1 to 100. Values outside fall back to the default."""

    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE

    parameters: ClassVar[tuple[str, ...]] = ("page", "page_size")

    @classmethod
    def lenient(cls, page: str | None, page_size: str | None) -> Self:
        """Read both numbers from text; a value that isn't a number or is out of range becomes the default."""
        return cls(_bounded(page, 1, MAX_PAGE), _bounded(page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE))

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


def _bounded(text: str | None, default: int, most: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
        return default
    number = int(text)
    return number if 1 <= number <= most else default


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, with the length of the whole list."""

    items: tuple[T, ...]
    total: int
    page: int
    page_size: int
    total_pages: int

    @classmethod
    def of(cls, items: Iterable[T], total: int, paging: Paging) -> "Page[T]":
        return Page(tuple(items), total, paging.page, paging.page_size, -(-total // paging.page_size))

    def map(self, change: Callable[[T], U]) -> "Page[U]":
        return Page(
            tuple(change(item) for item in self.items),
            self.total,
            self.page,
            self.page_size,
            self.total_pages,
        )


def within(start: Any, end: Any) -> Range | None:
    """A condition: from `start` (included) to `end` (excluded). None leaves that side open."""
    return None if start is None and end is None else Range(start, end)
