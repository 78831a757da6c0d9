"""Sagas that have not ended and that this program can't continue: one with other definitions has begun them."""

from collections.abc import Mapping
from typing import Any

from craton.application.sagas.definition import SagaDefinition
from craton.application.sagas.index import SagaRow
from craton.application.view import View


async def stranded(definitions: Mapping[str, SagaDefinition[Any]], rows: View[SagaRow]) -> dict[tuple[str, str], int]:
    """How many there are, by kind and fingerprint."""
    counts = await rows.sum("open", by=("kind", "fingerprint"), open=1)
    return {
        (kind, fingerprint): count
        for (kind, fingerprint), count in counts.items()
        if kind not in definitions or fingerprint not in definitions[kind].fingerprints
    }
