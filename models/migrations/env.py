"""Alembic's entry: `models/migrate.py` hands it a connection."""

from alembic import context

import models.announcement
import models.artifact
import models.attempt
import models.audit
import models.batch
import models.budget
import models.campaign
import models.delivery
import models.endpoint_stats
import models.event
import models.handle
import models.job
import models.key
import models.lane
import models.reservation
import models.schedule
import models.schedule_run
import models.setting
import models.shelf  # noqa: F401 -- each module adds its table
from models.base import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
