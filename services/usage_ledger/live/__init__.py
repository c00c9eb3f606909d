"""What pages that are open are sent of the ledger: requests, credits and the number of dead letters, after they are committed."""
