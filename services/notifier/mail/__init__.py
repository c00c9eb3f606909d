"""Mail: how a message is built and handed to the mail server."""
