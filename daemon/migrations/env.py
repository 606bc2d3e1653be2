"""How Alembic reaches the job table: through the connection that daemon.store hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
context.run_migrations()
