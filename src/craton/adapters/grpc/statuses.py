"""Errors as gRPC statuses with details (google.rpc.Status). They never contain internal texts or secrets."""

from typing import Any, Final

import msgspec
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from craton.application.codec import encode_text, plain
from craton.application.errors import (
    AlreadyExists,
    AnswerNotKept,
    DeadlineExceeded,
    KeyReused,
    StaleVersion,
    Unavailable,
    ValueTaken,
)
from craton.domain import AccessDenied, DomainError, InvalidValue, NotFound, TooManyAttempts, Unauthenticated
from craton.ports import ChangesetRefused, StoreUnavailable

_CODES: Final = (
    (StaleVersion, StatusCode.ABORTED),
    (Unauthenticated, StatusCode.UNAUTHENTICATED),
    (InvalidValue, StatusCode.INVALID_ARGUMENT),
    (NotFound, StatusCode.NOT_FOUND),
    (AccessDenied, StatusCode.PERMISSION_DENIED),
    (TooManyAttempts, StatusCode.RESOURCE_EXHAUSTED),
    (ValueTaken | AlreadyExists, StatusCode.ALREADY_EXISTS),
    (DomainError, StatusCode.FAILED_PRECONDITION),
)


class Failure(msgspec.Struct, frozen=True):
    """A status, the sentence for people, and the details for programs."""

    code: StatusCode
    sentence: str
    details: tuple[Message, ...] = ()

    def packed(self) -> bytes:
        """The details as they are sent, in `grpc-status-details-bin`."""
        number, _ = self.code.value
        status = Status(code=number, message=self.sentence)
        for detail in self.details:
            packed = Packed()
            packed.Pack(detail)
            status.details.append(packed)
        return bytes(status.SerializeToString())


class Malformed(Exception):
    """The metadata of a call can't be understood."""


def failure_of(error: Exception, domain: str) -> Failure | None:
    """What a failed call is answered with; None if the failure is a bug. `domain` is the name of the application."""
    match error:
        case Malformed():
            return Failure(StatusCode.INVALID_ARGUMENT, str(error), (_info("malformed-metadata", domain),))
        case msgspec.ValidationError():
            sentence, _, path = str(error).partition(" - at `")
            wrong = BadRequest.FieldViolation(field=path.rstrip("`").removeprefix("$."), description=sentence)
            details = _info("invalid-value", domain), BadRequest(field_violations=[wrong])
            return Failure(StatusCode.INVALID_ARGUMENT, f"{sentence.rstrip('.')}.", details)
        case DomainError():
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            waiting = [_retry(error.retry_after)] if isinstance(error, TooManyAttempts) else []
            return Failure(code, str(error), (_info(error.code, domain, error.details), *waiting))
        case KeyReused() | AnswerNotKept():
            return Failure(StatusCode.FAILED_PRECONDITION, str(error), (_info(error.code, domain),))
        case DeadlineExceeded():
            info = _info(error.code, domain, maybe_executed=error.maybe_executed)
            return Failure(StatusCode.DEADLINE_EXCEEDED, "The deadline passed.", (info,))
        case Unavailable():
            info = _info(error.code, domain, maybe_executed=error.maybe_executed)
            sentence = "A part that this needs can't be reached now; try again."
            return Failure(StatusCode.UNAVAILABLE, sentence, (info, _retry(error.retry_after)))
        case ChangesetRefused() | StoreUnavailable():
            return Failure(StatusCode.UNAVAILABLE, "It can't be done now; try again.", (_retry(1),))
        case _:
            return None


def _info(reason: str, domain: str, details: Any = None, **more: Any) -> ErrorInfo:
    fields = {**({} if details is None else plain(details)), **more}
    texts = {name: value if isinstance(value, str) else encode_text(value) for name, value in fields.items()}
    return ErrorInfo(reason=reason, domain=domain, metadata=texts)


def _retry(seconds: int) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=seconds))
