"""The console behind a real server, and a browser to look at it with."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from playwright.sync_api import Browser, Error, Playwright

from pipeline.assembly import Application
from scheduler.table import JOBS
from web.app import create_app


@contextmanager
def serving(application: Application) -> Iterator[str]:
    """Its address, while it is served."""
    app = create_app(application, JOBS)
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    app.state.live.stop()
    server.should_exit = True
    thread.join()


def chromium(playwright: Playwright) -> Browser | None:
    """The machine's own Chromium, or Playwright's; None if there is neither."""
    there = os.environ.get("ORDERMILL_TEST_CHROMIUM") or shutil.which("chromium")
    # As root, as containers are run, it has no sandbox of its own to go into.
    try:
        return playwright.chromium.launch(executable_path=there, args=["--no-sandbox"])
    except Error:
        return None
