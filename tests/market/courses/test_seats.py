"""Seats in courses, in each database: never more than there are, and never two for one participant."""

import asyncio
from typing import Any

from tests.market.courses.test_participants import registered
from tests.market.shop import Person, Shop


async def offered(shop: Shop, capacity: int, title: str = "Bread") -> str:
    answer = await (await shop.admin()).post("/v1/courses", {"title": title, "capacity": capacity})
    assert answer.status == 201, answer.body
    return f"/v1/courses/{answer.json['id']}"


async def enrolled(person: Person, course: str, participant: str) -> Any:
    return await person.post(f"{course}/enrolments", {"participant": participant})


async def taken(person: Person) -> list[tuple[str, int, int]]:
    items = (await person.get("/v1/courses")).json["items"]
    return [(item["title"], item["enrolled"], item["capacity"]) for item in items]


async def test_a_participant_takes_a_seat_and_leaves_it(school: Shop) -> None:
    ada, course = await school.register("Ada"), await offered(school, 2)
    zoe = await registered(ada, "Zoë")

    answer = await enrolled(ada, course, "Zoë")

    assert (answer.status, answer.json) == (201, {"course": course.rpartition("/")[2], "participant": zoe})
    assert await taken(ada) == [("Bread", 1, 2)]
    again = await enrolled(ada, course, zoe)
    assert (again.status, again.code) == (409, "already-enrolled")
    assert (await ada.delete(f"{course}/enrolments/{zoe}")).status == 204
    assert await taken(ada) == [("Bread", 0, 2)]
    gone = await ada.delete(f"{course}/enrolments/{zoe}")
    assert (gone.status, gone.code) == (404, "not-enrolled")
    assert await taken(ada) == [("Bread", 0, 2)]


async def test_of_fifty_who_want_the_last_seat_one_gets_it(school: Shop) -> None:
    ada, course = await school.register("Ada"), await offered(school, 1)
    for number in range(50):
        await registered(ada, f"No. {number}")

    answers = await asyncio.gather(*(enrolled(ada, course, f"No. {number}") for number in range(50)))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert {answer.code for answer in answers if answer.status == 409} == {"course-full"}
    assert await taken(ada) == [("Bread", 1, 1)]


async def test_fifty_times_the_same_participant_is_one_seat(school: Shop) -> None:
    ada, course = await school.register("Ada"), await offered(school, 50)
    await registered(ada, "Zoë")

    answers = await asyncio.gather(*(enrolled(ada, course, "Zoë") for _ in range(50)))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert await taken(ada) == [("Bread", 1, 50)]


async def test_those_who_leave_free_their_seats_in_all_courses(school: Shop) -> None:
    ada = await school.register("Ada")
    courses = [await offered(school, 1, title) for title in ("Bread", "Cake")]
    await registered(ada, "Zoë")
    for course in courses:
        await enrolled(ada, course, "Zoë")

    assert (await ada.delete("/v1/participants/Zo%C3%AB")).status == 204

    assert await taken(ada) == [("Bread", 0, 1), ("Cake", 0, 1)]


async def test_enrolling_and_leaving_at_full_speed_keeps_the_count(school: Shop) -> None:
    ada = await school.register("Ada")
    courses = [await offered(school, 10, title) for title in ("Bread", "Cake")]
    people = [await registered(ada, f"No. {number}") for number in range(6)]

    async def come_and_go(place: int) -> None:
        for course in courses if place % 2 else courses[::-1]:
            assert (await enrolled(ada, course, people[place])).status == 201
        if place < 3:
            assert (await ada.delete(f"/v1/participants/{people[place]}")).status == 204

    await asyncio.gather(*map(come_and_go, range(6)))

    assert await taken(ada) == [("Bread", 3, 10), ("Cake", 3, 10)]


async def test_what_is_unknown_or_wrong_is_refused(school: Shop) -> None:
    ada, bob, admin = await school.register("Ada"), await school.register("Bob"), await school.admin()
    course = await offered(school, 1)
    await registered(ada, "Zoë")

    unknown = await enrolled(ada, "/v1/courses/nothing", "Zoë")
    nobody = await enrolled(ada, course, "Nobody")
    others = await enrolled(bob, course, "Zoë")

    assert (unknown.status, unknown.code) == (404, "course-not-found")
    assert (nobody.status, nobody.code) == (404, "participant-not-found")
    assert others.status == 403
    assert (await enrolled(school.nobody, course, "Zoë")).status == 401
    for wrong in ({"title": "Bread", "capacity": 0}, {"title": "Bread", "capacity": 1.5}, {"title": "Bread"}):
        assert (await admin.post("/v1/courses", wrong)).status == 422
    assert (await admin.post("/v1/courses", {"title": " ", "capacity": 1})).code == "blank-title"
    assert (await ada.post("/v1/courses", {"title": "Cake", "capacity": 1})).status == 403


async def test_an_id_of_a_course_may_be_chosen_once(school: Shop) -> None:
    admin = await school.admin()
    course = {"id": "course_1", "title": "Bread", "capacity": 3}

    first, second = await admin.post("/v1/courses", course), await admin.post("/v1/courses", course)

    assert (first.status, first.json) == (201, {"id": "course_1"})
    assert (second.status, second.code) == (409, "value-taken")
