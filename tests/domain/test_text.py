"""Text is stripped, bounded, and counted in characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craton.application.codec import decode, encode
from craton.domain import Name, Text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_text_is_stripped_and_otherwise_kept(typed: str) -> None:
    assert Text(typed) == typed.strip()


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
def test_what_no_store_can_keep_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="can't be stored"):
        Text(typed)


def test_a_text_travels_as_a_string() -> None:
    assert encode(Name(" Ada ")) == b'"Ada"'
    assert decode(Name, b'" Ada "') == "Ada"


@pytest.mark.parametrize("wire", [b"1", b"null", b"[]", b"{}"])
def test_nothing_but_a_string_is_text(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Text, wire)
