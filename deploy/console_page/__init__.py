"""Builds the console's page with the Node.js of a Python package: npm's packages once, the page whenever a source changes."""
