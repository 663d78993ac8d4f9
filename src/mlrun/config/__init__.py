"""The user's words: what may be set, what was set, and the objects that come of it."""
