"""Server-sent events: what happens in a tenant or in the installation, filtered by tenant and role, as it happens."""
