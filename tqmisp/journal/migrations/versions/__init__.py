"""The migrations, oldest first; Alembic finds them here."""
