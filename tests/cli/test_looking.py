"""Commands that look: --version, config, events, verify."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import craton as package
from tests.cli.conftest import Data, craton
from tests.market.shop import Shop

THREE = "market/topologies/three.toml"


def test_the_version_is_shown() -> None:
    shown = craton("--version")

    assert (shown.code, shown.out) == (0, f"craton {package.__version__}\n")


@pytest.mark.parametrize("arguments", [("--help",), ("events", "--help"), ("projections", "--help")])
def test_each_command_explains_itself(arguments: tuple[str, ...]) -> None:
    shown = craton(*arguments)

    assert (shown.code, shown.err) == (0, "")
    assert "Usage:" in shown.out


def test_a_command_that_does_not_exist_is_wrong_use() -> None:
    refused = craton("dance")

    assert refused.code == 2
    assert "Traceback" not in refused.err


# --- config ------------------------------------------------------------------------------------------------------


def test_each_setting_is_shown_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.craton]\nlog = "warning"\nport = 9000\n')

    shown = craton(
        "config",
        "--json",
        "--data",
        "/somewhere",
        cwd=tmp_path,
        env={"CRATON_APP": "", "CRATON_HOST": "::1", "CRATON_PORT": "9001"},
    )

    settings = {entry["name"]: (entry["value"], entry["source"]) for entry in shown.records}
    assert "No application is named" in shown.err  # so the settings of its modules aren't known
    assert settings == {
        "app": ("", "default"),
        "host": ("::1", "CRATON_HOST"),
        "port": ("9001", "CRATON_PORT"),
        "grpc_port": ("50051", "default"),
        "grpc_certificate": ("", "default"),
        "grpc_key": ("", "default"),
        "topology": ("", "default"),
        "limits": ("on", "default"),
        "caller_seconds": ("2", "default"),
        "workers": ("1", "default"),
        "data": ("/somewhere", "flag"),
        "store": ("sqlite", "default"),
        "cache": ("", "default"),
        "mode": ("development", "default"),
        "address_share": ("50", "default"),
        "result_days": ("30", "default"),
        "ended_saga_days": ("90", "default"),
        "proxies": ("", "default"),
        "origins": ("", "default"),
        "log": ("warning", "pyproject.toml"),
    }


def test_config_does_not_show_what_a_topology_says_instead() -> None:
    shown = craton("config", "--json", env={"CRATON_TOPOLOGY": THREE, "CRATON_STORE": "memory", "CRATON_PORT": "9001"})

    settings = {entry["name"]: (entry["value"], entry["source"]) for entry in shown.records}
    assert settings["topology"] == (THREE, "CRATON_TOPOLOGY")
    assert {settings[name] for name in ("host", "port", "store", "workers")} == {("", "the topology")}


def test_the_settings_of_modules_are_shown_with_their_secrets_masked() -> None:
    environment = {"CRATON_IDENTITY_TOKEN_KEY": "k" * 40, "CRATON_PAYMENTS_PATIENCE": "60"}

    shown = craton("config", "--json", env={"CRATON_APP": "", **environment})

    settings = {entry["name"]: (entry["value"], entry["source"]) for entry in shown.records}
    assert settings["payments.patience"] == ("60", "CRATON_PAYMENTS_PATIENCE")
    assert settings["identity.token_key"] == ("***", "CRATON_IDENTITY_TOKEN_KEY")
    assert settings["notifications.smtp_port"] == ("587", "default")
    assert "k" * 40 not in shown.out + shown.err


def test_a_wrong_setting_of_a_module_is_refused_with_a_sentence() -> None:
    env = {"CRATON_APP": "", "CRATON_PAYMENTS_PATIENCE": "forever"}

    craton("config", env=env).require_one_sentence(2, "CRATON_PAYMENTS_PATIENCE", "int")


def test_settings_are_a_table_for_people() -> None:
    shown = craton("config", env={"CRATON_APP": ""})

    assert shown.lines[0].split()[:4] == ["name", "value", "source", "meaning"]
    assert any("market.app:app" in line and "pyproject.toml" in line for line in shown.lines)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret@db/market",
        "postgresql://ada:s3cret@db:5432/market?sslmode=require",
        "postgres://:s3cret@db/market",
        "postgresql://ada:%40s3cret@db/market",
        "postgresql://ada:x@s3cret@db/market",
        "postgresql://ada:x/s3cret@db/market",
        "postgresql://ada:x:s3cret@db/market",
        "postgresql://ada:x#s3cret@db/market",
        "postgresql://db/market?user=ada&password=s3cret",
        "postgresql://db/market?password=s3cret&user=ada",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    for shown in (
        craton("config", env={"CRATON_STORE": url}),
        craton("config", "--json", "--store", url),
    ):
        assert shown.code == 0
        assert "s3cret" not in shown.out + shown.err
        assert "db" in shown.out


@pytest.mark.parametrize("port", ["x", "-1", "65536", "8000.0", "²"])
def test_a_port_that_is_none_is_wrong_use(port: str) -> None:
    craton("config", env={"CRATON_PORT": port}).require_one_sentence(2, "port", "CRATON_PORT")


def test_a_log_level_that_is_none_is_wrong_use() -> None:
    craton("config", env={"CRATON_LOG": "loud"}).require_one_sentence(2, "log level", "loud")


def test_a_project_file_that_cannot_be_read_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.craton\n")

    craton("config", cwd=tmp_path).require_one_sentence(2, "yproject.toml can't be read")


@pytest.mark.parametrize("url", ["mysql://ada:s3cret@db/market", "sqlite3", "postgres"])
def test_a_store_that_is_none_is_wrong_use(url: str) -> None:
    refused = craton("verify", "--store", url)

    refused.require_one_sentence(2, "store")
    assert "s3cret" not in refused.err


def test_a_database_that_cannot_be_reached_is_a_sentence() -> None:
    refused = craton("verify", "--store", "postgresql://ada:s3cret@127.0.0.1:1/market")

    refused.require_one_sentence(1, "Postgres can't be reached")
    assert "s3cret" not in refused.err


def test_a_folder_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    craton("verify", "--data", str(tmp_path / "file")).require_one_sentence(2, "There is no data of ledger, door in")


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("events",),
        ("projections", "list"),
        ("projections", "rebuild", "balances"),
        ("parked", "list"),
        ("timers", "list"),
    ],
)
def test_to_look_where_there_is_nothing_makes_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    craton(*command, "--data", str(tmp_path)).require_one_sentence(2, "There is no data of ledger, door in", "--data")

    assert list(tmp_path.iterdir()) == []


# --- events ------------------------------------------------------------------------------------------------------


def test_the_newest_events_are_shown_the_oldest_of_them_first(filled: Data) -> None:
    shown = craton("events", "--json", "-n", "3", *filled.option)

    positions = [event["position"] for event in shown.records]
    assert (shown.code, len(positions)) == (0, 3)
    assert positions == sorted(positions)
    assert {event["type"] for event in shown.records[1:]} == {"MoneyDebited", "MoneyCredited"}


def test_an_event_is_shown_with_all_that_is_known_of_it(filled: Data) -> None:
    (newest,) = craton("events", "--json", "-n", "1", *filled.option).records

    assert newest.keys() == {"module", "position", "id", "time", "stream", "version", "type", "data", "metadata"}
    assert newest["module"] == "ledger"


def test_the_events_of_one_stream_are_shown(filled: Data) -> None:
    shown = craton("events", f"account-{filled.ada}", "--json", *filled.option)

    assert [event["type"] for event in shown.records] == ["AccountOpened", "MoneyCredited", "MoneyDebited"]
    assert [event["version"] for event in shown.records] == [1, 2, 3]


def test_the_newest_events_of_one_stream_are_shown(filled: Data) -> None:
    shown = craton("events", f"account-{filled.ada}", "--json", "-n", "1", *filled.option)

    assert [event["version"] for event in shown.records] == [3]


def test_a_stream_that_is_not_there_has_no_events(filled: Data) -> None:
    assert craton("events", "account-x", *filled.option).out == ""


def test_events_are_lines_for_people(filled: Data) -> None:
    shown = craton("events", f"account-{filled.bob}", *filled.option)

    assert len(shown.lines) == 2
    assert shown.lines[0].startswith("ledger ")
    assert "AccountOpened" in shown.lines[0]
    assert f"account-{filled.bob}  v1" in shown.lines[0]


def test_the_log_is_shown_as_it_was(filled: Data) -> None:
    events = craton("events", "--json", "-n", "100", *filled.option).records
    third = events[2]["time"]

    then = craton("events", "--json", "--at", third, *filled.option).records
    before = craton("events", "--json", "--at", "2020-01-01T00:00:00Z", *filled.option)
    since = craton("events", "--json", "--at", (datetime.now(UTC) + timedelta(days=1)).isoformat(), *filled.option)

    assert then == [event for event in events if event["time"] <= third]
    assert (before.code, before.out) == (0, "")
    assert since.records == events


def test_the_events_of_one_module_are_shown(filled: Data) -> None:
    assert len(craton("events", "--module", "ledger", "--json", *filled.option).lines) > 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--at", "yesterday"), "--at"), (("--at", "25:00"), "--at"), (("--module", "shop"), "shop")],
)
def test_wrong_use_of_events_is_a_sentence(filled: Data, arguments: tuple[str, ...], word: str) -> None:
    craton("events", *arguments, *filled.option).require_one_sentence(2, word)


@pytest.mark.parametrize("last", ["0", "-1", "x", "100001"])
def test_how_many_events_must_be_a_number_in_range(filled: Data, last: str) -> None:
    refused = craton("events", "-n", last, *filled.option)

    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_looking_at_data_that_is_not_there_does_not_make_any(tmp_path: Path) -> None:
    craton("events", "--data", str(tmp_path / "typo"))

    assert not (tmp_path / "typo").exists()


# --- verify ------------------------------------------------------------------------------------------------------


def change(data: Data, statement: str) -> None:
    connection = sqlite3.connect(data.folder / "ledger.db")
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_verify_succeeds_if_everything_agrees_with_the_log(filled: Data) -> None:
    verified = craton("verify", *filled.option)

    assert (verified.code, verified.err) == (0, "")
    assert verified.out.startswith("ledger: agrees with its log")


def test_a_tampered_event_is_found(data: Data) -> None:
    change(data, "UPDATE events SET data = replace(data, '30.00', '31.00')")

    found = craton("verify", *data.option)

    assert found.code == 1
    assert len(found.lines) == 1
    assert found.lines[0].startswith("ledger: ")
    assert "Traceback" not in found.err


def test_an_event_that_cannot_be_read_any_more_is_found(data: Data) -> None:
    change(data, "UPDATE events SET data = '{' WHERE type = 'MoneyDebited'")

    found = craton("verify", *data.option)

    assert (found.code, len(found.lines)) == (1, 1)
    assert "Traceback" not in found.err


def test_a_tampered_balance_is_found(data: Data) -> None:
    change(
        data,
        """UPDATE view_account_state_1"""
        """ SET row = replace(row, '"balance":{"amount":"70.00"', '"balance":{"amount":"71.00"')"""
        f" WHERE id = '{data.ada}'",
    )

    found = craton("verify", *data.option)

    assert (found.code, len(found.lines)) == (1, 1)
    assert data.ada in found.out


def test_verifying_data_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    assert craton("verify", "--data", str(tmp_path / "typo")).code != 0


def test_data_with_names_that_the_program_does_not_know_is_refused_with_a_sentence(data: Data) -> None:
    change(data, "DELETE FROM documents WHERE name = 'names'")
    change(data, "UPDATE events SET type = 'MoneyLost' WHERE position = 2")

    craton("verify", *data.option).require_one_sentence(1, "events called MoneyLost", "retired=['MoneyLost']")


def test_a_store_that_was_not_restored_is_not_accepted_as_restored(data: Data) -> None:
    craton("restored", "ledger", *data.option).require_one_sentence(1, "The store of ledger isn't older")
    craton("restored", "nothing", *data.option).require_one_sentence(2, "no module 'nothing'")


def test_the_newest_events_are_those_that_happened_last_in_whatever_module(tmp_path: Path) -> None:
    async def fill() -> None:
        async with Shop("sqlite", tmp_path) as shop:
            await shop.add_product(stock=1)
            await shop.register("Ada")

    asyncio.run(fill())
    shown = craton("events", "--last", "3", "--json", "--data", str(tmp_path), env={"CRATON_APP": "market.app:app"})

    everything = craton(
        "events", "--last", "500", "--json", "--data", str(tmp_path), env={"CRATON_APP": "market.app:app"}
    )
    times = [event["time"] for event in everything.records]
    assert times == sorted(times)
    assert shown.records == everything.records[-3:]


def test_a_stream_that_there_is_not_is_a_sentence(data: Data) -> None:
    craton("events", "account-of-nobody", *data.option).require_one_sentence(1, "no stream 'account-of-nobody'")
    craton("events", "account-of-nobody", "--module", "ledger", *data.option).require_one_sentence(1, "module ledger")


@pytest.mark.parametrize(
    "command", [("events",), ("projections", "list"), ("parked", "list"), ("timers", "list")], ids=" ".join
)
def test_to_look_needs_no_settings_of_modules(data: Data, command: tuple[str, ...]) -> None:
    environment = {"CRATON_APP": "tests.cli.needy_app:app"}
    craton("events", *data.option)

    shown = craton(*command, *data.option, env=environment)

    assert (shown.code, shown.err) == (0, "")
    assert "CRATON_LEDGER_KEY must be set" in craton("up", *data.option, "--port", "0", env=environment).err
