"""HTTP routes: each parses, calls one service and wraps the result."""
