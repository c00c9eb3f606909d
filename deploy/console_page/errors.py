"""What can prevent the console's page from being built. Pure."""


class PageProblem(Exception):
    """The page cannot be built; the message says why and what to do."""
