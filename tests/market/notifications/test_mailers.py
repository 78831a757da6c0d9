"""The adapters that send mail: over SMTP to a real server, and into a folder."""

import asyncio
import socket
import time
from email import message_from_bytes
from email.policy import SMTP, default
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from hypothesis import example, given
from hypothesis import strategies as st

from craton.application import Unavailable, WiringError
from craton.domain import Secret
from market.identity.events import _ADDRESS, EmailAddress
from market.notifications.adapters import smtp
from market.notifications.adapters.folder import FolderMailer
from market.notifications.adapters.message import compose
from market.notifications.adapters.smtp import SmtpMailer
from market.notifications.ports import Mail, MailDelayed, Mailer, MailRefused
from tests.market.notifications.post_office import PostOfficeBox
from tests.market.shop import Shop

SENDER = "market@shop.example.org"
MAIL = Mail(id="01a1fd4f-0000-7000-8000-000000000001", to="ada@example.com", subject="Welcome", body="Dear Ada,\n\nHi.")


def mailer(port: int, *, tls: bool = False, user: str | None = None, password: str | None = None) -> SmtpMailer:
    secret = None if password is None else Secret(password)
    return SmtpMailer("127.0.0.1", port, sender=SENDER, user=user, password=secret, tls=tls)


def written(body: str, subject: str = "Welcome") -> Mail:
    return Mail(id=MAIL.id, to=MAIL.to, subject=subject, body=body)


# --- the message ---------------------------------------------------------------------------------------------


def test_a_message_has_the_same_headers_each_time() -> None:
    first, second = compose(MAIL, SENDER), compose(MAIL, SENDER)

    assert first["Message-ID"] == second["Message-ID"] == f"<{MAIL.id}@shop.example.org>"
    assert (first["From"], first["To"], first["Subject"]) == (SENDER, "ada@example.com", "Welcome")


def test_a_message_has_a_date() -> None:
    date = parsedate_to_datetime(str(compose(MAIL, SENDER)["Date"]))

    assert abs(date.timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    "inserted", ["\r\nBcc: eve@example.com", "\nBcc: eve@example.com", "\r\n\r\nBody of Eve's", "\rX: 1"]
)
def test_subjects_and_addresses_cannot_add_headers(inserted: str) -> None:
    for mail in (
        Mail(id=MAIL.id, to=MAIL.to, subject=f"Hi{inserted}", body="x"),
        Mail(id=MAIL.id, to=f"ada@example.com{inserted}", subject="Hi", body="x"),
    ):
        try:
            raw = compose(mail, SENDER).as_bytes()
        except ValueError:
            continue
        sent = message_from_bytes(raw, policy=default)
        assert sorted(sent.keys()) == sorted(compose(MAIL, SENDER).keys())


def test_names_in_the_text_cannot_add_headers() -> None:
    body = "Dear Eve\r\nBcc: bob@example.com\r\n\r\nSubject: x,\n\nHi."

    sent = message_from_bytes(compose(written(body), SENDER).as_bytes(), policy=default)

    assert (sent["Bcc"], sent["Subject"]) == (None, "Welcome")


# --- SMTP ----------------------------------------------------------------------------------------------------


def test_both_adapters_are_mailers() -> None:
    mailers: list[Mailer] = [mailer(25), FolderMailer(Path("x"), SENDER)]

    assert len(mailers) == 2


async def test_a_mail_arrives_as_it_was_written() -> None:
    body = "Dear Zoë 李 \u202eadA,\n\n.\n..dots\nFrom here on\n" + "long " * 400 + "\n\nYour market"
    async with PostOfficeBox().open() as office:
        await mailer(office.port).send(written(body, "Grüße, 李"))

    (arrived,) = office.mails
    assert (arrived["subject"], arrived["to"], arrived["from"]) == ("Grüße, 李", "ada@example.com", SENDER)
    assert arrived["message-id"] == f"<{MAIL.id}@shop.example.org>"
    text: str = arrived.get_content()  # type: ignore[attr-defined]
    assert text.replace("\r\n", "\n").rstrip("\n") == body


async def test_text_that_looks_like_the_end_of_a_mail_does_not_end_it() -> None:
    body = "x\r\n.\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nFrom Eve\r\n.\r\n"
    async with PostOfficeBox().open() as office:
        await mailer(office.port).send(written(body))

    assert len(office.raw) == 1
    assert list(office.tried) == ["ada@example.com"]


@pytest.mark.parametrize("code", [550, 553, 552, 501])
async def test_a_mail_that_the_server_refuses_for_good_is_refused(code: int) -> None:
    async with PostOfficeBox({"ada@example.com": f"{code} no"}).open() as office:
        with pytest.raises(MailRefused, match=str(code)):
            await mailer(office.port).send(MAIL)
    async with PostOfficeBox(refuse_data=f"{code} no").open() as office:
        with pytest.raises(MailRefused, match=str(code)):
            await mailer(office.port).send(MAIL)


@pytest.mark.parametrize("code", [421, 450, 451, 452])
async def test_a_mail_that_the_recipient_cannot_take_now_is_delayed(code: int) -> None:
    for office in (PostOfficeBox({"ada@example.com": f"{code} later"}), PostOfficeBox(refuse_data=f"{code} later")):
        async with office.open():
            with pytest.raises(MailDelayed) as raised:
                await mailer(office.port).send(MAIL)
        assert str(code) in raised.value.reason


@pytest.mark.parametrize("code", [421, 451, 550, 553])
async def test_a_server_that_refuses_the_sender_is_unavailable(code: int) -> None:
    """It doesn't refuse one recipient but the sender, so all mail waits."""
    async with PostOfficeBox(refuse_sender=f"{code} not from you").open() as office:
        with pytest.raises(Unavailable, match=str(code)) as raised:
            await mailer(office.port).send(MAIL)

    assert not raised.value.maybe_executed


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            await mailer(closed.getsockname()[1]).send(MAIL)


async def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT_SECONDS", 0.2)
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as silent:
        with pytest.raises(Unavailable):
            await mailer(silent.sockets[0].getsockname()[1]).send(MAIL)


async def test_the_mailer_logs_in_if_the_server_asks_for_it() -> None:
    seen: list[Any] = []

    def known(data: Any) -> AuthResult:
        seen.append(data)
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"market", b"a secret")
        return AuthResult(success=right, handled=False)

    async with PostOfficeBox().open(user=known) as office:
        await mailer(office.port, user="market", password="a secret").send(MAIL)  # noqa: S106
        with pytest.raises(Unavailable) as raised:
            await mailer(office.port, user="market", password="another secret").send(MAIL)  # noqa: S106

    assert (len(office.raw), bool(seen)) == (1, True)
    assert "535" in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_nothing_is_sent_unencrypted_if_encryption_is_required() -> None:
    """The server doesn't support STARTTLS."""
    seen: list[Any] = []

    def known(data: Any) -> AuthResult:
        seen.append(data)
        return AuthResult(success=True)

    async with PostOfficeBox().open(user=known) as office:
        with pytest.raises(Unavailable):
            await mailer(office.port, tls=True, user="market", password="a secret").send(MAIL)  # noqa: S106

    assert (office.raw, seen, dict(office.tried)) == ([], [], {})


# --- the folder ----------------------------------------------------------------------------------------------


async def test_a_mail_is_one_file_however_often_it_is_sent(tmp_path: Path) -> None:
    folder = FolderMailer(tmp_path / "some" / "mails", SENDER)

    for _ in range(2):
        await folder.send(MAIL)

    (file,) = (tmp_path / "some" / "mails").iterdir()
    assert file.name == f"{MAIL.id}.eml"
    kept, expected = message_from_bytes(file.read_bytes(), policy=default), compose(MAIL, SENDER)
    del kept["Date"], expected["Date"]  # it differs between attempts
    assert kept.items() == expected.items()
    assert kept.as_bytes(policy=expected.policy) == expected.as_bytes()


async def test_only_the_owner_of_the_process_can_read_mails_in_a_folder(tmp_path: Path) -> None:
    await FolderMailer(tmp_path / "mails", SENDER).send(MAIL)

    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "mails", tmp_path / "mails" / f"{MAIL.id}.eml")]
    assert modes == [0o700, 0o600]


async def test_the_folder_never_shows_a_partial_mail(tmp_path: Path) -> None:
    folder = FolderMailer(tmp_path, SENDER)
    mails = [Mail(id=f"mail-{number}", to=MAIL.to, subject="x", body="y" * 100_000) for number in range(60)]
    whole, seen = {len(compose(mail, SENDER).as_bytes()) for mail in mails}, set[int]()

    async def watch() -> None:
        while True:
            seen.update(sizes(tmp_path))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(folder.send(mail) for mail in mails))
    watching.cancel()
    await asyncio.wait([watching])

    assert len(sizes(tmp_path)) == len(names(tmp_path)) == 60
    assert seen <= whole


def sizes(folder: Path) -> list[int]:
    """The sizes of the mails in a folder."""
    return [file.stat().st_size for file in folder.glob("*.eml")]


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "mails").write_text("a file")

    with pytest.raises(Unavailable, match=str(tmp_path / "mails")):
        await FolderMailer(tmp_path / "mails", SENDER).send(MAIL)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"SMTP_HOST": "mail", "SMTP_USER": "ada"},
            "SMTP_USER and CRATON_NOTIFICATIONS_SMTP_PASSWORD must be set both",
        ),
        ({"SMTP_HOST": "mail", "SMTP_PASSWORD": "x"}, "must be set both, or neither"),
        ({"SMTP_USER": "ada", "SMTP_PASSWORD": "x"}, "is set, but no CRATON_NOTIFICATIONS_SMTP_HOST"),
        ({"SENDER": "nobody"}, "CRATON_NOTIFICATIONS_SENDER can't be used"),
    ],
)
async def test_settings_that_do_not_go_together_are_refused_at_the_start(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    named = {f"CRATON_NOTIFICATIONS_{name}": value for name, value in settings.items()}

    with pytest.raises(WiringError, match=words):
        async with Shop("sqlite", tmp_path, settings=named):
            raise AssertionError("it must not start")


@given(st.from_regex(_ADDRESS, fullmatch=True))
@example("o'neil+tag@example.com")
@example("{a}|b~c^d`e@example.com")
@example(f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.example")
def test_the_recipient_of_a_mail_is_exactly_the_address_that_was_given(text: str) -> None:
    try:
        address = EmailAddress(text)
    except ValueError:
        return
    message = compose(Mail(id="1", to=str(address), subject="Hi", body="Hi."), "market@example.com")

    read = message_from_bytes(message.as_bytes(), policy=SMTP)

    assert [recipient.addr_spec for recipient in read["To"].addresses] == [address]
    assert getaddresses([message["To"]]) == [("", address)]


@pytest.mark.parametrize("to", ["=?utf-8?q?victim?=@example.com", "=?utf-8?b?AAAA?=@example.com", "a@b@c", "a, b@c.d"])
def test_an_address_that_would_be_read_as_another_one_is_refused(to: str) -> None:
    with pytest.raises(MailRefused):
        compose(Mail(id="1", to=to, subject="Hi", body="Hi."), "market@example.com")
