"""Use cases, one a file. They take values, not requests, and return models or small dataclasses."""
