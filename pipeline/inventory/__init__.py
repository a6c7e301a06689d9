"""Units: which order gets which, decided purely. The ledger itself is in storage/stock.py."""
