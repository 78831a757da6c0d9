"""What courses tell: ids and refusals. Others may import it. Plain tables record no events."""

from craton.domain import Conflict, Id, InvalidValue, Name, NotFound


class ParticipantId(Id):
    pass


class CourseId(Id):
    """A UUID, or a name such as `course_1`."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
    example = "course_1"


class BlankName(InvalidValue):
    """A participant needs a name."""


class BlankTitle(InvalidValue):
    """A course needs a title."""


class NameIsId(InvalidValue):
    """A name can't have the form of an id, because participants are found by either."""


class CourseFull(Conflict):
    """All seats of the course are taken."""


class AlreadyEnrolled(Conflict):
    """The participant has a seat in this course already."""


class ParticipantNotFound(NotFound):
    """There is no such participant."""

    participant: Name


class CourseNotFound(NotFound):
    """There is no such course."""

    course: CourseId


class NotEnrolled(NotFound):
    """The participant has no seat in this course."""
