"""Which URL is which method of courses' API."""

from craton.application import Routes, delete, get, only, post, put
from market.courses.api import Courses

routes = Routes(
    post("/v1/participants", Courses.register, status=201, location="/v1/participants/{id}", caller="registrar"),
    get("/v1/participants", Courses.participants),
    get("/v1/participants/{participant}", Courses.find),
    put("/v1/participants/{participant}", Courses.modify, status=204),
    delete("/v1/participants/{participant}", Courses.unregister),
    post("/v1/participants/{participant}/modify-and-unregister", Courses.modify_and_unregister, status=204),
    get("/v1/courses", Courses.courses),
    post("/v1/courses", Courses.add_course, status=201, access=only("admin")),
    post("/v1/courses/{course}/enrolments", Courses.enrol, status=201),
    delete("/v1/courses/{course}/enrolments/{participant}", Courses.leave),
)
