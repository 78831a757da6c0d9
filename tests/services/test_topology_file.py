"""The topology file says which modules run in which service. What isn't understood is refused in a sentence."""

from pathlib import Path
from textwrap import dedent

import pytest

from craton.adapters.stores import is_shared
from craton.application.errors import WiringError
from craton.runtime.topology import Topology, read_topology

MODULES = {"catalog": None, "ordering": None, "ledger": None}


def read(folder: Path, text: str) -> Topology:
    file = folder / "services.toml"
    file.write_text('app = "market.app:app"\n' + dedent(text))
    return read_topology(file).placed(MODULES)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(WiringError) as refused:
        read(folder, text)
    return str(refused.value).replace(f"{folder}/services.toml: ", "")


TWO = """
    [services.shop]
    modules = ["catalog", "ordering"]
    [services.money]
    modules = "rest"
"""


def test_each_service_has_the_modules_that_it_names_and_one_has_the_rest(tmp_path: Path) -> None:
    topology = read(tmp_path, TWO)

    assert {name: service.modules for name, service in topology.services.items()} == {
        "shop": ("catalog", "ordering"),
        "money": ("ledger",),
    }
    assert topology.service_of("ledger").name == "money"


def test_a_service_without_an_address_is_at_sockets_beside_the_data(tmp_path: Path) -> None:
    shop = read(tmp_path, TWO).service("shop")

    assert [address.text for address in shop.endpoints(Path("/srv/market"))] == [
        "unix:///srv/market/sockets/shop.1.calls"
    ]
    assert shop.own_public_endpoint(Path("/srv/market"), 1).path == "/srv/market/sockets/shop.1.http"


def test_a_store_stands_in_an_environment_variable_or_is_its_default(tmp_path: Path) -> None:
    topology = read(
        tmp_path,
        """
        [defaults]
        store = { env = "STORE", default = "sqlite" }
        [services.all]
        modules = "rest"
        stores.ledger = { env = "LEDGER_STORE" }
        """,
    )
    service = topology.service("all")

    assert service.store_of("catalog", {}) == "sqlite"
    assert service.store_of("catalog", {"STORE": "postgresql://shop"}) == "postgresql://shop"
    assert service.store_of("ledger", {"LEDGER_STORE": "postgresql://money"}) == "postgresql://money"
    with pytest.raises(WiringError, match="LEDGER_STORE, which isn't set"):
        service.store_of("ledger", {})


REFUSED = {
    "an unknown key of the file": ("[gatway]\nlisten = 1", "there is no 'gatway' in a topology"),
    "an unknown key of a service": (
        '[services.shop]\nmoduls = ["catalog"]\nmodules = "rest"',
        "[services.shop] has no key moduls; there are: modules, replicas, address",
    ),
    "an unknown key of a reference": (
        '[services.shop]\nmodules = "rest"\nstore = { environment = "X" }',
        "[services.shop] has no key store.environment; there are: env, default",
    ),
    "a value of another type": (
        '[services.shop]\nmodules = "rest"\nreplicas = "two"',
        "[services.shop] has a wrong replicas: it must be a whole number",
    ),
    "a module in two services": (
        '[services.shop]\nmodules = ["catalog"]\n[services.more]\nmodules = ["catalog"]\n[services.x]\nmodules="rest"',
        "the module catalog is in shop and in more; a module has one service",
    ),
    "a module in no service": (
        '[services.shop]\nmodules = ["catalog"]',
        'no service has the modules ordering, ledger; list them, or say modules = "rest"',
    ),
    "a module that the app doesn't have": (
        '[services.shop]\nmodules = ["cataloge"]\n[services.x]\nmodules = "rest"',
        "[services.shop] has the module cataloge, and the app has none of that name; it has: catalog, ordering, ledger",
    ),
    "two services with the rest": (
        '[services.shop]\nmodules = "rest"\n[services.money]\nmodules = "rest"',
        "only one service can have the rest of the modules, not shop and money",
    ),
    "a rest that is empty": (
        '[services.shop]\nmodules = ["catalog", "ordering", "ledger"]\n[services.x]\nmodules = "rest"',
        'modules = "rest" stands for nothing',
    ),
    "no modules": ("[services.shop]\nmodules = []", "[services.shop] has no modules"),
    "no services": ("", "it needs services"),
    "replicas without end": (
        '[services.shop]\nmodules = "rest"\nreplicas = 1000',
        "has 1000 replicas; there can be 1 to 64",
    ),
    "an address that is none": (
        '[services.shop]\nmodules = "rest"\naddress = "shop:8100"',
        "'shop:8100' must be such as http://shop:8100 or unix:///run/market/shop",
    ),
    "a socket with too long a path": (
        f'[services.shop]\nmodules = "rest"\naddress = "unix:///{"x" * 120}"',
        "is longer than the 100 bytes that the path of a socket may have",
    ),
    "addresses that aren't one for each replica": (
        '[services.shop]\nmodules = "rest"\nreplicas = 3\naddress = ["unix:///a", "unix:///b"]',
        "has 3 replicas and 2 addresses in 'address'; give one address, or one each",
    ),
    "an address that is used twice": (
        '[services.a]\nmodules = ["catalog"]\naddress = "unix:///x"\n[services.b]\nmodules = "rest"\naddress = "unix:///x"',
        "the address unix:///x is used twice: by a and b",
    ),
    "a private key": (
        '[services.shop]\nmodules = "rest"\nkey = "MC4CAQ"',
        "[services.shop] has a wrong key: it must be the name of a variable",
    ),
    "one module as a text": (
        '[services.shop]\nmodules = "catalog"',
        '[services.shop] has a wrong modules: it must be a list of names, such as ["catalog"], or "rest"',
    ),
    "a service without modules": ("[services.shop]\nreplicas = 1", "[services.shop] needs modules"),
    "a module that is listed twice": (
        '[services.shop]\nmodules = ["catalog", "catalog"]\n[services.x]\nmodules = "rest"',
        "[services.shop] lists a module twice",
    ),
    "a store that is none": (
        '[services.shop]\nmodules = "rest"\nstore = "sqllite"',
        "store must be sqlite, memory, a postgresql:// URL or { env = \"…\" }, not 'sqllite'",
    ),
    "a public key that is none": (
        '[services.shop]\nmodules = "rest"\npublic_key = "-----BEGIN PUBLIC KEY-----"',
        "public_key must be the text between the lines that openssl pkey -pubout writes",
    ),
    "one address in a list for two replicas": (
        '[services.shop]\nmodules = "rest"\nreplicas = 2\naddress = ["unix:///a"]',
        "has 2 replicas and 1 addresses in 'address'",
    ),
    "the network without keys": (
        '[services.a]\nmodules = ["catalog"]\naddress = "http://a:1"\n[services.b]\nmodules = "rest"',
        "[services.a] is reached over the network, where services prove which they are: give b a key",
    ),
    "a password in the file": (
        '[services.a]\nmodules = "rest"\nstore = "postgresql://me:secret@host/x"',
        'store holds a password; name an environment variable instead: store = { env = "…" }',
    ),
    "a store of a module that is elsewhere": (
        '[services.a]\nmodules = ["catalog"]\nstores.ledger = "sqlite"\n[services.b]\nmodules = "rest"',
        "[services.a] stores.ledger is for a module that isn't in this service",
    ),
    "another gateway": (
        '[services.a]\nmodules = "rest"\n[gateway]\nkind = "haproxy"\nlisten = 1',
        "[gateway] kind must be \"caddy\", not 'haproxy'",
    ),
    "a port that is none": (
        '[services.a]\nmodules = "rest"\n[gateway]\nlisten = 70000',
        "[gateway] listen must be a port from 0 to 65535, not 70000",
    ),
    "a broker": (
        '[services.a]\nmodules = "rest"\n[broker]\nurl = { env = "X" }',
        "[broker] is for a broker, which a topology can't have yet; take the section away",
    ),
    "a name that isn't one": ('[services."Shop!"]\nmodules = "rest"', "the name of a service has small letters"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused_in_a_sentence(what: str, tmp_path: Path) -> None:
    text, expected = REFUSED[what]

    assert expected in refusal(tmp_path, text)


def test_a_password_is_never_repeated_in_the_refusal(tmp_path: Path) -> None:
    text, _ = REFUSED["a password in the file"]

    assert "secret" not in refusal(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, "[gatway]\n[services.shop]\nmodules = []\nreplicas = 0\n[broker]\n")

    assert len(told.splitlines()) == 4


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "services.toml"
    file.write_text("app = ")

    with pytest.raises(WiringError, match="can't be read"):
        read_topology(file)


def test_replicas_can_share_postgres_but_not_sqlite(tmp_path: Path) -> None:
    text = """
        [services.shop]
        modules = ["catalog", "ordering"]
        replicas = 2
        store = { env = "STORE", default = "sqlite" }
        [services.money]
        modules = "rest"
    """
    topology = read(tmp_path, text)

    assert list(topology.unshared({"STORE": "postgresql://x"}, is_shared)) == []
    (problem,) = topology.unshared({}, is_shared)
    assert problem.startswith("shop has 2 replicas, which can't share the store of catalog")


def test_replicas_of_one_network_address_cannot_all_be_on_this_host(tmp_path: Path) -> None:
    text = """
        [services.shop]
        modules = "rest"
        replicas = 2
        public = "http://shop:8000"
    """
    (problem,) = read(tmp_path, text).unfit_for_one_host()

    assert problem.startswith("the 2 replicas of shop can't all listen at http://shop:8000 on one host")
