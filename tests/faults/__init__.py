"""Faults injected into served processes: `make faults`, apart from the test suite (docs/faults.md)."""
