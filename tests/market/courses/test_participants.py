"""Participants, in each database: registered, changed and removed, by their ids or their names."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from craton.domain import Name
from market.courses.api import Courses
from market.courses.events import ParticipantNotFound
from market.courses.tables import Participants
from tests.http.client import Response
from tests.market.shop import Person, Shop


async def registered(person: Person, name: str, department: str | None = None) -> str:
    body = {"name": name} | ({"department": department} if department else {})
    answer = await person.post("/v1/participants", body)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def names(person: Person, query: str = "") -> list[str]:
    return [item["name"] for item in (await person.get(f"/v1/participants{query}")).json["items"]]


async def test_a_participant_is_found_by_its_id_and_by_its_name(school: Shop) -> None:
    ada = await school.register("Ada")

    answer = await ada.post("/v1/participants", {"name": " Zoë Müller ", "department": "Bakery"})

    assert answer.headers["location"] == f"/v1/participants/{answer.json['id']}"
    by_id, by_name = (
        await ada.get(answer.headers["location"]),
        await ada.get("/v1/participants/Zo%C3%AB%20M%C3%BCller"),
    )
    assert by_id.json == by_name.json
    found = by_id.json
    created = datetime.fromisoformat(found.pop("created"))
    assert created.utcoffset() == timedelta()
    assert found == {"id": answer.json["id"], "name": "Zoë Müller", "department": "Bakery"}
    missing = await ada.get("/v1/participants/Nobody")
    assert (missing.status, missing.code) == (404, "participant-not-found")
    assert (await school.nobody.get(answer.headers["location"])).status == 401


async def test_a_name_is_required_and_a_department_is_not(school: Shop) -> None:
    ada = await school.register("Ada")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "invalid-value"),
        ({"name": "  "}, "blank-name"),
        ({"name": None}, "invalid-value"),
        ({"name": "x" * 201}, "invalid-value"),
        ({"name": "Zoë", "department": "x" * 201}, "invalid-value"),
        ({"name": "0195e0c0-0000-7000-8000-000000000000"}, "name-is-id"),
        ({"name": "Zoë", "created": "2020-01-01T00:00:00Z"}, "invalid-value"),
        ({"name": "Zoë", "registrar": ada.id}, "invalid-value"),
    ]

    for body, code in wrong:
        refused = await ada.post("/v1/participants", body)
        assert (refused.status, refused.code) == (422, code), body

    id = await registered(ada, "x" * 200)
    assert (await ada.get(f"/v1/participants/{id}")).json["department"] is None


async def test_of_fifty_who_register_one_name_one_succeeds(school: Shop) -> None:
    ada = await school.register("Ada")

    answers = await asyncio.gather(*(ada.post("/v1/participants", {"name": "Zoë"}) for _ in range(50)))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert {answer.code for answer in answers if answer.status == 409} == {"value-taken"}
    assert await names(ada) == ["Zoë"]


async def test_names_are_compared_exactly(school: Shop) -> None:
    ada = await school.register("Ada")

    for name in ("Zoe", "zoe", "Zoë"):
        await registered(ada, name)

    assert await names(ada) == ["Zoë", "zoe", "Zoe"]
    assert (await ada.get("/v1/participants/ZOE")).status == 404


async def test_what_is_given_is_changed_and_the_rest_stays(school: Shop) -> None:
    ada = await school.register("Ada")
    path = f"/v1/participants/{await registered(ada, 'Zoë', 'Bakery')}"
    before = (await ada.get(path)).json

    assert (await ada.put(path, {"name": "Zoe"})).status == 204
    assert (await ada.get(path)).json == before | {"name": "Zoe"}
    assert (await ada.put("/v1/participants/Zoe", {"department": "Kitchen"})).status == 204
    assert (await ada.get(path)).json == before | {"name": "Zoe", "department": "Kitchen"}
    assert (await ada.put(path, {"department": " "})).status == 204

    assert (await ada.get(path)).json == before | {"name": "Zoe", "department": None}


async def test_a_change_to_equal_values_succeeds(school: Shop) -> None:
    ada = await school.register("Ada")
    path = f"/v1/participants/{await registered(ada, 'Zoë', 'Bakery')}"
    before = (await ada.get(path)).json

    for same in ({"name": "Zoë", "department": "Bakery"}, {}):
        assert (await ada.put(path, same)).status == 204

    assert (await ada.get(path)).json == before


async def test_a_change_to_a_name_that_is_taken_changes_nothing(school: Shop) -> None:
    ada = await school.register("Ada")
    zoe = f"/v1/participants/{await registered(ada, 'Zoë')}"
    await registered(ada, "Yan")

    refused = await ada.put(zoe, {"name": "Yan", "department": "Bakery"})

    assert (refused.status, refused.code) == (409, "value-taken")
    assert (await ada.get(zoe)).json["department"] is None
    assert sorted(await names(ada)) == ["Yan", "Zoë"]


async def test_of_fifty_changes_of_different_fields_none_is_lost(school: Shop) -> None:
    ada = await school.register("Ada")
    path = f"/v1/participants/{await registered(ada, 'Zoë', 'Bakery')}"

    for round in range(5):
        answers = await asyncio.gather(
            ada.put(path, {"name": f"Zoë {round}"}), ada.put(path, {"department": f"Bakery {round}"})
        )
        assert [answer.status for answer in answers] == [204, 204]
        found = (await ada.get(path)).json
        assert (found["name"], found["department"]) == (f"Zoë {round}", f"Bakery {round}")


async def test_a_participant_is_unregistered_by_name(school: Shop) -> None:
    ada = await school.register("Ada")
    await registered(ada, "Zoë")

    assert (await ada.delete("/v1/participants/Zo%C3%AB")).status == 204

    gone = await ada.delete("/v1/participants/Zo%C3%AB")
    assert (gone.status, gone.code) == (404, "participant-not-found")
    assert await names(ada) == []
    await registered(ada, "Zoë")


async def test_only_its_registrar_and_staff_change_a_participant(school: Shop) -> None:
    ada, bob, admin = await school.register("Ada"), await school.register("Bob"), await school.admin()
    path = f"/v1/participants/{await registered(ada, 'Zoë')}"

    for other, status in ((bob, 403), (school.nobody, 401)):
        assert (await other.put(path, {"name": "Yan"})).status == status
        assert (await other.delete(path)).status == status
        assert (await other.post(f"{path}/modify-and-unregister", {})).status == status
    assert await names(bob) == ["Zoë"]

    assert (await admin.put(path, {"name": "Yan"})).status == 204
    assert (await admin.delete(path)).status == 204


async def test_participants_are_listed_newest_first_and_by_department(school: Shop) -> None:
    ada = await school.register("Ada")
    for name, department in (("Zoë", "Bakery"), ("Yan", None), ("Xia", "Bakery")):
        await registered(ada, name, department)

    assert await names(ada) == ["Xia", "Yan", "Zoë"]
    assert await names(ada, "?department=Bakery") == ["Xia", "Zoë"]
    assert await names(ada, "?department=bakery") == []
    page = (await ada.get("/v1/participants?page=2&page_size=2")).json
    assert (page["total"], page["total_pages"], [item["name"] for item in page["items"]]) == (3, 2, ["Zoë"])


async def test_a_repeated_request_gets_the_same_answer(school: Shop) -> None:
    ada = await school.register("Ada")
    key = {"Idempotency-Key": "zoe"}

    def ask(name: str) -> Any:
        return ada.post("/v1/participants", {"name": name}, key)

    first, again, other = await ask("Zoë"), await ask("Zoë"), await ask("Yan")

    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status, other.code) == (422, "idempotency-key-reused")
    assert await names(ada) == ["Zoë"]


async def test_fifty_repetitions_at_once_register_once(school: Shop) -> None:
    ada = await school.register("Ada")
    key = {"Idempotency-Key": "zoe"}

    answers: list[Response] = await asyncio.gather(
        *(ada.post("/v1/participants", {"name": "Zoë"}, key) for _ in range(50))
    )

    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert await names(ada) == ["Zoë"]


# --- modify and unregister, both or neither --------------------------------------------------------------------


async def test_both_happen(school: Shop) -> None:
    ada = await school.register("Ada")
    path = f"/v1/participants/{await registered(ada, 'Zoë')}"

    assert (await ada.post(f"{path}/modify-and-unregister", {"name": "Yan"})).status == 204

    assert await names(ada) == []


async def test_neither_happens_if_one_is_refused(school: Shop) -> None:
    ada = await school.register("Ada")
    path = f"/v1/participants/{await registered(ada, 'Zoë')}"
    await registered(ada, "Yan")

    refused = await ada.post(f"{path}/modify-and-unregister", {"name": "Yan"})

    assert (refused.status, refused.code) == (409, "value-taken")
    assert sorted(await names(ada)) == ["Yan", "Zoë"]


class Broken(Exception):
    """What nobody expects."""


@pytest.mark.parametrize("failure", [Broken, asyncio.CancelledError], ids=["an error", "a cancellation"])
async def test_neither_happens_if_it_breaks_half_way(
    school: Shop, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    ada = await school.register("Ada")
    await registered(ada, "Zoë", "Bakery")
    courses = school.api(Courses)
    remove = Participants.remove

    async def remove_and_break(self: Participants, id: Any) -> None:
        await remove(self, id)
        raise failure

    monkeypatch.setattr(Participants, "remove", remove_and_break)
    breaking = asyncio.ensure_future(courses.modify_and_unregister(Name("Zoë"), department=Name("Kitchen")))
    await asyncio.wait([breaking])

    assert breaking.cancelled() or breaking.exception() is not None
    assert (await courses.find(Name("Zoë"))).department == "Bakery"
    monkeypatch.undo()
    await courses.modify_and_unregister(Name("Zoë"), department=Name("Kitchen"))
    with pytest.raises(ParticipantNotFound):
        await courses.find(Name("Zoë"))
