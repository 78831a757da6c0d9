"""Courses' front door. Others may import it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from craton.application import Api, Page, Paging, command, query
from craton.domain import Id, Instant, Name, Value
from market.courses.events import CourseId, ParticipantId


class Courses(Api):
    """Participants, and the courses in which they have seats. A participant is named by its id or its name."""

    @command
    async def register(self, registrar: Id, name: Name, department: Name | None = None) -> ParticipantId:
        """Register a participant. No two have the same name."""

    @command
    async def modify(self, participant: Name, *, name: Name | None = None, department: Name | None = None) -> None:
        """Change what is given. A blank department is none."""

    @command
    async def unregister(self, participant: Name) -> None:
        """Remove a participant, and free its seats."""

    @command
    async def modify_and_unregister(
        self, participant: Name, *, name: Name | None = None, department: Name | None = None
    ) -> None:
        """Change what is given and remove the participant, both or neither."""

    @command
    async def add_course(self, title: Name, capacity: Capacity, *, id: CourseId | None = None) -> CourseId:
        """Offer a course. The caller may choose its id."""

    @command
    async def enrol(self, course: CourseId, participant: Name) -> Enrolment:
        """Give a participant a seat in a course."""

    @command
    async def leave(self, course: CourseId, participant: Name) -> None:
        """Free a participant's seat in a course."""

    @query
    async def find(self, participant: Name) -> Participant:
        """A participant."""

    @query
    async def participants(self, *, department: Name | None = None, paging: Paging = Paging()) -> Page[Participant]:
        """The participants, newest first: all, or those of a department."""

    @query
    async def courses(self, *, paging: Paging = Paging()) -> Page[Course]:
        """The courses, by their titles."""


Capacity = Annotated[int, Meta(ge=1, le=10_000)]


class Participant(Value):
    id: ParticipantId
    name: Name
    department: Name | None
    created: Instant


class Course(Value):
    id: CourseId
    title: Name
    capacity: int
    enrolled: int


class Enrolment(Value):
    course: CourseId
    participant: ParticipantId
