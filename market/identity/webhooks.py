"""What the membership system tells, signed with a secret that both know."""

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import read_bounded
from craton.application import once
from craton.domain import InvalidValue, Secret, Unauthenticated
from market.identity.api import Identity
from market.identity.events import UserId
from market.identity.settings import IdentitySettings

HEADER = "membership-signature"
TOLERANCE_SECONDS = 300
MAX_BYTES = 64 * 1024
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", re.ASCII)


class MembershipNotice(msgspec.Struct, forbid_unknown_fields=True):
    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    event: Literal["membership_status_updated"]
    user_id: str
    membership: bool


class BadNotice(InvalidValue):
    """The notice isn't one."""


class BadSignature(Unauthenticated):
    """The signature is missing, wrong, or older than five minutes."""


async def membership_webhook(request: Request, identity: Identity, settings: IdentitySettings) -> Response:
    """Be told whether a user has a membership; a notice that comes again changes nothing."""
    body = await read_bounded(request, MAX_BYTES)
    signed_at = require_signature(settings.membership_secret, request.headers.get(HEADER, ""), body, time.time())
    try:
        notice = msgspec.json.decode(body, type=MembershipNotice)
        user = UserId(notice.user_id)
    except (msgspec.DecodeError, ValueError):
        raise BadNotice() from None
    with once(f"membership/{notice.event_id}"):
        await identity.change_membership(user, notice.membership, at=signed_at)
    return Response(status_code=204)


def sign(secret: Secret, body: bytes, at: float) -> str:
    """The signature of a body at a time, in seconds since 1970: `t=…,v1=…`."""
    digest = hmac.new(secret.reveal().encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={int(at)},v1={digest}"


def require_signature(secret: Secret | None, signature: str, body: bytes, now: float) -> datetime:
    """Return when it was signed. Raises `BadSignature`."""
    match = _SIGNATURE.fullmatch(signature)
    if not secret or match is None or abs(now - int(match[1])) > TOLERANCE_SECONDS:
        raise BadSignature()
    if not hmac.compare_digest(sign(secret, body, int(match[1])), signature):
        raise BadSignature()
    return datetime.fromtimestamp(int(match[1]), UTC)
