"""Where the tables of courses are: in the module's store (SQLite or Postgres), or in MariaDB. The settings choose."""

from importlib.util import find_spec

from craton.application import WiringError
from craton.ports import Store
from market.courses.settings import CoursesSettings


def choose_database(store: Store, settings: CoursesSettings) -> Store:
    """The store, with the tables in the database that the settings name."""
    if settings.database is None:
        return store
    if find_spec("asyncmy") is None or find_spec("sqlalchemy") is None:
        raise WiringError("CRATON_COURSES_DATABASE needs MariaDB's driver: pip install craton[mariadb]")
    from craton.adapters.mariadb import MariaDbTables  # noqa: PLC0415  (without MariaDB, it isn't needed)

    return MariaDbTables(store, settings.database.reveal())
