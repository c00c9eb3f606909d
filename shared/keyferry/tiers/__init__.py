"""What each tier includes, as data."""
