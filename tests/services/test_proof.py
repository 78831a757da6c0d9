"""Over a network a service proves with a signed token which it is."""

import base64
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from craton.adapters.http import listen, serving_beside
from craton.adapters.services import Hosting, Peers
from craton.adapters.services.identity import Signer, Verifier
from craton.adapters.services.server import Forbidden
from craton.application.errors import Unavailable, WiringError
from craton.domain import world
from craton.runtime.topology import Address, Service, Topology
from craton.runtime.topology.topology import Reference
from tests.services.fair import FAIR, Fair, PurseId, Till, call

ADA = PurseId("ada")


def keys() -> tuple[str, str]:
    """A private key as PEM, and its public key as in a topology file."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem, base64.b64encode(public).decode()


MONEY, STREET, STRANGER = keys(), keys(), keys()


def headers(signer: Signer, audience: str = "money") -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in signer(audience).items()}


@pytest.fixture
def verifier() -> Verifier:
    return Verifier("money", {"money": MONEY[1], "street": STREET[1]})


def test_a_token_of_a_service_says_which_it_is(verifier: Verifier) -> None:
    assert verifier(headers(Signer("street", STREET[0]))) == "street"


def test_a_token_that_another_key_has_signed_is_refused(verifier: Verifier) -> None:
    with pytest.raises(Forbidden, match="isn't valid here: InvalidSignatureError"):
        verifier(headers(Signer("street", STRANGER[0])))


def test_a_token_for_another_service_is_refused(verifier: Verifier) -> None:
    with pytest.raises(Forbidden, match="InvalidAudienceError"):
        verifier(headers(Signer("street", STREET[0]), audience="people"))


def test_a_token_of_no_service_is_refused(verifier: Verifier) -> None:
    with pytest.raises(Forbidden, match="KeyError"):
        verifier(headers(Signer("stranger", STRANGER[0])))


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x.y.z", "Basic abc"])
def test_what_is_no_token_is_refused(verifier: Verifier, authorization: str) -> None:
    with pytest.raises(Forbidden):
        verifier({b"authorization": authorization.encode(), b"craton-service": b"street"})


def test_a_token_of_another_algorithm_is_refused(verifier: Verifier) -> None:
    now = world.milliseconds() // 1_000
    claims = {"iss": "street", "aud": "money", "iat": now, "exp": now + 60}
    token = jwt.encode(claims, base64.b64decode(STREET[1]) * 2, "HS256")

    with pytest.raises(Forbidden, match="InvalidAlgorithmError"):
        verifier({b"authorization": f"Bearer {token}".encode()})


def test_a_token_that_has_expired_is_refused(verifier: Verifier) -> None:
    token = jwt.encode({"iss": "street", "aud": "money", "iat": 1_000, "exp": 1_060}, STREET[0], "EdDSA")

    with pytest.raises(Forbidden, match="ExpiredSignatureError"):
        verifier({b"authorization": f"Bearer {token}".encode()})


def test_a_token_that_is_valid_for_long_is_refused(verifier: Verifier) -> None:
    now = world.milliseconds() // 1_000
    token = jwt.encode({"iss": "street", "aud": "money", "iat": now, "exp": now + 86_400}, STREET[0], "EdDSA")

    with pytest.raises(Forbidden, match="valid for too long"):
        verifier({b"authorization": f"Bearer {token}".encode()})


def test_a_key_of_another_kind_is_refused_without_being_shown() -> None:
    pem = generate_private_key(65_537, 2_048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(WiringError, match="must be an Ed25519 key in PEM") as refused:
        Signer("street", pem.decode())
    assert "BEGIN" not in str(refused.value)
    with pytest.raises(WiringError, match="the public_key of street must be"):
        Verifier("money", {"street": "abc"})


async def test_services_call_each_other_over_the_network(fair: Fair) -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        networked = Topology(
            services={
                "money": service("money", "till", port, MONEY),
                "street": service("street", "kiosk", 1, STREET),
            }
        )
        environment = {"MONEY": MONEY[0], "STREET": STREET[0]}
        hosting = Hosting(FAIR, networked, Path("/"), environment=environment)
        money = networked.service("money").addresses
        wrong = Peers("street", {"money": money}, {"till": "money"}, Signer("street", STRANGER[0]))
        async with AsyncExitStack() as stack:
            peers = {name: hosting.peers(name) for name in ("money", "street")} | {"wrong": wrong}
            for one in peers.values():
                stack.push_async_callback(one.close)
            part = hosting.part(networked.service("money"), peers["money"])
            await stack.enter_async_context(part.run(fair.store))
            server = hosting.server(part, networked.service("money"))
            await stack.enter_async_context(serving_beside(server, listening))
            await call(FAIR.part((), peers["street"]), Till.fill, ADA, 3)

            assert (await call(part, Till.left, ADA)).result == 3
            with pytest.raises(Unavailable, match="isn't valid here"):
                await call(FAIR.part((), peers["wrong"]), Till.left, ADA)


def service(name: str, module: str, port: int, pair: tuple[str, str]) -> Service:
    return Service(
        name=name,
        modules=(module,),
        addresses=(Address(f"http://localhost:{port}"),),
        key=Reference(name.upper()),
        public_key=pair[1],
    )


def test_a_key_that_does_not_fit_its_public_key_is_noticed_at_the_start() -> None:
    with pytest.raises(
        WiringError, match="the key of street isn't the one that its public_key in the topology belongs"
    ):
        Signer("street", STREET[0], MONEY[1])


def test_without_its_key_a_service_does_not_start() -> None:
    networked = Topology(services={"money": service("money", "till", 1, MONEY)})

    with pytest.raises(WiringError, match="the key of money is in the environment variable MONEY, which isn't set"):
        Hosting(FAIR, networked, Path("/"), environment={}).peers("money")
