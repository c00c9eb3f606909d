"""The whole system on one machine without containers: real NATS, real PostgreSQL, every service, one supervisor."""
