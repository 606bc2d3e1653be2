"""The schema's history; Alembic brings any older job table up to date when the daemon starts."""
