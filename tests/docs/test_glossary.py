"""Each word of the glossary is linked where a page first uses it, and each link to a heading leads to one."""

import re
from pathlib import Path
from typing import Final

import pytest

GLOSSARY: Final = Path("docs/glossary.md")
TERMS: Final = re.findall(r"^### (.+)$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
PAGES: Final = [page for page in Path("docs").glob("*.md") if page.name not in ("glossary.md", "README.md")]
LINKING_PAGES: Final = [*Path().glob("*.md"), *Path("docs").glob("*.md")]

ALSO_OTHER_WORDS: Final = {"command", "query", "port"}
"""A line that is typed, a part of a URL, a number to listen on: the first use of these may not be the glossary's."""
PLURALS: Final = {
    "query": "queries",
    "policy": "policies",
    "repository": "repositories",
    "unit of work": "units of work",
}
NO_PROSE: Final = re.compile(r"```.*?```|`[^`]*`|(?m:^#[^\n]*$)|!?\[[^\]]*\]\([^)]*\)", re.DOTALL)
"""Code, headings and links."""


def first_use(term: str, page: str) -> int | None:
    """Where a page first uses a word in prose without linking it."""
    prose = NO_PROSE.sub(lambda match: "\0" * len(match[0]), page)
    forms = "|".join((PLURALS.get(term, f"{term}s"), term)).replace(" ", r"\s")
    match = re.search(rf"(?<![\w/.-])(?:{forms})(?![\w/]|-\w|\.\w)", prose, re.IGNORECASE)
    return match and match.start()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_words_are_linked_at_their_first_use(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    late = []
    for term in set(TERMS) - ALSO_OTHER_WORDS:
        linked, used = text.find(f"(glossary.md#{term.replace(' ', '-')})"), first_use(term, text)
        if used is not None and not 0 <= linked < used:
            late.append(term)

    assert sorted(late) == []


def test_each_word_is_linked_from_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (Path("README.md"), *PAGES))

    assert [term for term in TERMS if f"glossary.md#{term.replace(' ', '-')})" not in pages] == []


def test_the_glossary_is_in_alphabetical_order() -> None:
    assert sorted(TERMS) == TERMS


@pytest.mark.parametrize("page", LINKING_PAGES, ids=str)
def test_links_to_headings_lead_to_one(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))

    assert [f"{path}#{anchor}" for path, anchor in targets if anchor not in _anchors(page, path)] == []


def _anchors(page: Path, path: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    target = page.parent / path if path else page
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
