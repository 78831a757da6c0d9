"""What operators do is recorded with what it does, once: who did it, when, why; and a verb has one answer a key."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from craton.application import Context, Paging, Unavailable
from craton.application.api import operation_of
from craton.application.errors import DeadlineExceeded, KeyReused
from craton.application.sagas.process import BlankReason, SagaEnded, SagaNotFound
from craton.application.sagas.state import SagaId, Status
from craton.domain import Text, uuid7, world
from craton.ports import Changeset, NothingParked, Outcome, StoreUnavailable, Timer
from craton.runtime import App
from craton.runtime.committer import write_alone
from craton.runtime.operations.api import Operations
from craton.runtime.operations.refusals import ModuleNotFound, TimerNotFound
from tests.conftest import PostgresPlace
from tests.kernel.bank import bank
from tests.kernel.conftest import Clock, OpenOffice, StartApp
from tests.kernel.jars import JarId, Jars, Totals, caught_up, jars
from tests.kernel.office import Office
from tests.kernel.operators import NOON, act, audited, park
from tests.kernel.travel import TripId, Weather
from tests.line import Line
