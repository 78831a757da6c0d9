"""Which procedure of the gRPC service is which method of courses' API."""

from craton.application import Rpcs, rpc
from market.courses.api import Courses

rpcs = Rpcs(
    "market.courses.v1.Courses",
    rpc("RegisterUser", Courses.register, caller="registrar"),
    rpc("ListUser", Courses.participants),
    rpc("FindUser", Courses.find),
    rpc("ModifyUser", Courses.modify),
    rpc("UnregisterUser", Courses.unregister),
    rpc("ListCourse", Courses.courses),
    generated="market.courses.courses_pb2",
)
