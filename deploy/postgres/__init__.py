"""The database's side of deployment: one schema and one role per service, and their migrations."""
