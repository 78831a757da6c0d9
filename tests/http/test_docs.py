"""The page on which the API is read and tried: a viewer that is kept here as its makers have published it."""

import hashlib
import re
from importlib.resources import files
from typing import Final

import pytest

from tests.http.client import Client

SWAGGER_UI_DIST_5_35_0: Final = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
}
"""SHA-256 of the files of the package swagger-ui-dist, version 5.35.0, on npm."""


def test_the_viewers_files_are_those_that_its_makers_have_published() -> None:
    folder = files("craton.adapters.http").joinpath("docs/swagger-ui")

    kept = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}

    assert kept == SWAGGER_UI_DIST_5_35_0


async def test_the_page_and_all_that_it_loads_come_from_here(client: Client) -> None:
    page = await client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert len(loaded) == 5
    for path in loaded:
        assert path.startswith("/docs/")
        assert (await client.get(path)).status == 200


async def test_the_page_may_load_scripts_and_styles_from_here_alone_and_none_of_its_own_text(client: Client) -> None:
    page = await client.get("/docs")

    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"<script>|<style|style=|onload=|javascript:", page.body.decode())


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js", "/docs/swagger-ui-bundle.js"])
async def test_a_browser_keeps_what_has_not_changed(client: Client, path: str) -> None:
    first = await client.get(path)

    assert (await client.get(path, {"If-None-Match": first.headers["etag"]})).status == 304


async def test_the_root_leads_to_the_page(client: Client) -> None:
    answer = await client.get("/")

    assert (answer.status, answer.headers["location"]) == (307, "/docs")
