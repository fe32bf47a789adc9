"""The limit: where it comes from, and how it is changed.

Three places, the first that speaks wins: `--limit-usd` for one run; `<home>/<mode>/budget.json`,
written by `control budget set`; `config/budget.json`. Lowering takes effect at once; raising needs
a confirmation, because it is the one change that can make a bad day worse.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from control import shared
from control.config import Budget, load, micros, usd
from control.errors import ControlError, Exit
from control.recorder import write_event
from control.records import Record, write_atomically
from control.status import supervisor_process

if TYPE_CHECKING:
    from bridge.paths import Paths


def override_path(paths: Paths) -> Path:
    """Where `control budget set` keeps the limit."""
    return paths.mode_home / "budget.json"


def effective_budget(paths: Paths, folder: Path, limit_usd: str | None = None) -> tuple[Budget, str]:
    """The budget that a start would use, and where it comes from."""
    chosen = override_path(paths)
    path = chosen if chosen.exists() else folder / "budget.json"
    budget = load(Budget, path)
    if limit_usd is None:
        return budget, str(path)
    return changed(budget, limit_usd), "--limit-usd"


def changed(budget: Budget, limit_usd: str) -> Budget:
    """The budget with another limit. ControlError(USAGE) when the amount is not one."""
    try:
        value = micros(limit_usd)
        if value <= 0:
            raise ValueError("it must be above zero")
    except ValueError as error:
        raise ControlError(f"--limit-usd: {error}.", Exit.USAGE) from None
    return Budget.model_validate({**budget.model_dump(), "limit_usd": limit_usd.strip()})


def running_budget(paths: Paths) -> Budget | None:
    """The budget of the running supervisor, or None."""
    if supervisor_process(paths) is None:
        return None
    content = shared.about_supervisor(paths)
    return Budget.model_validate(content["budget"]) if "budget" in content else None


def show(paths: Paths, folder: Path) -> Record:
    """The limit, its source, and how much of it is in use."""
    running = running_budget(paths)
    budget, source = (running, "the running supervisor") if running else effective_budget(paths, folder)
    view = shared.ledger_view(paths)
    used = [sum(line.used_micros[d] for line in view.participants) if view else 0 for d in (0, 1)]
    return {
        "schema_version": 1,
        "limit_micros": budget.limits_micros[0],
        "notional_limit_micros": budget.limits_micros[1],
        "headroom_micros": budget.headrooms_micros[0],
        "used_micros": used[0],
        "notional_used_micros": used[1],
        "source": source,
        "running": running is not None,
    }


def set_limit(paths: Paths, folder: Path, limit_usd: str) -> str:
    """Keep a new limit for this and every later run. Returns the sentence to show."""
    running = running_budget(paths)
    budget = changed(running or effective_budget(paths, folder)[0], limit_usd)
    paths.mode_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if running is not None:
        from control.bus import ask

        ask(paths, {"command": "budget_set", "budget": budget.model_dump()})
    write_atomically(override_path(paths), budget.model_dump(), durable=True)
    write_event(paths.mode_home, "control", "limit_set", limit_usd=budget.limit_usd)
    when = "now and for later runs" if running is not None else "from the next start"
    return f"Limit ${usd(budget.limits_micros[0])} {when} (kept in {override_path(paths)})"


def is_raise(paths: Paths, folder: Path, limit_usd: str) -> bool:
    """True when the new limit is above the present one, which needs a confirmation."""
    present = running_budget(paths) or effective_budget(paths, folder)[0]
    return changed(present, limit_usd).limits_micros[0] > present.limits_micros[0]
