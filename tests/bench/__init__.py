"""`make bench`: what the gateway costs beside a direct call and beside the barest system of the same shape."""
