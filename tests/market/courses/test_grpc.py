"""Courses over gRPC: a client in this process, the market in another, and nothing but the network between them."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from craton.testing.crash import Process

ROOT: Final = Path(__file__).parents[3]
SERVICE: Final = "market.courses.v1.Courses"
PASSWORD: Final = "correct horse battery"  # noqa: S105
SECONDS: Final = 60


class Client:
    """Knows nothing of the service but its address: the rest it asks for, as grpcurl does."""

    def __init__(self, channel: grpc.Channel, token: str = "") -> None:
        self._channel = channel
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.methods = pool.FindServiceByName(SERVICE).methods_by_name
        self.told: dict[str, Any] = {}

    def as_nobody(self) -> "Client":
        return Client(self._channel)

    def call(self, name: str, request: dict[str, Any], *, seconds: float = SECONDS, key: str = "") -> dict[str, Any]:
        method = self.methods[name]
        message, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        stub = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=message.SerializeToString,
            response_deserializer=answer.FromString,
        )
        metadata = [*self._metadata, *([("idempotency-key", key)] if key else [])]
        got, call = stub.with_call(json_format.ParseDict(request, message()), timeout=seconds, metadata=metadata)
        self.told = {one.key: one.value for one in call.trailing_metadata()}
        shown: dict[str, Any] = json_format.MessageToDict(got, preserving_proto_field_name=True)
        return shown

    def refusal(self, name: str, request: dict[str, Any], **how: Any) -> tuple[str, str]:
        """The status and the reason with which a call is refused."""
        with pytest.raises(grpc.RpcError) as refused:
            self.call(name, request, **how)
        return refused.value.code().name, reason_of(refused.value)


def reason_of(error: Any) -> str:
    info = ErrorInfo()
    status = rpc_status.from_call(error)  # None for what gRPC itself refuses
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def grpc_address(process: Process) -> str:
    """Where the process says that it serves gRPC, at the end of its banner."""
    while (found := re.search(r"gRPC is served at (\S+:\d+)[.,]", process.output)) is None:
        time.sleep(0.02)
    return found[1]


def started(folder: Path, **settings: str) -> Process:
    environment = {
        "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
        "CRATON_NOTIFICATIONS_FOLDER": str(folder / "mail"),
        **settings,
    }
    return Process(data=folder / "data", folder=ROOT, app="market.app:app", environment=environment)


def token_of(process: Process) -> str:
    body = {"email": "admin@example.com", "password": PASSWORD}
    answer = requests.post(f"http://127.0.0.1:{process.port}/v1/login", json=body, timeout=SECONDS)
    return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with started(tmp_path_factory.mktemp("grpc")) as process:
        yield process


@pytest.fixture(scope="module")
def channel(process: Process) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_address(process)) as channel:
        yield channel


@pytest.fixture(scope="module")
def client(process: Process, channel: grpc.Channel) -> Client:
    return Client(channel, token_of(process))


def test_its_procedures_are_found_by_reflection(client: Client) -> None:
    assert list(client.methods) == [
        "RegisterUser",
        "ListUser",
        "FindUser",
        "ModifyUser",
        "UnregisterUser",
        "ListCourse",
    ]


def test_a_participant_is_registered_found_changed_and_removed(client: Client) -> None:
    id = client.call("RegisterUser", {"name": "Zoë", "department": "Bakery"})["id"]

    found = client.call("FindUser", {"participant": "Zoë"})
    created = datetime.fromisoformat(found.pop("created"))
    assert datetime.now(UTC) - created < timedelta(minutes=10)
    assert found == {"id": id, "name": "Zoë", "department": "Bakery"}
    assert client.call("ModifyUser", {"participant": id, "name": "Yan", "department": ""}) == {}
    assert "department" not in client.call("FindUser", {"participant": "Yan"})
    assert client.call("UnregisterUser", {"participant": "Yan"}) == {}
    assert client.refusal("FindUser", {"participant": id}) == ("NOT_FOUND", "participant-not-found")


def test_what_gets_in_by_grpc_is_seen_over_http(client: Client, process: Process) -> None:
    id = client.call("RegisterUser", {"name": "Xia"})["id"]

    answer = requests.get(
        f"http://127.0.0.1:{process.port}/v1/participants/Xia",
        headers={"authorization": f"Bearer {token_of(process)}"},
        timeout=SECONDS,
    )

    assert answer.json()["id"] == id


def test_lists_come_in_pages(client: Client, process: Process) -> None:
    for number in range(3):
        client.call("RegisterUser", {"name": f"No. {number}", "department": "Lists"})
    admin = {"authorization": f"Bearer {token_of(process)}"}
    url = f"http://127.0.0.1:{process.port}/v1/courses"
    requests.post(url, json={"title": "Bread", "capacity": 3}, headers=admin, timeout=SECONDS)

    users = client.call("ListUser", {"department": "Lists", "page": 2, "page_size": 2})
    courses = client.call("ListCourse", {})

    assert [user["name"] for user in users["items"]] == ["No. 0"]
    assert (users["total"], users["page"], users["page_size"], users["total_pages"]) == (3, 2, 2, 2)
    assert [(course["title"], course["capacity"]) for course in courses["items"]] == [("Bread", 3)]


def test_each_refusal_has_a_status_and_a_reason(client: Client) -> None:
    client.call("RegisterUser", {"name": "Uma"})

    assert client.refusal("RegisterUser", {"name": "Uma"}) == ("ALREADY_EXISTS", "value-taken")
    assert client.refusal("RegisterUser", {"name": " "}) == ("INVALID_ARGUMENT", "blank-name")
    assert client.refusal("RegisterUser", {}) == ("INVALID_ARGUMENT", "blank-name")
    assert client.refusal("UnregisterUser", {"participant": "Nobody"}) == ("NOT_FOUND", "participant-not-found")
    assert client.as_nobody().refusal("FindUser", {"participant": "Uma"}) == ("UNAUTHENTICATED", "unauthenticated")


def test_a_wrong_value_is_named_by_its_field(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.call("RegisterUser", {"name": "x" * 201})

    violations = BadRequest()
    assert any(detail.Unpack(violations) for detail in rpc_status.from_call(refused.value).details)
    assert [violation.field for violation in violations.field_violations] == ["name"]


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 5_000])
def test_a_wrong_token_is_refused(channel: grpc.Channel, token: str) -> None:
    assert Client(channel, token).refusal("ListCourse", {})[0] == "UNAUTHENTICATED"


def test_a_repeated_call_under_one_key_runs_once(client: Client) -> None:
    first = client.call("RegisterUser", {"name": "Tom"}, key="tom")
    again = client.call("RegisterUser", {"name": "Tom"}, key="tom")

    assert first == again
    assert client.told["idempotency-replayed"] == "true"
    reused = client.refusal("RegisterUser", {"name": "Tim"}, key="tom")
    assert reused == ("FAILED_PRECONDITION", "idempotency-key-reused")


def test_what_is_no_message_is_refused_without_internal_texts(channel: grpc.Channel) -> None:
    send = channel.unary_unary(f"/{SERVICE}/FindUser")

    with pytest.raises(grpc.RpcError) as refused:
        send(b"\xff\xff\xff", timeout=SECONDS)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "The request isn't a message of the procedure."


def test_of_fifty_registrations_of_one_name_one_succeeds(client: Client) -> None:
    def outcome(_: int) -> str:
        try:
            client.call("RegisterUser", {"name": "Sam"})
        except grpc.RpcError as refused:
            return str(refused.code().name)
        return "OK"

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(outcome, range(50)))

    assert sorted(outcomes) == ["ALREADY_EXISTS"] * 49 + ["OK"]


def test_a_deadline_that_has_passed_ends_the_call(client: Client) -> None:
    assert client.refusal("RegisterUser", {"name": "Rob"}, seconds=0.000_001)[0] == "DEADLINE_EXCEEDED"


def test_every_answer_names_the_request(client: Client) -> None:
    client.call("ListCourse", {})

    assert client.told["craton-request-id"]


def test_too_large_a_message_is_refused(client: Client) -> None:
    assert client.refusal("FindUser", {"participant": "x" * 2_000_000})[0] == "RESOURCE_EXHAUSTED"


def test_health_says_that_it_serves(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    for name in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_it_stops_in_good_order(tmp_path: Path) -> None:
    with started(tmp_path) as process, grpc.insecure_channel(grpc_address(process)) as channel:
        client = Client(channel, token_of(process))
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(client.call, "RegisterUser", {"name": f"No. {n}"}, key=f"{n}") for n in range(200)]
            calls[0].result()
            process.signal(signal.SIGTERM)
            code = process.wait()
        outcomes = [call.exception() for call in calls]

    assert code == 0
    assert outcomes[0] is None
    assert {one.code().name for one in outcomes if isinstance(one, grpc.RpcError)} <= {"UNAVAILABLE", "CANCELLED"}
    with started(tmp_path) as process, grpc.insecure_channel(grpc_address(process)) as channel:
        client = Client(channel, token_of(process))
        for number, failed in enumerate(outcomes):
            if failed is None:
                assert client.call("FindUser", {"participant": f"No. {number}"})["name"] == f"No. {number}"


def test_with_a_certificate_connections_are_encrypted(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)

    with started(tmp_path, CRATON_GRPC_CERTIFICATE=str(certificate), CRATON_GRPC_KEY=str(key)) as process:
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(grpc_address(process).replace("127.0.0.1", "localhost"), credentials) as channel:
            assert Client(channel, token_of(process)).call("ListUser", {})["page"] == 1
        with grpc.insecure_channel(grpc_address(process)) as channel, pytest.raises(grpc.RpcError):
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CRATON_GRPC_CERTIFICATE": "nowhere.pem"}, "must be set both, or neither"),
        ({"CRATON_GRPC_CERTIFICATE": "nowhere.pem", "CRATON_GRPC_KEY": "nowhere.key"}, "can't be read"),
        ({"CRATON_GRPC_PORT": "many"}, "The port of gRPC must be a number"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    assert sentence in refused(tmp_path, settings)


def test_a_port_that_is_taken_is_refused(process: Process, tmp_path: Path) -> None:
    taken = grpc_address(process).rpartition(":")[2]

    assert "Choose another with CRATON_GRPC_PORT" in refused(tmp_path, {"CRATON_GRPC_PORT": taken})


def refused(folder: Path, settings: dict[str, str]) -> str:
    """What is said by a market that doesn't start."""
    process = started(folder, **settings)
    try:
        process.launch()
        assert process.wait() != 0
        return process.output + process.log
    finally:
        process.close()


def test_without_the_extra_it_says_what_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['grpc'] = None; sys.modules['grpc_health'] = None;"
        "import asyncio; from craton.cli import procedures; from market.app import app;"
        "print(asyncio.run(procedures._started(None, app, shared=False)).said)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "pip install craton[grpc]" in ended.stdout, ended.stderr


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "grpc.pem", folder / "grpc.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
