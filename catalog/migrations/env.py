"""Run by Alembic: migrates over the connection that `catalog.engine.migrate` holds locked."""

from __future__ import annotations

from alembic import context

import catalog.audit_models
import catalog.build_models
import catalog.hook_models
import catalog.package_models
import catalog.rollout_models
import catalog.target_models  # noqa: F401 - these register their tables
from catalog.models import Model

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Model.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
