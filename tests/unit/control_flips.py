"""One bit of a ledger in use is flipped, and `control kill` follows: for every bit of the header and of a
participant's lines before its slots. Orders rest at real simulators, stand-ins hold the lines; the kill and
the views run in this process, so that thousands take minutes.

python tests/unit/control_flips.py [COUNT [SEED]]     COUNT drawn ones; without it all of them
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from test_control_kill import LIMIT, System

from bridge import access
from bridge._bridge import ffi
from bridge.ledger import Ledger
from bridge.messages import LedgerState
from control import accounting, budget, doctor, kill, processes, shared
from control.config import DEFAULT_FOLDER
from control.errors import Exit
from control.latch import is_latched
from control.polymarket_sell import EXCHANGE, EXCHANGE_NEG_RISK, SellOrder, order_digest, sign
from control.status import snapshot
from control.venues import BinanceVenue, PolymarketVenue
from control.view import render

ROOT = Path(__file__).resolve().parent.parent.parent
STAND_IN = ROOT / os.environ.get("BUILD", "build") / "tests" / "stand_in"
HEADER_BITS = 8 * ffi.sizeof("struct ledger_header")
LINE_AT = 8 * (ffi.sizeof("struct ledger_header") + ffi.sizeof("struct ledger_participant"))  # the engine's
LINE_BITS = 8 * ffi.offsetof("struct ledger_participant", "slots")
RENEW_EVERY = 16  # flips: each costs about 100 of the 2,400 units of weight that Binance allows a minute
BITS = [*range(HEADER_BITS), *range(LINE_AT, LINE_AT + LINE_BITS)]


@dataclass(slots=True)
class Tally:
    """What the flips came to."""

    flips: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Bench:
    """Two simulators that stay, and a ledger with its participants that are made anew for each flip."""

    def __init__(self, folder: Path) -> None:
        self.system = System(folder)
        self.paths = self.system.paths
        self._start_venues()
        self._records = {
            name: str(access.write(self.paths, self._access(name, venue), 1, time.time_ns()))
            for name, venue in (("engine", "binance"), ("polymarket_bot", "polymarket"))
        }
        self._number = 0
        self._token: dict[str, Any] = {}
        self._stand_ins: list[subprocess.Popen[bytes]] = []

    def _start_venues(self) -> None:
        for venue in ("binance", "polymarket"):
            self.system.start_venue(venue)

    def renew_venues(self) -> None:
        """Their limits of requests count anew; what they know stays."""
        for child in self.system.children.values():
            child.terminate()
        for child in self.system.children.values():
            child.wait(60)
        self._start_venues()

    def _access(self, participant: str, venue: str) -> access.Access:
        """As a participant records where it trades."""
        ready = self.system.ready[venue]
        line = str(self.paths.sim_ready(venue))
        endpoints = {key: ready[key] for key in ("rest", "clob") if key in ready}
        api_key = ready["credentials"]["api_key"]
        return access.Access(participant, venue, "paper", "paper", endpoints, api_key, line, line)

    def close(self) -> None:
        """End everything."""
        for child in self._stand_ins:
            child.kill()
            child.wait()
        self.system.close()

    # ---- orders that rest at the venues ------------------------------------------------------

    async def place(self) -> None:
        """One order at each venue, far from the market."""
        await asyncio.gather(self._place_binance(), self._place_polymarket())

    async def _place_binance(self) -> None:
        self._number += 1
        async with BinanceVenue(self.system.ready["binance"], 60.0) as venue:
            bid, _ = await venue.top("BTCUSDT")
            order = {
                "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
                "quantity": "0.010", "price": f"{int(bid.split('.')[0]) - 500}.0",
                "newClientOrderId": f"flip{self._number}",
            }  # fmt: skip
            await venue._signed("POST", "/fapi/v1/order", order)

    async def _place_polymarket(self) -> None:
        ready = self.system.ready["polymarket"]
        async with PolymarketVenue(ready, 60.0) as venue:
            if not self._token:
                _, answer = await venue._http.send("GET", "/sampling-markets")
                market = answer["data"][0]
                self._token = {**market["tokens"][0], "neg_risk": market.get("neg_risk")}
            await venue.submit(self._bid(ready["credentials"]))

    def _bid(self, keys: dict[str, Any]) -> bytes:
        """A signed buy of 20 shares at one cent."""
        order = SellOrder(
            salt=secrets.randbelow(1 << 52), address=keys["address"], token_id=int(self._token["token_id"]),
            maker_amount=200_000, taker_amount=20_000_000, side=0, timestamp_ms=time.time_ns() // 1_000_000,
        )  # fmt: skip
        exchange = EXCHANGE_NEG_RISK if self._token["neg_risk"] else EXCHANGE
        zero = "0x" + "0" * 64
        signed = {
            "builder": zero, "expiration": "0", "maker": order.address, "metadata": zero,
            "makerAmount": str(order.maker_amount), "salt": order.salt, "side": "BUY", "signatureType": 0,
            "signer": order.address, "signature": sign(order_digest(order, exchange), keys["private_key"]),
            "takerAmount": str(order.taker_amount), "timestamp": str(order.timestamp_ms),
            "tokenId": str(order.token_id),
        }  # fmt: skip
        content = {"deferExec": False, "order": signed, "orderType": "GTC", "owner": keys["api_key"]}
        return json.dumps(content, separators=(",", ":")).encode()

    def open_at(self, venue: str) -> int:
        """Orders that the referee sees open."""
        account = httpx.get(
            f"{self.system.ready[venue]['admin']}/account", trust_env=False, timeout=60
        ).json()
        keys = account.get("keys") or account.get("accounts") or {}
        return sum(len(key["open_orders"]) for key in keys.values())

    # ---- the ledger and who holds it ---------------------------------------------------------

    def begin(self) -> None:
        """A new ledger in ACTIVE with two orders in each of two lines."""
        self.paths.ledger.unlink(missing_ok=True)
        self.paths.latch.unlink(missing_ok=True)
        Ledger.create(self.paths.ledger, LIMIT).close()
        with Ledger.open(self.paths.ledger) as ledger:
            ledger.heartbeat(600_000_000_000)
            ledger.set_state(LedgerState.ACTIVE)
        self._stand_ins = [
            self._start(["trader"], "1", "1", "BTCUSDT", self._records["engine"]),
            self._start(
                ["stand-in"], "2", "2", "TOKEN", self._records["polymarket_bot"], "-m", "polymarket_bot"
            ),
        ]
        for child in self._stand_ins:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"

    def _start(self, name: list[str], *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*name, str(self.paths.ledger), *words], executable=STAND_IN, env=self.system.environment,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def flip(self, bit: int) -> None:
        """As a stray store does it: in place, under everybody's eyes."""
        with self.paths.ledger.open("r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0]
            file.seek(bit // 8)
            file.write(bytes([byte ^ 1 << bit % 8]))

    def look(self) -> None:
        """Every view answers; what it raises is the fault."""
        picture = snapshot(self.paths)
        json.dumps(picture)
        Console(file=io.StringIO(), width=150).print(render(picture))
        assert len(shared.open_orders(self.paths)) == 4
        budget.show(self.paths, DEFAULT_FOLDER)
        accounting.pnl(self.paths)
        accounting.positions(self.paths)
        doctor._ledger(self.paths)
        doctor._budget(self.paths, DEFAULT_FOLDER)
        doctor._processes(self.paths)

    def kill(self) -> tuple[Exit, list[str]]:
        """One kill; its code and its words."""
        said: list[str] = []
        run = kill.Kill(self.paths, "", False, None, lambda text, tone: said.append(text))
        return run.run().exit_code(), said

    def try_bit(self, bit: int, tally: Tally) -> None:
        """One flip, from a whole system to an ended one."""
        self.begin()
        asyncio.run(self.place())
        assert all(self.open_at(venue) for venue in ("binance", "polymarket")), "nothing to cancel"
        self.flip(bit)
        tally.flips += 1
        try:
            self.look()
            code, said = self.kill()
            self.look()
        except Exception as error:
            tally.faults.append(f"bit {bit}: {type(error).__name__}: {error}")
            return
        finally:
            left = [child for child in self._stand_ins if child.poll() is None]
            alive = [processes.identify(child.pid) for child in left]
            for child in self._stand_ins:
                child.kill()
                child.wait()
                if child.stdout is not None:
                    child.stdout.close()
        tally.codes[int(code)] = tally.codes.get(int(code), 0) + 1
        rest = {venue: self.open_at(venue) for venue in ("binance", "polymarket")}
        if any(alive):
            tally.faults.append(f"bit {bit}: a process outlived the kill: {said}")
        if any(rest.values()):
            tally.faults.append(f"bit {bit}: left at the venues {rest}: {said}")
        # All slots are whole, both venues answer, and a record is known also by a name with a flipped bit.
        if code != Exit.OK:
            tally.faults.append(f"bit {bit}: exit code {code}: {said}")
        if not is_latched(self.paths.latch):
            tally.faults.append(f"bit {bit}: no latch: {said}")


def run(folder: Path, bits: list[int], progress: bool = False) -> Tally:
    """Flip each of these bits."""
    tally = Tally()
    bench = Bench(folder)
    try:
        for bit in bits:
            if tally.flips and tally.flips % RENEW_EVERY == 0:
                bench.renew_venues()
            bench.try_bit(bit, tally)
            if progress and tally.flips % 100 == 0:
                print(f"{tally.flips} flips, {len(tally.faults)} faults, codes {tally.codes}", flush=True)
    finally:
        bench.close()
    return tally


def drawn(count: int, seed: int) -> list[int]:
    """So many different bits."""
    return sorted(random.Random(seed).sample(BITS, count))


def main() -> int:
    """All of them, or a drawn few; 1 when one was not survived."""
    bits = (
        drawn(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1) if len(sys.argv) > 1 else BITS
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="purser-flips-") as folder:
        tally = run(Path(folder), bits, progress=True)
    for fault in tally.faults:
        print(fault)
    seconds = time.monotonic() - began
    print(f"{tally.flips} flips in {seconds:.0f} s, {len(tally.faults)} faults, codes {tally.codes}")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
