"""Every "no" of a use case, with a name and a message for the person who asked.

ServiceError
├── NotFound         there is no such thing
├── AlreadyExists    the name is taken
├── InvalidValue     a value that cannot be used; says which and what would be right
├── NotAllowed       this person may not do that
└── TooOften         not again so soon
"""

from __future__ import annotations

from datetime import datetime


class ServiceError(Exception):
    """A use case was refused; the message says why and what to do."""


class NotFound(ServiceError):
    """There is no such thing."""


class AlreadyExists(ServiceError):
    """The name is taken."""


class InvalidValue(ServiceError):
    """A value cannot be used. `field` names it as the caller did."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotAllowed(ServiceError):
    """This person may not do that."""


class TooOften(ServiceError):
    """Not again so soon. `ready_at` says when; None: nobody knows."""

    def __init__(self, message: str, ready_at: datetime | None) -> None:
        super().__init__(message)
        self.ready_at = ready_at
