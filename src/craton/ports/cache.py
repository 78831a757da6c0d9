"""The port of a cache that processes share. It may lose or refuse anything at any time: no answer depends on it."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class SharedCache(Protocol):
    """Texts by key. Neither method raises, and both end soon whatever happens: a failure counts as nothing found."""

    async def get(self, keys: Sequence[str]) -> Sequence[str | None]:
        """The texts of these keys, in their order; None where there is none."""

    async def put(self, entries: Mapping[str, str]) -> None:
        """Keep texts for a time."""

    async def close(self) -> None: ...
