"""The composition root of the market."""

from craton.runtime import About, App
from market.demo.story import tell
from market.demo_data import fill
from market.identity.api import Identity
from market.identity.cli import users
from market.modules import MODULES

app = App(
    "market",
    modules=MODULES,
    about=About(
        version="1",
        description="A market for cooks: users register, order goods, pay by card or from a wallet, and get the goods.",
        contact="market@example.com",
        licence="Apache-2.0",
    ),
    authenticate=Identity.authenticate,
    fill=fill,
    demo=tell,
    commands={"users": users},
)
