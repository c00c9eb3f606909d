"""The messages between services. Start with `topology`, the map of subjects, messages, publishers and subscribers."""
