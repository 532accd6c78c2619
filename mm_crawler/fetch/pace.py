"""How fast one mirror is asked: so many requests a second, evenly, and not at all while it wants a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

Sleep = Callable[[float], Awaitable[None]]


class Pace:
    """Hands out turns to ask one mirror; all its connections share it. Made and used on one event loop."""

    def __init__(self, requests_per_second: float = inf, sleep: Sleep = asyncio.sleep) -> None:
        self._step = 1 / requests_per_second
        self._sleep = sleep
        self._now = asyncio.get_running_loop().time
        self._next = 0.0  # when the next turn begins
        self._quiet_until = 0.0

    async def turn(self) -> None:
        """Wait until the next request may be sent. In no second there are more than the rate allows (and one)."""
        now = self._now()
        begins = max(now, self._next)
        self._next = begins + self._step
        if begins > now:
            await self._sleep(begins - now)
        waited_for = 0.0
        while waited_for < self._quiet_until and (quiet := self._quiet_until - self._now()) > 0:
            waited_for = self._quiet_until  # it may be told to wait longer meanwhile
            await self._sleep(quiet)

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        self._quiet_until = max(self._quiet_until, self._now() + seconds)
