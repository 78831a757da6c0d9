"""The ledger: accounts, double entry, holds."""
