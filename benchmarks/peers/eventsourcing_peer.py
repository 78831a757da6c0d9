"""The benchmark's scenarios on the PyPI package `eventsourcing`.

The package runs with its default, safe recorders: in PostgreSQL every write
takes a table lock, so that a reader of the notification log passes over no
event. Its faster "database functions" mode does without that lock and can
lose events to readers, so it stays off.

Durability: PostgreSQL commits with the server's own settings; this program
refuses to run unless fsync and synchronous_commit are on. For SQLite the
package turns WAL on and has no setting for `synchronous`; it leaves SQLite's
default, which is FULL, and this program refuses a build that says otherwise.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError, Notification, Tracking
from eventsourcing.projection import Projection, ProjectionRunner

from eventsourcing_stores import BalancesView, Store, open_store
from stats import latency_report, print_report

PAGE_SIZE = 500
RECORD_BATCH = 5_000
REBUILD_ACCOUNTS = 1_000
LATENCY_ACCOUNTS = 1_000
LATENCY_CALLERS = 8
PROJECTION_CONNECTIONS = 5
POLL_SECONDS = 0.02


class Account(Aggregate):
    """A bank account that counts in cents."""

    class Opened(Aggregate.Created):
        owner: str
        currency: str

    class Deposited(Aggregate.Event):
        amount: int

    @event(Opened)
    def __init__(self, owner: str, currency: str) -> None:
        self.owner = owner
        self.currency = currency
        self.balance = 0

    def deposit(self, amount: int) -> None:
        if amount <= 0:
            raise ValueError("a deposit must be positive")
        self._deposited(amount)

    @event(Deposited)
    def _deposited(self, amount: int) -> None:
        self.balance += amount


class Ledger(Application[UUID]):
    name = "ledger"
    log_section_size = PAGE_SIZE

    def deposit(self, account_id: UUID, amount: int) -> None:
        """Load, decide, save; anew when another caller's save came between."""
        while True:
            account: Account = self.repository.get(account_id)
            account.deposit(amount)
            try:
                self.save(account)
            except IntegrityError:
                continue
            return

    def open_accounts(self, count: int) -> list[Account]:
        accounts = [Account(f"owner-{number}", "EUR") for number in range(count)]
        self.save(*accounts)
        return accounts

    def record(self, total: int) -> None:
        """Record exactly `total` events in bulk, spread evenly over accounts."""
        accounts = self.open_accounts(min(REBUILD_ACCOUNTS, total))
        for number in range(total - len(accounts)):
            accounts[number % len(accounts)].deposit(1)
            if number % RECORD_BATCH == RECORD_BATCH - 1:
                self.save(*accounts)
        self.save(*accounts)

    def pages(self) -> Iterator[list[Notification]]:
        position = 0
        while True:
            page = self.notification_log.select(position, PAGE_SIZE, inclusive_of_start=False)
            if not page:
                return
            yield list(page)
            position = page[-1].id


class BalanceProjection(Projection[BalancesView]):
    name = "balances"

    def process_event(self, domain_event: object, tracking: Tracking) -> None:
        match domain_event:
            case Account.Opened(originator_id=account_id):
                self.view.add(account_id, 0, tracking)
            case Account.Deposited(originator_id=account_id, amount=amount):
                self.view.add(account_id, amount, tracking)
            case _:
                self.view.insert_tracking(tracking)


@dataclass(frozen=True)
class Options:
    scenario: str
    store: str
    callers: int
    seconds: float
    aggregates: int
    events: int
    rate: float


@contextmanager
def open_ledger(store: Store, callers: int) -> Iterator[Ledger]:
    with Ledger(env=store.environment(callers)) as ledger:
        store.prepare_for(ledger.factory, callers)
        yield ledger


def run_append(store: Store, options: Options) -> dict[str, float]:
    with open_ledger(store, options.callers) as ledger:
        account_ids = [account.id for account in ledger.open_accounts(options.aggregates)]
        start_line = threading.Barrier(options.callers)

        def call_until_done() -> list[float]:
            ledger.deposit(random.choice(account_ids), 1)
            start_line.wait()
            latencies: list[float] = []
            ended = time.perf_counter()
            deadline = ended + options.seconds
            while True:
                began = ended
                ledger.deposit(random.choice(account_ids), 1)
                ended = time.perf_counter()
                if ended > deadline:
                    return latencies
                latencies.append(ended - began)

        with ThreadPoolExecutor(options.callers) as callers:
            calls = [callers.submit(call_until_done) for _ in range(options.callers)]
        latencies = [latency for call in calls for latency in call.result()]
    return {"rate": round(len(latencies) / options.seconds, 1), **latency_report(latencies)}


def run_latency(store: Store, options: Options) -> dict[str, float]:
    """Calls begin at fixed times; each is timed from when it was due."""
    with open_ledger(store, LATENCY_CALLERS) as ledger:
        account_ids = [account.id for account in ledger.open_accounts(LATENCY_ACCOUNTS)]

        def deposit_due_at(due: float) -> float:
            ledger.deposit(random.choice(account_ids), 1)
            return time.perf_counter() - due

        with ThreadPoolExecutor(LATENCY_CALLERS) as callers:
            list(callers.map(deposit_due_at, [0.0] * LATENCY_CALLERS * 2))
            first_due = time.perf_counter()
            calls = []
            for number in range(int(options.rate * options.seconds)):
                due = first_due + number / options.rate
                time.sleep(max(0.0, due - time.perf_counter()))
                calls.append(callers.submit(deposit_due_at, due))
            latencies = [call.result() for call in calls]
    return latency_report(latencies)


def run_feed(store: Store, options: Options) -> dict[str, float]:
    with open_ledger(store, 1) as ledger:
        ledger.record(options.events)
        began = time.perf_counter()
        read = sum(len(page) for page in ledger.pages())
        elapsed = time.perf_counter() - began
    if read != options.events:
        raise SystemExit(f"read {read} events of {options.events}")
    return {"rate": round(read / elapsed, 1)}


def run_rebuild(store: Store, options: Options) -> dict[str, float]:
    """The package projects one event per transaction, together with its position."""
    with open_ledger(store, 1) as ledger:
        ledger.record(options.events)
        last_id = ledger.recorder.max_notification_id()
        assert last_id is not None
        began = time.perf_counter()
        if store.has_subscriptions:
            view = project_by_subscription(store, last_id)
        else:
            view = project_by_pages(store, ledger)
        elapsed = time.perf_counter() - began
        deposits = options.events - min(REBUILD_ACCOUNTS, options.events)
        if view.total() != deposits:
            raise SystemExit(f"the balances add up to {view.total()}, not {deposits}")
    return {"rate": round(options.events / elapsed, 1)}


def project_by_subscription(store: Store, last_id: int) -> BalancesView:
    with ProjectionRunner(
        application_class=Ledger,
        projection_class=BalanceProjection,
        view_class=store.view_class,
        env=store.environment(PROJECTION_CONNECTIONS),
    ) as runner:
        while not runner.view.has_tracking_id(Ledger.name, last_id):
            if runner.is_interrupted.wait(POLL_SECONDS):
                break
    return runner.view


def project_by_pages(store: Store, ledger: Ledger) -> BalancesView:
    """The package has no subscriptions on SQLite; its log is pulled page by page."""
    view = ledger.factory.tracking_recorder(store.view_class)
    assert isinstance(view, BalancesView)
    projection = BalanceProjection(view)
    for page in ledger.pages():
        for notification in page:
            tracking = Tracking(ledger.name, notification.id)
            projection.process_event(ledger.mapper.to_domain_event(notification), tracking)
    return view


SCENARIOS = {
    "append": run_append,
    "rebuild": run_rebuild,
    "feed": run_feed,
    "latency": run_latency,
}


def parse_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--store", required=True, help="postgresql://... or sqlite:///path")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--aggregates", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50.0)
    return Options(**vars(parser.parse_args()))


def main() -> None:
    options = parse_options()
    store = open_store(options.store)
    store.reset()
    print_report(SCENARIOS[options.scenario](store, options))


if __name__ == "__main__":
    main()
