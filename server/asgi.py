"""The API as uvicorn loads it: settings from the environment, the real queue."""

from __future__ import annotations

from fastapi import FastAPI

from api.app import create_app
from api.settings import ApiSettings


def app() -> FastAPI:
    """The app of this process."""
    return create_app(ApiSettings())
