"""The options about what a run of a batch may cost and which rows it takes; they apply to that run only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from hallo_cli.cli.help import option
from hallo_cli.errors import SettingsError

if TYPE_CHECKING:
    from hallo_cli.batch.budget import Budget


@dataclass(frozen=True)
class Spending:
    """What this run may cost, and which rows it is for."""

    gpu_hour_price: Annotated[
        float,
        option(help="The price of one worker hour, for the plan's costs.", metavar="X", min=0, more=True),
    ] = 0.0
    max_cost: Annotated[
        float,
        option(
            help="Render only the rows that fit into this price (with --gpu-hour-price); 0 is no limit.",
            metavar="X",
            min=0,
            more=True,
        ),
    ] = 0.0
    finish_by: Annotated[
        str,
        option(
            help="Render only the rows that end by then: 06:00, or 2026-11-30T06:00.",
            metavar="TIME",
            more=True,
        ),
    ] = ""
    only: Annotated[
        list[str] | None,
        option(
            help="Render only rows whose ids match, such as 'anna-*'. Repeatable.",
            metavar="PATTERN",
            more=True,
        ),
    ] = None

    def budget(self, max_gpu_hours: float) -> Budget:
        """All limits in one value. Raises SettingsError."""
        from hallo_cli.batch.budget import Budget

        if self.max_cost and not self.gpu_hour_price:
            raise SettingsError("--max-cost needs the price of an hour: add --gpu-hour-price.")
        hours = [max_gpu_hours] if max_gpu_hours else []
        hours += [self.max_cost / self.gpu_hour_price] if self.max_cost else []
        ends = next_time(self.finish_by, datetime.now()).timestamp() if self.finish_by else math.inf
        return Budget(min(hours, default=math.inf) * 3600, ends)


def next_time(text: str, now: datetime) -> datetime:
    """The next time that the clock shows 06:00, or a date with a time. Raises SettingsError."""
    try:
        if "T" in text or " " in text.strip():
            time = datetime.fromisoformat(text.strip())
        else:
            hour = datetime.strptime(text.strip(), "%H:%M").time()
            time = datetime.combine(now.date(), hour)
            time += timedelta(days=time <= now)
        is_past = time.timestamp() <= now.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise SettingsError(
            f"--finish-by {text!r} is not a time; give one such as 06:00 or 2026-11-30T06:00."
        ) from error
    if is_past:
        raise SettingsError(f"--finish-by {text!r} is past; give a future time.")
    return time
