"""Reports usage and purchases to Lago."""
