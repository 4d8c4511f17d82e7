"""The API as uvicorn loads it: settings from the environment, the real queue."""

from __future__ import annotations

import gc

from fastapi import FastAPI

from api.app import create_app
from api.settings import ApiSettings
from worker.settings import QueueSettings


def app() -> FastAPI:
    """The app of this process."""
    made = create_app(ApiSettings(), broker_url=QueueSettings().broker_url)
    # What was imported and made stays; to look through it at each full collection would stop all
    # answers for 0.1 to 0.4 s.
    gc.collect()
    gc.freeze()
    return made
