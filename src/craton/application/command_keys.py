"""Idempotency keys of commands, and how policies, sagas and handlers get them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from craton.application.errors import MisuseError
from craton.domain import DomainError

OWN_KEY: Final = "§"
"""What the keys of policies and sagas begin with. Clients can't make such keys: theirs are ASCII."""


class CommandKey(msgspec.Struct, frozen=True):
    """An idempotency key: a repeated command with the same key gives the same result and no second effect."""

    text: str
    is_repeated: bool = False
    """Whether the key was probably used before: then it is looked up before the command runs."""
    keeps_refusals: bool = True
    """Whether a refusal is kept as the final answer to the key."""
    settles: bool = False
    """Answer with the outcome of the command that had this key. If it hasn't run, make sure that it never runs."""

    def __str__(self) -> str:
        return self.text


class CommandKeys:
    """Gives each command of a policy or of a saga's step its own key, which is the same each time the step is tried.

    A key is made of the command's name and the number of commands with this name before it, so queries in between don't
    change it. A command that was refused for good and is to run again (it is in `refused`) gets a new key.
    `settles`: the commands don't run; only their outcomes are looked up. `is_repeated`: it isn't the first time that
    the step is tried. `keeps_refusals`: a refusal is the final answer to a key.
    """

    def __init__(
        self,
        name: str,
        refused: tuple[str, ...] = (),
        *,
        settles: bool = False,
        is_repeated: bool = False,
        keeps_refusals: bool = True,
    ) -> None:
        self.name = name
        self._kind = CommandKey("", is_repeated=is_repeated, keeps_refusals=keeps_refusals, settles=settles)
        self._refused = Counter(refused)
        self._given: list[str] = []
        self._running = False
        self._refusal: tuple[str, DomainError] | None = None

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def command(self, operation: str) -> Iterator[CommandKey]:
        """The key of the next command, for use within the block. Raises `MisuseError` while another command runs."""
        if self._running:
            raise MisuseError(
                f"{self.name} gives {operation} while another command runs; give one after the other, "
                f"or make steps of their own that run side by side"
            )
        before = sum(given.startswith(f"{operation}#") for given in self._given)
        label = f"{operation}#{before + 1}"
        again = self._refused[label]
        self._given.append(label)
        self._running = True
        text = f"{OWN_KEY}{self.name}/{label}" + (f".{again}" if again else "")
        try:
            yield msgspec.structs.replace(self._kind, text=text)
        except DomainError as refusal:
            self._refusal = label, refusal
            raise
        finally:
            self._running = False

    @property
    def newest(self) -> str:
        """The name of the command that was given last; "" if there was none."""
        return self._given[-1].partition("#")[0] if self._given else ""

    def refused(self, refusal: DomainError) -> str:
        """The command that raised this refusal; "" if it came from none of them."""
        return self._refusal[0] if self._refusal is not None and self._refusal[1] is refusal else ""

    def nothing_ran(self, refusal: DomainError | None) -> bool:
        """Whether it is certain that no command took effect: there was only one, and it was refused."""
        return refusal is not None and len(self._given) == 1 and self.refused(refusal) != ""
