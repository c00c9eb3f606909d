"""What arrives on the streams of the bus, and becomes notifications."""
