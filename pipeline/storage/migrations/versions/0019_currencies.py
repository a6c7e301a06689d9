"""currencies, time zones of rules: as they were, whatever a later list says"""

import json

import sqlalchemy as sa
from alembic import op

from pipeline import money
from pipeline.pricing import zones

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

serves = ("0019",)

#: What the lists of before had and today's may not have: amounts in it may be here. What a later list
#: adds each process records when it starts.
_WITHDRAWN = {"BGN": 2}


def upgrade() -> None:
    table = op.create_table(
        "currencies",
        sa.Column("code", sa.String(3), nullable=False),
        sa.Column("exponent", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("exponent >= 0", name=op.f("ck_currencies_not_negative")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_currencies")),
    )
    op.bulk_insert(
        table, [{"code": c, "exponent": n} for c, n in (_WITHDRAWN | money.listed()).items()]
    )
    with op.batch_alter_table("pricing_rules") as rules:
        rules.add_column(sa.Column("zone", sa.Text(), nullable=True))
    _keep_zones(op.get_bind())


def _keep_zones(connection: sa.Connection) -> None:
    """Of the rules that are there. There are as many as were ever imported: few."""
    versions = sa.table(
        "pricing_rules", *(sa.column(name) for name in ("name", "version", "body", "zone"))
    )
    of = sa.and_(versions.c.name == sa.bindparam("n"), versions.c.version == sa.bindparam("v"))
    known = connection.execute(sa.select(versions.c.name, versions.c.version, versions.c.body))
    kept = [
        {"n": r.name, "v": r.version, "kept": zones.kept(json.loads(r.body)["timezone"])}
        for r in known.all()
        if "timezone" in json.loads(r.body)
    ]
    if kept:
        connection.execute(sa.update(versions).where(of).values(zone=sa.bindparam("kept")), kept)
