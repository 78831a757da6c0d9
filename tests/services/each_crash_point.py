"""Each service dies at each crash point, with one replica of it and with two. `make test-replicas` runs this.

It takes half an hour and needs Postgres for itself, so that `make test` has some of these deaths only
(`test_market_in_services`). A service that never passes a point lives: timers are due in money only, and people has no
sagas.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from craton.testing.crash import CRASH_POINTS, Send
from tests.crash.conftest import ROOT, verify
from tests.crash.market_shop import MARKET, Market, MarketDay, Signed
from tests.crash.test_market_crashes import ORDERS
from tests.services.processes import SERVICES
from tests.services.test_market_in_services import TOPOLOGY, survived

TIMES: Final = {
    "commit.events_written": 120,
    "commit.written": 120,
    "commit.durable": 120,
    "subscription.read": 120,
    "subscription.handled": 120,
    "subscription.written": 120,
    "lease.taken": 3,
    "timer.read": 1,
    "projection.built": 8,
    "projection.swapped": 8,
}
"""How often a service passes a point until it dies there: after the market was opened, before all orders have ended."""
OFTEN: Final = 30


def test_both_replicas_of_each_service_die_one_after_the_other_and_every_order_ends_well(
    doubled: Callable[..., Market], folder: Path
) -> None:
    points = (
        "shop=commit.durable:60,saga.acted:40,lease.taken:5,saga.reported:30 "
        "money=commit.written:40,saga.planned:15,policy.reacted:10,call.committed:30 "
        "people=policy.reacted:15,subscription.written:30,lease.taken:5,commit.durable:30"
    )
    with doubled(crash_at=points) as market:
        deaths = survived(market, MarketDay(2 * ORDERS))
        store = market.store
    code, said = verify(folder, store, MARKET)
    assert code == 0, said
    assert all(deaths[name] >= 2 for name in SERVICES), deaths


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_each_service_dies_at_each_crash_point(
    point: str, replicas: int, folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    one = partial(Market, data=folder, folder=ROOT, topology=TOPOLOGY)
    made: Callable[..., Market] = one if replicas == 1 else request.getfixturevalue("doubled")
    points = [f"{point}:{TIMES.get(point, OFTEN)}"] * replicas
    if point == "lease.taken":  # by one that is started again
        points = ["commit.durable:120"] * replicas + points
    day = MarketDay(2 * ORDERS)
    with made(crash_at=" ".join(f"{name}={','.join(points)}" for name in SERVICES)) as market:
        deaths = survived(market, day, *([partial(rebuild, day)] if point.startswith("projection.") else []))
        store = market.store
    code, said = verify(folder, store, MARKET)
    with capsys.disabled():
        print(f"\n{point}, {replicas} of each: deaths {dict(deaths)}, exit code of craton verify {code}")
    assert code == 0, said


def rebuild(day: MarketDay, send: Send) -> None:
    """Have a read model of each service built anew."""
    for name in ("shipments", "paymentlist", "users"):
        send(Signed(f"/v1/admin/projections/{name}/rebuild", None, token=day.token))
    time.sleep(0.5)
