"""Courses' wiring."""

from craton.application import Module
from market.courses.adapters import choose_database
from market.courses.api import Courses
from market.courses.grpc import rpcs
from market.courses.http import routes
from market.courses.settings import CoursesSettings
from market.courses.tables import TABLES
from market.courses.use_cases import CoursesService

courses = Module(
    "courses",
    api=Courses,
    service=CoursesService,
    routes=routes,
    rpcs=rpcs,
    settings=CoursesSettings,
    tables=TABLES,
    database=choose_database,
)
