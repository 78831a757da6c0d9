"""Two processes serve the same data: both take commands, one of them keeps the read models, the other one waits."""

import threading
from collections.abc import Callable
from signal import SIGCONT, SIGSTOP

from craton.testing.crash import Command, Process, Reply, Script, Send, Sent, repeat
from tests.crash.bank import Bank, assert_as_asked, drive_until
from tests.crash.databases import run_sql
from tests.failure.conftest import Start

PROJECTIONS = 3


def outcomes(sent: list[Sent]) -> set[str]:
    """How commands were answered at first: the status of a success, the code of anything else."""
    return {str(entry.first.status) if entry.first.ok else entry.first.body["code"] for entry in sent if entry.first}


def owners(database: str) -> list[int]:
    """The process that owns each projection."""
    rows = run_sql(database, "SELECT owner FROM market_ledger.lease_owners WHERE name LIKE '%@%' ORDER BY name")
    return [int(row["owner"].split("/")[1]) for row in rows]


def kept(database: str, process: Process) -> list[str]:
    """The leases that a process has taken and not given back."""
    rows = run_sql(
        database, "SELECT name, owner FROM market_ledger.lease_owners WHERE expires > '-infinity' ORDER BY name"
    )
    return [row["name"] for row in rows if int(row["owner"].split("/")[1]) == process.pid]


def side_by_side(
    first: Process, second: Process, bank: Bank, answers: int, then: Callable[[], object] | None = None
) -> tuple[list[Sent], list[Sent]]:
    """Put half of the load on each until it has given so many answers; return what each was sent.

    `then` is what becomes of the first one at this moment, under load.
    """
    sent: list[list[Sent]] = [[], []]

    def load(place: int, process: Process, then: Callable[[], object] | None) -> None:
        sent[place] = drive_until(process, bank.scripts[place::2], answers, then=then)

    threads = [threading.Thread(target=load, args=each) for each in ((0, first, then), (1, second, None))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent[0], sent[1]


def test_both_serve_and_see_what_the_other_has_written(start: Start, store: str) -> None:
    first, second = start(store=store), start(store=store)
    bank = Bank.open(first)

    on_first, on_second = side_by_side(first, second, bank, 100)
    bank.sent += on_first + on_second

    assert outcomes(bank.sent) <= {"200", "201", "204", "insufficient-funds", "batch-refused", "unavailable"}
    repeat(second, bank.sent)
    found_by_first = assert_as_asked(first, bank)
    assert assert_as_asked(second, bank) == found_by_first


def test_a_command_repeated_at_the_other_process_has_one_effect(start: Start, store: str) -> None:
    first, second = start(store=store), start(store=store)
    bank = Bank.open(first)
    on_first = drive_until(first, bank.scripts, 50)
    bank.sent += on_first

    for entry in on_first:
        with second.client() as client:
            again = client.send(entry.command)
        assert entry.reply is not None
        assert (again.status, again.body) == (entry.reply.status, entry.reply.body)
    assert_as_asked(second, bank)


def test_the_same_command_sent_to_both_at_once_has_one_effect_and_one_answer(start: Start, store: str) -> None:
    first, second = start(store=store), start(store=store)
    bank = Bank.open(first)
    twins: list[Sent] = []

    bank.sent += drive_until(first, [to_both(script, second, twins) for script in bank.scripts[:4]], 50)
    repeat(first, bank.sent)
    repeat(second, twins)

    assert len(twins) >= 50
    answers = {entry.command.key: entry.reply for entry in bank.sent}
    for twin in twins:
        answer = answers[twin.command.key]
        assert answer is not None and twin.reply is not None
        assert (twin.reply.status, twin.reply.body) == (answer.status, answer.body)
    assert_as_asked(second, bank)


def to_both(script: Script, other: Process, twins: list[Sent]) -> Script:
    """Send each command of the script to another process, too, at the same time."""

    def run(send: Send) -> None:
        def send_both(command: Command) -> Reply:
            def send_twin() -> None:
                twin = Sent(command)
                twin.note(other.request(command.method, command.path, command.body, {"idempotency-key": command.key}))
                twins.append(twin)

            thread = threading.Thread(target=send_twin)
            thread.start()
            reply = send(command)
            thread.join()
            return reply

        script(send_both)

    return run


def test_when_the_owner_of_the_projections_is_killed_the_other_takes_over_and_skips_nothing(
    start: Start, database: str
) -> None:
    processes = [start(store=database), start(store=database)]
    bank = Bank.open(processes[1])
    owner = next(process for process in processes if process.pid in owners(database))
    heir = next(process for process in processes if process is not owner)
    assert set(owners(database)) == {owner.pid}

    on_owner, on_heir = side_by_side(owner, heir, bank, 100, then=owner.kill)
    bank.sent += on_owner + on_heir

    assert owner.killed
    assert any(entry.first is None for entry in on_owner)
    repeat(heir, bank.sent)
    assert_as_asked(heir, bank)
    assert owners(database) == [heir.pid] * PROJECTIONS
    assert heir.stop() == 0


def test_when_the_owner_ends_well_the_other_takes_over_at_once(start: Start, database: str) -> None:
    processes = [start(store=database), start(store=database)]
    bank = Bank.open(processes[0])
    owner = next(process for process in processes if process.pid in owners(database))
    heir = next(process for process in processes if process is not owner)

    assert owner.stop() == 0
    assert not kept(database, owner), "the other would have to wait until a lease runs out"
    bank.sent += drive_until(heir, bank.scripts, 50)
    assert_as_asked(heir, bank)

    assert owners(database) == [heir.pid] * PROJECTIONS


def test_an_owner_that_was_only_frozen_writes_nothing_when_it_wakes(start: Start, database: str) -> None:
    processes = [start(store=database), start(store=database)]
    bank = Bank.open(processes[0])
    owner = next(process for process in processes if process.pid in owners(database))
    heir = next(process for process in processes if process is not owner)
    owner.signal(SIGSTOP)
    try:
        bank.sent += drive_until(heir, bank.scripts, 100)
        assert_as_asked(heir, bank)
        assert owners(database) == [heir.pid] * PROJECTIONS
    finally:
        owner.signal(SIGCONT)

    on_owner, on_heir = side_by_side(owner, heir, bank, 100)
    bank.sent += on_owner + on_heir
    repeat(owner, bank.sent)
    assert_as_asked(owner, bank)
    assert_as_asked(heir, bank)
