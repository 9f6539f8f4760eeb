"""What can be wrong with the lab's inputs. Every message names what, the value, and the remedy."""

from __future__ import annotations


class LabError(Exception):
    """The root: catch this one to catch them all."""


class DataError(LabError):
    """The training CSV cannot be used.

    `field` says where in the file (a column, a line, the header), `value` what stands there.
    """

    def __init__(self, source: str, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{source}: {field} is {value!r}: {remedy}")
        self.source, self.field, self.value, self.remedy = source, field, value, remedy


class ArtefactError(LabError):
    """A pickled model or scaler, or what is recorded of it, is not what it should be."""


class CandidateError(LabError):
    """The asset events that started a release do not amount to one model with its scaler."""
