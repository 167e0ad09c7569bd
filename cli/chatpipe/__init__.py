"""chatpipe: a Unix filter for Chat Completions."""

__version__ = "0.1.0"
