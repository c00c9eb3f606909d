"""Sealing of provider keys in transit: to the vault on their way in, to one worker process on their way out."""
