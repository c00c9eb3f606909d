"""Usage analytics: rollups that are kept in the transaction of ingestion, and the queries that they answer."""
