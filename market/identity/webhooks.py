"""The webhook of the membership system, which signs its notices with a secret that both sides know."""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import read_bounded
from craton.application import once
from craton.domain import Secret
from craton.domain.world import now
from market.identity.api import Identity
from market.identity.events import BadNotice, BadSignature, UserId
from market.identity.settings import IdentitySettings

HEADER = "membership-signature"
MAX_SIGNATURE_AGE_SECONDS = 300
MAX_NOTICE_BYTES = 64 * 1024
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", re.ASCII)


class MembershipNotice(msgspec.Struct, forbid_unknown_fields=True):
    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    event: Literal["membership_status_updated"]
    user_id: str
    membership: bool


async def membership_webhook(request: Request, identity: Identity, settings: IdentitySettings) -> Response:
    """Receive a notice whether a user has a membership. A notice that comes again changes nothing."""
    body = await read_bounded(request, MAX_NOTICE_BYTES)
    signed_at = require_signature(settings.membership_secret, request.headers.get(HEADER, ""), body, now().timestamp())
    try:
        notice = msgspec.json.decode(body, type=MembershipNotice)
        user = UserId(notice.user_id)
    except (msgspec.DecodeError, ValueError):
        raise BadNotice() from None
    with once(f"membership/{notice.event_id}"):
        await identity.change_membership(user, notice.membership, at=signed_at)
    return Response(status_code=204)


def sign(secret: Secret, body: bytes, at: float) -> str:
    """The signature of a body, as `t=…,v1=…`; `at` is in seconds since 1970."""
    digest = hmac.new(secret.reveal().encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={int(at)},v1={digest}"


def require_signature(secret: Secret | None, signature: str, body: bytes, now: float) -> datetime:
    """Return the time of signing. Raises `BadSignature`; without a secret, every signature is bad."""
    match = _SIGNATURE.fullmatch(signature)
    if not secret or match is None:
        raise BadSignature()
    if abs(now - int(match[1])) > MAX_SIGNATURE_AGE_SECONDS:
        raise BadSignature()
    if not hmac.compare_digest(sign(secret, body, int(match[1])), signature):
        raise BadSignature()
    return datetime.fromtimestamp(int(match[1]), UTC)
