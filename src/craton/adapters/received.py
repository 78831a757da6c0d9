"""The body of a request to an ASGI application, limited in size and time."""

from starlette.types import Receive

from craton.runtime.process.attempt import bounded


class TooLarge(ValueError):
    """The body is larger than it may be."""


class ClientGone(Exception):
    """The client has closed the connection, so no answer is needed."""


async def received(receive: Receive, limit: int, seconds: float) -> bytes:
    """Return the whole body. Raises `TooLarge` for more than `limit` bytes, `TimeOver`, and `ClientGone`."""
    return await bounded(seconds, _all(receive, limit))


async def _all(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"it has more than {limit} bytes")
        if not message.get("more_body"):
            return bytes(body)
