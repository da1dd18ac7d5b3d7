"""How a requirement of ASVS 5.0 is shown to hold: in full, in part, or not, with the reason."""

from dataclasses import dataclass

__all__ = ["Deviation", "Evidence", "Partly", "Row"]


@dataclass(frozen=True)
class Partly:
    """The evidence covers a part; `reason` says what is missing."""

    reason: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Deviation:
    """The requirement is not met, on purpose; the evidence shows what holds instead."""

    reason: str
    evidence: tuple[str, ...] = ()


Evidence = tuple[str, ...] | Partly | Deviation


@dataclass(frozen=True)
class Row:
    """One requirement in our own words.

    Evidence is `tests/….py::Class::test_name`, `tests/….py::test_name`, a file, or `file.md#heading`.
    """

    id: str
    level: int
    summary: str
    evidence: Evidence

    @property
    def references(self) -> tuple[str, ...]:
        return self.evidence if isinstance(self.evidence, tuple) else self.evidence.evidence
