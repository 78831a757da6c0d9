"""Text is stripped, bounded, counted in characters, and in one form."""

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craton.application.codec import decode, encode
from craton.domain import Name, Text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_text_is_stripped_and_otherwise_what_was_typed(typed: str) -> None:
    assert Text(typed) == normalize("NFC", typed).strip()


def test_letters_are_the_same_however_they_were_composed() -> None:
    assert Name("Zoe\u0308") == Name("Zo\u00eb")
    assert Name("\u212bngstr\u00f6m") == Name("A\u030angstro\u0308m")


@pytest.mark.parametrize(
    "typed",
    [
        *("a\nb", "a\x1bb", "a\x7fb", "a\x9fb", "a\u2028b"),
        *("\u200b", "a\u200bb", "a\u200db", "a\u202eb", "\ufeffa", "a\u00adb", "\U000e0041a"),
        *("\u3164", "\u2800", "a\u115fb", "\u034f", "\ufe0f", "\u0301"),
    ],
)
def test_a_name_holds_nothing_that_cannot_be_seen(typed: str) -> None:
    with pytest.raises(ValueError, match=r"a name holds"):
        Name(typed)


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "Zo\u00eb O'Brien-Smith",
        "\u5f20\u4f1f",
        "\u0639\u0644\u064a",
        "Jos\u00e9 \U0001f980",
        "\u00a0x",
        "\u0915\u094d\u0937",
    ],
)
def test_a_name_may_be_of_any_script(name: str) -> None:
    assert Name(name) == name.strip()


@pytest.mark.parametrize("blank", ["", " ", "\t\n\u00a0\u2003 "])
def test_blank_means_empty(blank: str) -> None:
    assert Text(blank) == ""


@pytest.mark.parametrize(("kind", "limit"), [(Text, 5_000), (Name, 200)])
def test_a_text_may_be_as_long_as_its_limit_and_no_longer(kind: type[Text], limit: int) -> None:
    assert len(kind("x" * limit)) == limit
    with pytest.raises(ValueError, match=f"at most {limit}"):
        kind("x" * (limit + 1))


def test_the_length_counts_characters_not_bytes() -> None:
    assert len(Name("🦀" * 200)) == 200


def test_white_space_around_it_does_not_count() -> None:
    assert Name(" " * 300 + "x" + " " * 300) == "x"


@pytest.mark.parametrize("typed", ["a\0b", "a\ud800b", "\udfff"])
def test_characters_that_no_store_can_keep_are_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="can't be stored"):
        Text(typed)


def test_a_text_travels_as_a_string() -> None:
    assert encode(Name(" Ada ")) == b'"Ada"'
    assert decode(Name, b'" Ada "') == "Ada"


@pytest.mark.parametrize("wire", [b"1", b"null", b"[]", b"{}"])
def test_nothing_but_a_string_is_text(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Text, wire)
