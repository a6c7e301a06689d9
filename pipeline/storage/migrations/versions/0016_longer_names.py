"""operators_log: the names of commands' users and of keys, whole"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("operators_log") as table:
        table.alter_column("operator", type_=sa.String(64), existing_type=sa.String(32))
