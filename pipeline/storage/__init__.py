"""The database: tables, named queries, migrations. Knows no stage, no broker, no HTTP."""
