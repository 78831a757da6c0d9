"""The tables of courses: what they look like, and how they are read and written.

Nothing here knows whether it runs in a transaction, or in which of the databases. Times are texts (RFC 3339, in UTC),
which all databases keep and compare alike.
"""

from datetime import UTC, datetime
from typing import Final

from craton.application import Database, Page, Paging
from craton.domain import Id, Name
from market.courses.api import Course, Participant
from market.courses.events import CourseId, ParticipantId

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS participants (id VARCHAR(36) NOT NULL PRIMARY KEY, name VARCHAR(200) NOT NULL UNIQUE,"
    " department VARCHAR(200), created VARCHAR(32) NOT NULL, registrar VARCHAR(64) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS courses (id VARCHAR(64) NOT NULL PRIMARY KEY, title VARCHAR(200) NOT NULL,"
    " capacity INTEGER NOT NULL, enrolled INTEGER NOT NULL, CHECK (enrolled BETWEEN 0 AND capacity))",
    "CREATE TABLE IF NOT EXISTS enrolments (course VARCHAR(64) NOT NULL REFERENCES courses (id),"
    " participant VARCHAR(36) NOT NULL REFERENCES participants (id), PRIMARY KEY (course, participant))",
)

PARTICIPANT: Final = "id, name, department, created"
COURSE: Final = "id, title, capacity, enrolled"


class Registered(Participant):
    """A participant, and the user that has registered it."""

    registrar: Id


class Participants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, participant: Name) -> Participant | None:
        """The participant with this id or this name."""
        found = await self._database.fetch_as(
            Participant, f"SELECT {PARTICIPANT} FROM participants WHERE id = :key OR name = :key", key=participant
        )
        return found[0] if found else None

    async def page(self, department: Name | None, paging: Paging) -> Page[Participant]:
        where = "WHERE department = :department" if department else ""
        named = {"department": department} if department else {}
        count = await self._database.fetch(f"SELECT count(*) AS total FROM participants {where}", **named)
        items = await self._database.fetch_as(
            Participant,
            f"SELECT {PARTICIPANT} FROM participants {where}"
            " ORDER BY created DESC, id DESC LIMIT :limit OFFSET :offset",
            limit=paging.page_size,
            offset=paging.offset,
            **named,
        )
        return Page.of(items, count[0]["total"], paging)

    async def lock(self, participant: Name) -> Registered | None:
        """The participant with this id or this name, which nobody else changes until the end of the transaction."""
        await self._database.execute(
            "UPDATE participants SET name = name WHERE id = :key OR name = :key", key=participant
        )
        found = await self._database.fetch_as(
            Registered,
            f"SELECT {PARTICIPANT}, registrar FROM participants WHERE id = :key OR name = :key",
            key=participant,
        )
        return found[0] if found else None

    async def add(self, id: ParticipantId, name: Name, department: Name | None, at: datetime, registrar: Id) -> None:
        await self._database.execute(
            "INSERT INTO participants (id, name, department, created, registrar)"
            " VALUES (:id, :name, :department, :created, :registrar)",
            id=id,
            name=name,
            department=department,
            created=at.astimezone(UTC).isoformat(timespec="microseconds"),
            registrar=registrar,
        )

    async def change(self, id: ParticipantId, name: Name, department: Name | None) -> None:
        await self._database.execute(
            "UPDATE participants SET name = :name, department = :department WHERE id = :id",
            id=id,
            name=name,
            department=department,
        )

    async def remove(self, id: ParticipantId) -> None:
        """Remove a participant, whose seats must be free."""
        await self._database.execute("DELETE FROM participants WHERE id = :id", id=id)


class CourseTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, course: CourseId) -> Course | None:
        found = await self._database.fetch_as(Course, f"SELECT {COURSE} FROM courses WHERE id = :id", id=course)
        return found[0] if found else None

    async def page(self, paging: Paging) -> Page[Course]:
        count = await self._database.fetch("SELECT count(*) AS total FROM courses")
        items = await self._database.fetch_as(
            Course,
            f"SELECT {COURSE} FROM courses ORDER BY title, id LIMIT :limit OFFSET :offset",
            limit=paging.page_size,
            offset=paging.offset,
        )
        return Page.of(items, count[0]["total"], paging)

    async def add(self, id: CourseId, title: Name, capacity: int) -> None:
        await self._database.execute(
            "INSERT INTO courses (id, title, capacity, enrolled) VALUES (:id, :title, :capacity, 0)",
            id=id,
            title=title,
            capacity=capacity,
        )

    async def take_seat(self, course: CourseId) -> bool:
        """Take a seat, and lock the course until the end of the transaction. Returns False if none is free."""
        return bool(
            await self._database.execute(
                "UPDATE courses SET enrolled = enrolled + 1 WHERE id = :id AND enrolled < capacity", id=course
            )
        )

    async def is_enrolled(self, course: CourseId, participant: ParticipantId) -> bool:
        found = await self._database.fetch(
            "SELECT 1 AS found FROM enrolments WHERE course = :course AND participant = :participant",
            course=course,
            participant=participant,
        )
        return bool(found)

    async def enrol(self, course: CourseId, participant: ParticipantId) -> None:
        await self._database.execute(
            "INSERT INTO enrolments (course, participant) VALUES (:course, :participant)",
            course=course,
            participant=participant,
        )

    async def leave(self, course: CourseId, participant: ParticipantId) -> bool:
        """Free a seat. Returns False if the participant has none."""
        gone = await self._database.execute(
            "DELETE FROM enrolments WHERE course = :course AND participant = :participant",
            course=course,
            participant=participant,
        )
        await self._database.execute(
            "UPDATE courses SET enrolled = enrolled - :gone WHERE id = :id", id=course, gone=gone
        )
        return bool(gone)

    async def leave_all(self, participant: ParticipantId) -> None:
        """Free all seats of a participant."""
        await self._database.execute(
            "UPDATE courses SET enrolled = enrolled - 1"
            " WHERE id IN (SELECT course FROM enrolments WHERE participant = :participant)",
            participant=participant,
        )
        await self._database.execute("DELETE FROM enrolments WHERE participant = :participant", participant=participant)
