"""The limit: where it comes from, and how it is changed.

Three places, the first that speaks wins: `--limit-usd` for one run; `<home>/<mode>/budget.json`,
written by `control budget set`; `config/budget.json`. Lowering takes effect at once; raising needs
a confirmation, because it is the one change that can make a bad day worse.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from control import shared
from control.config import Budget, load, micros, signed_usd, usd
from control.errors import ControlError, Exit
from control.latch import actor
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
    settings = load(Budget, folder / "budget.json")  # also when another one wins: a mistake in it is said
    chosen = override_path(paths)
    kept = chosen.exists()
    budget = load(Budget, chosen) if kept else settings
    if limit_usd is None:
        return budget, str(chosen if kept else folder / "budget.json")
    return changed(budget, limit_usd), "--limit-usd"


def source_line(paths: Paths, folder: Path, limit_usd: str | None = None) -> str:
    """The sentence of a start about its limit: how much, from where, and which file is not used."""
    budget, source = effective_budget(paths, folder, limit_usd)
    line = f"Limit ${usd(budget.limits_micros[0])} from {source}"
    chosen = override_path(paths)
    if limit_usd is not None:
        return f"{line}, for this run"
    if not chosen.exists():
        return line
    return (
        f"{line}, kept by `control budget set`; {folder / 'budget.json'} is not used while that file is there"
    )


def is_first_start(paths: Paths) -> bool:
    """True when nothing ever ran from this home and no limit was ever set."""
    return not (override_path(paths).exists() or (paths.mode_home / "last.json").exists())


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
    try:
        return Budget.model_validate(content["budget"]) if "budget" in content else None
    except ValueError:  # of a damaged file: what a start would use is shown instead
        return None


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
    write_event(paths.mode_home, "control", "limit_set", actor=actor(), limit_usd=budget.limit_usd)
    when = "now and for later runs" if running is not None else "from the next start"
    line = f"Limit ${usd(budget.limits_micros[0])} {when} (kept in {override_path(paths)})"
    view = shared.ledger_view(paths) if running is not None else None
    over = over_limit(view.used_micros[0], budget.limits_micros[0]) if view is not None else ""
    return f"{line}; {over}" if over else line


def over_limit(used_micros: int, limit_micros: int) -> str:
    """What it means that more is in use than the limit; empty when it is not so."""
    if used_micros <= limit_micros:
        return ""
    return (
        f"in use now {signed_usd(used_micros)}, above the limit of ${usd(limit_micros)}: "
        "only reducing orders until it is below"
    )


def raise_text(paths: Paths, folder: Path, limit_usd: str) -> str | None:
    """ "from $X to $Y" when the new limit is above the present one, which needs a confirmation."""
    present = running_budget(paths) or effective_budget(paths, folder)[0]
    wanted = changed(present, limit_usd).limits_micros[0]
    before = present.limits_micros[0]
    return f"from ${usd(before)} to ${usd(wanted)}" if wanted > before else None
