"""What is done with participants and courses. Each use case is one transaction, in whichever database it is."""

from craton.application import Database, Page, Paging, now, permit, transaction
from craton.domain import Id, Name
from market.courses.api import Course, Courses, Enrolment, Participant
from market.courses.domain import require_name, require_title
from market.courses.events import (
    AlreadyEnrolled,
    CourseFull,
    CourseId,
    CourseNotFound,
    NotEnrolled,
    ParticipantId,
    ParticipantNotFound,
)
from market.courses.tables import CourseTable, Participants

STAFF = ("admin", "service")


class CoursesService(Courses):
    def __init__(self, database: Database) -> None:
        self._participants = Participants(database)
        self._courses = CourseTable(database)

    async def register(self, registrar: Id, name: Name, department: Name | None = None) -> ParticipantId:
        require_name(name)
        id = ParticipantId.new()
        await self._participants.add(id, name, department or None, now(), registrar)
        return id

    async def modify(self, participant: Name, *, name: Name | None = None, department: Name | None = None) -> None:
        async with transaction():
            found = await self._own(participant)
            if name is not None:
                require_name(name)
            kept = found.department if department is None else department or None
            await self._participants.change(found.id, name or found.name, kept)

    async def unregister(self, participant: Name) -> None:
        async with transaction():
            found = await self._own(participant)
            await self._courses.leave_all(found.id)
            await self._participants.remove(found.id)

    async def modify_and_unregister(
        self, participant: Name, *, name: Name | None = None, department: Name | None = None
    ) -> None:
        async with transaction():
            await self.modify(participant, name=name, department=department)
            await self.unregister(name or participant)

    async def add_course(self, title: Name, capacity: int, *, id: CourseId | None = None) -> CourseId:
        require_title(title)
        id = id or CourseId.new()
        await self._courses.add(id, title, capacity)
        return id

    async def enrol(self, course: CourseId, participant: Name) -> Enrolment:
        async with transaction():
            found = await self._own(participant)
            has_seat = await self._courses.take_seat(course)
            if await self._courses.is_enrolled(course, found.id):
                raise AlreadyEnrolled()
            if not has_seat:
                raise await self._no_seat(course)
            await self._courses.enrol(course, found.id)
        return Enrolment(course=course, participant=found.id)

    async def leave(self, course: CourseId, participant: Name) -> None:
        async with transaction():
            found = await self._own(participant)
            if not await self._courses.leave(course, found.id):
                raise NotEnrolled()

    async def find(self, participant: Name) -> Participant:
        found = await self._participants.find(participant)
        if found is None:
            raise ParticipantNotFound(participant=participant)
        return found

    async def participants(self, *, department: Name | None = None, paging: Paging = Paging()) -> Page[Participant]:
        return await self._participants.page(department, paging)

    async def courses(self, *, paging: Paging = Paging()) -> Page[Course]:
        return await self._courses.page(paging)

    async def _own(self, participant: Name) -> Participant:
        """A participant that the caller may change, locked. Raises `AccessDenied` for that of another user.

        Every change of a participant or its seats begins here, so that such changes happen one after the other.
        """
        found = await self._participants.lock(participant)
        if found is None:
            raise ParticipantNotFound(participant=participant)
        permit(found.registrar, *STAFF)
        return found

    async def _no_seat(self, course: CourseId) -> CourseFull | CourseNotFound:
        there = await self._courses.find(course) is not None
        return CourseFull() if there else CourseNotFound(course=course)
