"""The bare three-process spike: the product's hops and durable usage record, with no policy, no keys and no checks.

It marks the floor that NATS, aiohttp and one fsynced record set on this machine; the product is measured by its
distance from it.
"""
