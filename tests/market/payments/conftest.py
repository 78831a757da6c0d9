"""localstripe, started once."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.market.payments.stripe_server import KEY, MISSING, Server, running


@pytest.fixture(scope="session")
def localstripe() -> Iterator[str]:
    if MISSING and os.environ.get("CRATON_REQUIRE_SERVICES") != "1":
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    with running() as url:
        yield url


@pytest.fixture
async def server(localstripe: str) -> AsyncIterator[Server]:
    import httpx  # noqa: PLC0415  (only who has it asks for this)

    async with httpx.AsyncClient(base_url=localstripe, auth=(KEY, "")) as client:
        yield Server(client)
