"""Two processes serve the same data: both take commands, one of them keeps the read models, the other one waits."""

import threading
import time
from signal import SIGCONT, SIGSTOP

from craton.testing.crash import Command, Process, Reply, Script, Send, Sent, drive, repeat
from tests.crash.bank import Bank, assert_as_asked
from tests.crash.databases import run_sql
from tests.failure.conftest import Start

PROJECTIONS = 3


def outcomes(sent: list[Sent]) -> set[str]:
    """How commands were answered at first: the status of a success, the code of anything else."""
    return {str(entry.first.status) if entry.first.ok else entry.first.body["code"] for entry in sent if entry.first}


def owners(database: str) -> list[int]:
    """The process that owns each projection."""
    rows = run_sql(database, "SELECT owner FROM market_ledger.leases WHERE name LIKE '%@%' ORDER BY name")
    return [int(row["owner"].split("/")[1]) for row in rows]


def side_by_side(first: Process, second: Process, bank: Bank, seconds: float) -> tuple[list[Sent], list[Sent]]:
    """Put half of the load on each; return what each was sent."""
    sent: list[list[Sent]] = [[], []]

    def load(place: int, process: Process) -> None:
        sent[place] = drive(process, bank.scripts[place::2], seconds=seconds)

    threads = [threading.Thread(target=load, args=pair) for pair in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent[0], sent[1]


def test_both_serve_and_see_what_the_other_has_written(start: Start, store: str) -> None:
    first, second = start(store=store), start(store=store)
    bank = Bank.open(first)

    on_first, on_second = side_by_side(first, second, bank, 1.5)
    bank.sent += on_first + on_second

    assert min(len(on_first), len(on_second)) > 5
    assert outcomes(bank.sent) <= {"200", "201", "204", "insufficient-funds", "batch-refused", "unavailable"}
    repeat(second, bank.sent)
    found_by_first = assert_as_asked(first, bank)
    assert assert_as_asked(second, bank) == found_by_first


def test_a_command_repeated_at_the_other_process_has_one_effect(start: Start, store: str) -> None:
    first, second = start(store=store), start(store=store)
    bank = Bank.open(first)
    on_first = drive(first, bank.scripts, seconds=0.5)
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

    bank.sent += drive(first, [to_both(script, second, twins) for script in bank.scripts[:4]], seconds=2.0)
    repeat(first, bank.sent)
    repeat(second, twins)

    assert len(twins) > 20
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
    threading.Timer(0.7, owner.kill).start()

    on_owner, on_heir = side_by_side(owner, heir, bank, 2.0)
    bank.sent += on_owner + on_heir

    assert owner.killed
    assert any(entry.first is None for entry in on_owner)
    assert len(on_heir) > 100
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
    began = time.monotonic()
    bank.sent += drive(heir, bank.scripts, seconds=0.3)
    assert_as_asked(heir, bank)

    assert time.monotonic() - began < 4
    assert owners(database) == [heir.pid] * PROJECTIONS


def test_an_owner_that_was_only_frozen_writes_nothing_when_it_wakes(start: Start, database: str) -> None:
    processes = [start(store=database), start(store=database)]
    bank = Bank.open(processes[0])
    owner = next(process for process in processes if process.pid in owners(database))
    heir = next(process for process in processes if process is not owner)
    owner.signal(SIGSTOP)
    try:
        bank.sent += drive(heir, bank.scripts, seconds=1.0)
        assert_as_asked(heir, bank)
        assert owners(database) == [heir.pid] * PROJECTIONS
    finally:
        owner.signal(SIGCONT)

    on_owner, on_heir = side_by_side(owner, heir, bank, 1.0)
    bank.sent += on_owner + on_heir
    repeat(owner, bank.sent)
    assert_as_asked(owner, bank)
    assert_as_asked(heir, bank)
