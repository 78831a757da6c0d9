"""Which URL is which method of the ledger's API."""

from craton.application import Routes, get, only, own, post
from market.ledger.api import Ledger

routes = Routes(
    post("/v1/accounts", Ledger.open_account, status=201, location="/v1/accounts/{id}", access=own("owner", "admin")),
    get("/v1/accounts/{account}", Ledger.account),
    get("/v1/accounts/{account}/entries", Ledger.entries),
    get("/v1/accounts/{account}/events", Ledger.events),
    post(
        "/v1/accounts/{account}/deposits",
        Ledger.deposit,
        status=201,
        location="/v1/transfers/{id}",
        access=only("admin"),
    ),
    post("/v1/accounts/{account}/withdrawals", Ledger.withdraw, status=201, location="/v1/transfers/{id}"),
    post("/v1/accounts/{account}/close", Ledger.close_account, status=204),
    post("/v1/transfers", Ledger.transfer, status=201, location="/v1/transfers/{id}"),
    post("/v1/transfers/batch", Ledger.transfer_batch),
    get("/v1/transfers/{transfer}", Ledger.transfer_state),
    post("/v1/transfers/{transfer}/post", Ledger.post_transfer, status=204),
    post("/v1/transfers/{transfer}/void", Ledger.void_transfer, status=204),
    get("/v1/trial-balance", Ledger.trial_balance, access=only("admin")),
    get("/v2/wallet", Ledger.wallet, caller="owner"),
    post("/v2/wallet/withdraw", Ledger.withdraw_from_wallet, status=201, location="/v1/transfers/{id}", caller="owner"),
)
