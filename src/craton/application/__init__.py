"""The building blocks of use cases."""

from craton.application.access import narrow, only, own, permit, public, signed_in
from craton.application.api import INCIDENTAL, Api, command, query
from craton.application.command_keys import CommandKey
from craton.application.context import Caller, Context, Precondition, context, once
from craton.application.errors import (
    AlreadyExists,
    AnswerNotKept,
    CallFailed,
    DeadlineExceeded,
    KeyReused,
    MisuseError,
    NotStorable,
    StaleVersion,
    Unavailable,
    ValueTaken,
    WiringError,
)
from craton.application.limits import Limit, per_hour, per_minute
from craton.application.module import Module
from craton.application.page import Page, Paging, within
from craton.application.policy import Policy
from craton.application.projection import Projection
from craton.application.repository import AuditEvent, Repository
from craton.application.retry import Retry, minutes, seconds
from craton.application.routes import Routes, delete, get, post, put
from craton.application.rows import Column, Hidden, Index, Key, Row, Rows, Search, Unique
from craton.application.rpcs import Rpcs, rpc
from craton.application.sagas import Cause, Saga, Sagas, step, wait_for
from craton.application.settings import Settings
from craton.application.unit_of_work import Database, now, schedule, transaction
from craton.application.upcasting import Upcaster
from craton.application.view import View

__all__ = [
    "INCIDENTAL",
    "AlreadyExists",
    "AnswerNotKept",
    "Api",
    "AuditEvent",
    "CallFailed",
    "Caller",
    "Cause",
    "Column",
    "CommandKey",
    "Context",
    "Database",
    "DeadlineExceeded",
    "Hidden",
    "Index",
    "Key",
    "KeyReused",
    "Limit",
    "MisuseError",
    "Module",
    "NotStorable",
    "Page",
    "Paging",
    "Policy",
    "Precondition",
    "Projection",
    "Repository",
    "Retry",
    "Routes",
    "Row",
    "Rows",
    "Rpcs",
    "Saga",
    "Sagas",
    "Search",
    "Settings",
    "StaleVersion",
    "Unavailable",
    "Unique",
    "Upcaster",
    "ValueTaken",
    "View",
    "WiringError",
    "command",
    "context",
    "delete",
    "get",
    "minutes",
    "narrow",
    "now",
    "once",
    "only",
    "own",
    "per_hour",
    "per_minute",
    "permit",
    "post",
    "public",
    "put",
    "query",
    "rpc",
    "schedule",
    "seconds",
    "signed_in",
    "step",
    "transaction",
    "wait_for",
    "within",
]
