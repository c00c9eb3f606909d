"""The request log: finds requests by what is recorded of their attempts, or of their refusal."""
