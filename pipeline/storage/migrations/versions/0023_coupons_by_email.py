"""coupons_by_email: who is known by an id and an e-mail uses a coupon under both"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

#: Not 0022: code that doesn't know the column would give uses back under one key only.
serves = ("0023",)

_KNOWN_BY_BOTH = """
UPDATE coupon_redemptions SET email_key = (
    SELECT known.email_key FROM {table} AS known WHERE known.{id} = coupon_redemptions.order_id
)
WHERE customer <> '' AND EXISTS (
    SELECT 1 FROM {table} AS known
    WHERE known.{id} = coupon_redemptions.order_id AND known.email_key IS NOT NULL
)
"""
# More than are allowed may have used it under both together: then that is what was allowed.
_COUNTED = """
INSERT INTO coupon_uses (rules, code, customer, used)
SELECT rules, code, email_key, count(*) FROM coupon_redemptions
WHERE email_key <> '' GROUP BY rules, code, email_key
ON CONFLICT (rules, code, customer) DO UPDATE SET
    used = coupon_uses.used + excluded.used,
    most = CASE WHEN coupon_uses.most < coupon_uses.used + excluded.used
           THEN coupon_uses.used + excluded.used ELSE coupon_uses.most END
"""


def upgrade() -> None:
    op.add_column(
        "coupon_redemptions",
        sa.Column("email_key", sa.String(32), nullable=False, server_default=""),
    )
    for table, order_id in (("order_documents", "order_id"), ("archived_orders", "id")):
        op.execute(sa.text(_KNOWN_BY_BOTH.format(table=table, id=order_id)))
    op.execute(sa.text(_COUNTED))
