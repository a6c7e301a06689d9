"""Opening the database that the settings name."""

from __future__ import annotations

from pipeline import private
from pipeline.settings import Settings
from pipeline.storage.database import APPLICATION, Database


def open_database(settings: Settings, role: str = "") -> Database:
    """The database of `settings`; `role` is what this process is called there, after our own name."""
    private.folder(settings.home)
    name = f"{APPLICATION} {role}".strip()
    return Database(settings.database, pool_size=settings.worker_threads + 8, application=name)
