"""The settings of courses."""

from typing import Annotated

from msgspec import Meta

from craton.application import Settings
from craton.domain import Secret


class CoursesSettings(Settings):
    database: Annotated[
        Secret | None,
        Meta(
            description="the MariaDB database of the participants and courses, as "
            "mysql://user:password@host:3306/name; without one, they are in the store, like everything else"
        ),
    ] = None
