"""The options about what a run of a batch may cost and which rows it takes; they apply to that run only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hallo_cli.cli.options import rare
from hallo_cli.errors import SettingsError

if TYPE_CHECKING:
    from hallo_cli.batch.budget import Budget


@dataclass(frozen=True)
class Spending:
    """What this run may cost, and which rows it is for."""

    gpu_hour_price: float = rare(
        0.0, "The price of one worker hour, for the plan's costs.", metavar="X", min=0
    )
    max_cost: float = rare(
        0.0,
        "Render only the rows that fit into this price (with --gpu-hour-price); 0 is no limit.",
        metavar="X",
        min=0,
    )
    finish_by: str = rare(
        "", "Render only the rows that end by then: 06:00, or 2026-11-30T06:00.", metavar="TIME"
    )
    only: list[str] | None = rare(
        None, "Render only rows whose ids match, such as 'anna-*'. Repeatable.", metavar="PATTERN"
    )

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
