"""The floor of all systems that commit once an order: one hand-written transaction each."""

from benchmarks.floors import pgbench

if __name__ == "__main__":
    pgbench.main(
        pgbench.Floor(
            name="one-transaction",
            script=pgbench.HERE / "one_transaction.sql",
            clients=16,
            orders_per_commit=1,
        )
    )
