"""schema_serves: the schema names the code that may work on it; processes say which code they are

From here on each migration declares `serves`: the schemas that code may have been written for and
still work on the schema that this migration leaves behind. Its own is always among them. An older one
is named only if a test shows that code of that schema works on this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

serves = ("0017",)


def upgrade() -> None:
    op.create_table(
        "schema_serves",
        sa.Column("code_schema", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("code_schema", name=op.f("pk_schema_serves")),
    )
    op.add_column("processes", sa.Column("version", sa.String(32), nullable=True))
    op.add_column("processes", sa.Column("code_schema", sa.String(32), nullable=True))
