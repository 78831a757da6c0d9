"""In production an application isn't started with what suits trying out only."""

from pathlib import Path

import pytest

from craton.application.settings import unfit_for_production
from craton.domain import Secret
from market.identity.settings import IdentitySettings
from market.payments.settings import PaymentsSettings
from tests.cli.conftest import Ended, craton

EARNEST = {
    "CRATON_APP": "market.app:app",
    "CRATON_MODE": "production",
    "CRATON_IDENTITY_ADMIN_EMAIL": "root@shop.example.org",
    "CRATON_PAYMENTS_STRIPE_API_KEY": "sk_live_51HxLmQ2eZvKYlo2C",
    "CRATON_PAYMENTS_STRIPE_WEBHOOK_SECRET": "whsec_d8Zp2QmX7vKfLr0T",
    "CRATON_PAYMENTS_SUCCESS_URL": "https://shop.example.org/thanks",
    "CRATON_PAYMENTS_CANCEL_URL": "https://shop.example.org/cart",
    "CRATON_NOTIFICATIONS_SMTP_HOST": "mail.example.org",
    "CRATON_NOTIFICATIONS_SENDER": "market@shop.example.org",
}


def up(data: Path, settings: dict[str, str]) -> Ended:
    """Start on a port that can't be had, which is looked at after the settings."""
    return craton("up", "--data", str(data), "--host", "192.0.2.1", "--port", "1", env={**EARNEST, **settings})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CRATON_PAYMENTS_STRIPE_API_KEY": "", "CRATON_PAYMENTS_STRIPE_WEBHOOK_SECRET": ""}, "in a sandbox"),
        ({"CRATON_PAYMENTS_STRIPE_API_KEY": "sk_test_51HxLmQ2eZvKYlo2C"}, "with which no money is taken"),
        ({"CRATON_PAYMENTS_SUCCESS_URL": ""}, "CRATON_PAYMENTS_SUCCESS_URL leads to this machine"),
        ({"CRATON_PAYMENTS_CANCEL_URL": "https://localhost/cart"}, "CRATON_PAYMENTS_CANCEL_URL leads to this machine"),
        ({"CRATON_PAYMENTS_STRIPE_URL": "http://[::1]:8420"}, "CRATON_PAYMENTS_STRIPE_URL leads to this machine"),
        ({"CRATON_IDENTITY_TOKEN_KEY": "a" * 40}, "CRATON_IDENTITY_TOKEN_KEY is too easy to guess"),
        ({"CRATON_IDENTITY_TOKEN_KEY": "password" * 5}, "CRATON_IDENTITY_TOKEN_KEY is too easy to guess"),
        ({"CRATON_IDENTITY_MEMBERSHIP_SECRET": "changeme"}, "CRATON_IDENTITY_MEMBERSHIP_SECRET is too easy to guess"),
        ({"CRATON_IDENTITY_ADMIN_EMAIL": ""}, "CRATON_IDENTITY_ADMIN_EMAIL is an example"),
        ({"CRATON_NOTIFICATIONS_SMTP_HOST": ""}, "mails would be put into a folder"),
        ({"CRATON_NOTIFICATIONS_SMTP_TLS": "false"}, "sent unencrypted"),
        ({"CRATON_STORE": "memory"}, "all data would be lost"),
        ({"CRATON_ORIGINS": "http://shop.example.org"}, "CRATON_ORIGINS names http://shop.example.org"),
        ({"CRATON_CRASH_AT": "call.decided"}, "CRATON_CRASH_AT"),
    ],
)
def test_what_suits_trying_out_only_is_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    refused = up(tmp_path, settings)

    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 2  # that it can't be used, and why
    assert not list(tmp_path.iterdir())
    for secret in (value for name, value in settings.items() if name.endswith(("_KEY", "_SECRET")) and value):
        assert secret not in refused.err


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    refused = craton("up", "--data", str(tmp_path), env={"CRATON_APP": "market.app:app", "CRATON_MODE": "production"})

    assert refused.code == 2
    assert len(refused.err.splitlines()) == 7


def test_settings_in_earnest_are_accepted(tmp_path: Path) -> None:
    assert "Can't listen" in up(tmp_path, {}).err


def test_no_proxy_is_anybody(tmp_path: Path) -> None:
    up(tmp_path, {"CRATON_PROXIES": "*"}).require_one_sentence(2, "addresses or networks", "CRATON_PROXIES")


def test_a_mode_that_there_is_none_is_refused(tmp_path: Path) -> None:
    up(tmp_path, {"CRATON_MODE": "prod"}).require_one_sentence(2, "'prod'", "CRATON_MODE")


@pytest.mark.parametrize(
    "secret", ["changeme", "password123", "1111111111111111", "abcabcabcabcabcabcabcabcabcabcabcabc", "Summer2026!"]
)
def test_a_secret_that_is_easily_guessed_is_no_secret(secret: str) -> None:
    settings = IdentitySettings(membership_secret=Secret(secret))

    assert any("MEMBERSHIP_SECRET" in sentence for sentence in unfit_for_production(settings, "identity"))


@pytest.mark.parametrize("secret", ["kq3vXw0ZrT9mLb2N", "hjkoptewncvzqyuabd", "correct horse battery staple"])
def test_a_secret_that_is_hard_to_guess_is_one(secret: str) -> None:
    settings = IdentitySettings(membership_secret=Secret(secret))

    assert not any("MEMBERSHIP_SECRET" in sentence for sentence in unfit_for_production(settings, "identity"))


@pytest.mark.parametrize("url", ["https://127.0.0.2/x", "http://0.0.0.0", "https://shop.localhost/", "http://[::1]/"])
def test_every_name_of_this_machine_leads_to_this_machine(url: str) -> None:
    settings = PaymentsSettings(success_url=url)

    assert any("SUCCESS_URL" in sentence for sentence in unfit_for_production(settings, "payments"))
