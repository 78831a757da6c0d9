"""A ledger is killed by SIGKILL at one named crash point after the other, under the load of eight clients, and started
again each time.

Each client gives each of its commands an idempotency key; what no dead process had answered is repeated with it in the
end. Each test below looks at the same crashes: two rows of them in each store.
"""

from collections import Counter
from signal import SIGKILL

from tests.crash.bank import Fact, cents
from tests.crash.conftest import Crash
from tests.crash.logs import failures_in


def test_each_process_dies_by_sigkill_in_the_middle_of_the_load(crash: Crash) -> None:
    for death in crash.deaths:
        assert death.killed, death.point
        assert death.exit_code == -SIGKILL, death.log
        assert any(entry.first is None for entry in death.sent), f"nobody was waiting for an answer at {death.point}"
        answered = [entry for entry in death.sent if entry.first is not None]
        assert len(answered) > 20, f"it died at {death.point} before the load had begun"


def test_every_answered_command_is_there_exactly_once(crash: Crash) -> None:
    keys = {entry.command.key for entry in crash.answered}
    assert _of(keys, crash.found.facts) == _of(keys, crash.model.facts)


def test_a_command_without_an_answer_has_one_effect_once_it_is_repeated(crash: Crash) -> None:
    keys = {entry.command.key for entry in crash.unanswered}
    assert all(entry.reply is not None for entry in crash.unanswered)
    assert _of(keys, crash.found.facts) == _of(keys, crash.model.facts)


def test_an_answered_command_that_is_repeated_gets_its_first_answer_again(crash: Crash) -> None:
    for entry, again in crash.replays:
        assert entry.first is not None
        assert (again.status, again.body) == (entry.first.status, entry.first.body)
        assert again.headers.get("idempotency-replayed") == "true"


def test_nothing_is_there_that_nobody_asked_for(crash: Crash) -> None:
    assert crash.found.facts - crash.model.facts == Counter()


def test_both_sides_of_each_transfer_are_there_or_neither(crash: Crash) -> None:
    debits = _sides("MoneyDebited", crash)
    assert debits == _sides("MoneyCredited", crash)
    assert set(debits.values()) == {1}


def test_each_account_holds_what_its_commands_add_up_to(crash: Crash) -> None:
    accounts = crash.found.accounts
    assert {id: cents(shown["balance"]) for id, shown in accounts.items()} == {
        id: crash.model.balances[id] for id in accounts
    }
    assert {id: cents(shown["held"]) for id, shown in accounts.items()} == {id: crash.model.held[id] for id in accounts}


def test_each_transfer_has_come_to_what_its_commands_say(crash: Crash) -> None:
    assert crash.found.transfers == crash.model.transfers


def test_debits_and_credits_add_up_to_zero(crash: Crash) -> None:
    assert crash.found.differences == ["0.00"]


def test_each_stream_has_every_version_once(crash: Crash) -> None:
    for versions in crash.found.audited.values():
        assert versions == list(range(1, len(versions) + 1))


def test_the_read_model_is_what_a_replay_of_the_events_gives(crash: Crash) -> None:
    assert crash.found.accounts == crash.found.replays
    for account, versions in crash.found.audited.items():
        assert crash.found.accounts[account]["version"] == versions[-1], "the projection has skipped the last events"


def test_the_statement_lists_every_movement_once(crash: Crash) -> None:
    listed = Counter(
        ({"debit": "MoneyDebited", "credit": "MoneyCredited"}[line["side"]], account, line["transfer"])
        for account, lines in crash.found.statements.items()
        for line in lines
    )
    moved = Counter(
        {(kind, account, transfer): n for (_, kind, account, transfer, _), n in crash.model.facts.items()
         if kind in ("MoneyDebited", "MoneyCredited")}
    )  # fmt: skip
    assert listed == moved


def test_a_rebuild_that_was_interrupted_is_finished_by_the_next_process(crash: Crash) -> None:
    balances = next(entry for entry in crash.found.projections if entry["projection"] == "balances")
    assert balances["live"] == 2
    assert balances["building"] == 0


def test_no_event_was_parked(crash: Crash) -> None:
    assert [entry["parked"] for entry in crash.found.projections] == [0, 0, 0]


def test_the_audit_finds_nothing_to_complain_about(crash: Crash) -> None:
    assert crash.verified_with == 0, crash.verified


def test_the_process_that_was_started_again_fails_at_nothing(crash: Crash) -> None:
    assert crash.stopped_with == 0
    assert failures_in(crash.log_after) == []


def _of(keys: set[str], facts: Counter[Fact]) -> Counter[Fact]:
    return Counter({fact: n for fact, n in facts.items() if fact[0] in keys})


def _sides(kind: str, crash: Crash) -> Counter[tuple[str, int]]:
    return Counter({(fact[3], fact[4]): n for fact, n in crash.found.facts.items() if fact[1] == kind})
