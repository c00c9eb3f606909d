"""Keyferry: message contracts, bus client, service runtime and command line."""
