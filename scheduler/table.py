"""The table of jobs: every file in `jobs/` declares one, as `JOB`. Adding a job is adding a file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from scheduler import jobs
from scheduler.job import Job


def _declared() -> dict[str, Job]:
    modules = (
        import_module(f"{jobs.__name__}.{found.name}") for found in iter_modules(jobs.__path__)
    )
    return {module.JOB.name: module.JOB for module in modules}


#: By name, in the order of the files' names.
JOBS = _declared()
