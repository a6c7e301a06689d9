"""The floor of all systems: five hundred orders in each hand-written transaction."""

from benchmarks.floors import pgbench

if __name__ == "__main__":
    pgbench.main(
        pgbench.Floor(
            name="set-based",
            script=pgbench.HERE / "set_based.sql",
            # As many as the cores: more would only wait for each other's stock rows.
            clients=2,
            orders_per_commit=500,
        )
    )
