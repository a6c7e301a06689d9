"""Alembic's entry: runs on the connection that Database.upgrade() opened."""

from alembic import context

from pipeline.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
with context.begin_transaction():
    context.run_migrations()
