"""What crosses between the bot and everybody else.

In: SIGNAL (the reference price), NEW_ORDER and CANCEL_ORDER from the engine's strategies.
Out: HEDGE, TOP_OF_BOOK, POSITION, EXECUTION_REPORT, RISK_STATE over the bridge and on the bus; the status
page ten times a second; the log. The hedge target is absolute and carries an expiry, so it is repeated
every second and a lost message does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from bridge.bus import Publisher
from bridge.messages import (
    EventLevel,
    ExecutionType,
    Message,
    MessageCancelOrder,
    MessageEvent,
    MessageHedge,
    MessageNewOrder,
    MessageRiskState,
    MessageSignal,
    PageFill,
    PageSignal,
    ParticipantRole,
    RejectReason,
    SessionState,
    VenueId,
)
from bridge.page import PageWriter
from bridge.paths import Paths
from polymarket_bot.execution.settlement import Change, ChangeKind, Settlement
from polymarket_bot.ipc.protocol import (
    E9,
    execution_id,
    fill_report_of,
    position_of,
    report_of,
    signal_of,
    top_of,
)
from polymarket_bot.ipc.server import BridgeServer
from polymarket_bot.model import FillStatus, Intent, Order, OrderState, Signal, Top

log = structlog.get_logger("bot")

HEDGE_EVERY_NS = 1_000_000_000
HEDGE_VALID_NS = 3_000_000_000
REPEAT_REFUSAL_NS = 5_000_000_000


@dataclass(slots=True)
class Hedger:
    """Delta of all positions to an absolute target of the reference, opposite in sign and capped.

    Each change of the target costs taker fees. So it stays while the delta is within the threshold of it,
    then moves to the exact delta, and moves again only after the interval."""

    threshold_e9: int
    max_e9: int
    price_limit_ppm: int
    interval_ns: int = 0
    target_e9: int = 0
    moved_ns: int | None = None
    sent_ns: int = 0
    request_id: int = 0

    def decide(self, delta_e9: int, now_ns: int) -> tuple[int, bool]:
        """The target, and whether it should be sent now: when it moved, and every second."""
        wanted = max(-self.max_e9, min(self.max_e9, -delta_e9))
        left = abs(wanted - self.target_e9) >= self.threshold_e9 or (delta_e9 == 0 and self.target_e9 != 0)
        moved = left and (self.moved_ns is None or now_ns - self.moved_ns >= self.interval_ns)
        if moved:
            self.target_e9, self.moved_ns = wanted, now_ns
        return self.target_e9, moved or now_ns - self.sent_ns >= HEDGE_EVERY_NS

    def message(self, symbol: str, now_ns: int) -> MessageHedge:
        self.request_id += 1
        self.sent_ns = now_ns
        return MessageHedge(
            request_id=self.request_id,
            symbol=symbol,
            target_e9=self.target_e9,
            price_limit_ppm=self.price_limit_ppm,
            expires_ns=now_ns + HEDGE_VALID_NS,
        )


@dataclass(slots=True)
class Inbox:
    """What has arrived from the engine and waits for the next duty cycle."""

    orders: list[MessageNewOrder] = field(default_factory=list)
    cancels: list[MessageCancelOrder] = field(default_factory=list)
    engine_left: bool = False


class Integration:
    """Page, bridge, bus and log behind the Reporter protocol of the execution engine."""

    def __init__(
        self,
        paths: Paths,
        mode: str,
        settlement: Settlement,
        symbol_of: Callable[[str], str],
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self._settlement = settlement
        self._symbol_of = symbol_of
        self._now_ns = now_ns
        self._wall_ns = wall_ns
        self._wake = wake
        self._paths = paths
        self._mode = mode
        self.page: PageWriter
        self.bus: Publisher
        self.server = BridgeServer(self, mode)
        self.earlier: dict[str, tuple[int, int, OrderState]] = {}
        self.mark_of: Callable[[str], int] = lambda token: 0
        self.inbox = Inbox()
        self.signals: dict[str, Signal] = {}
        self.signal_counts: dict[str, int] = {}
        self.fills = 0
        self._refusals: dict[tuple[int, str], int] = {}
        self._tops: dict[str, Top] = {}

    async def start(self) -> None:
        """The socket first: it fails when another bot runs, whose page must stay its own."""
        await self.server.start(self._paths.bridge_socket)
        self.page = PageWriter(
            self._paths.bot_page, ParticipantRole.BOT, self._mode, os.getpid(), self._wall_ns()
        )
        self.bus = Publisher(self._paths.bot_pub)

    # --- from the engine ---

    def on_signal(self, message: MessageSignal) -> None:
        self.signals[message.symbol] = signal_of(message)
        self.signal_counts[message.symbol] = self.signal_counts.get(message.symbol, 0) + 1
        self._wake()

    def on_new_order(self, message: MessageNewOrder) -> None:
        self.inbox.orders.append(message)
        self._wake()

    def on_cancel_order(self, message: MessageCancelOrder) -> None:
        self.inbox.cancels.append(message)
        self._wake()

    def on_engine(self, connected: bool) -> None:
        if not connected:
            self.inbox.engine_left = True
        self._wake()

    def take_inbox(self) -> Inbox:
        inbox, self.inbox = self.inbox, Inbox()
        return inbox

    def signal(self, symbol: str, stale_ns: int) -> Signal | None:
        """The reference price, when it is ready and young enough to trade on."""
        signal = self.signals.get(symbol)
        if signal is None or not signal.ready or self._now_ns() - signal.received_ns > stale_ns:
            return None
        return signal

    # --- Reporter ---

    def send(self, message: Message) -> None:
        self.server.send(message)
        self.bus.publish(message)

    def order(self, order: Order, execution: ExecutionType, reason: RejectReason, text: str) -> None:
        symbol = self._symbol_of(order.intent.token)
        self.send(
            report_of(
                order.intent, symbol, execution, order.state, order.filled, reason, text, self._wall_ns()
            )
        )
        if execution is ExecutionType.REJECTED:
            self.page.count_refusal(reason)
        if execution is ExecutionType.NEW and order.sent_ns:
            self.page.record_order_to_ack(self._now_ns() - order.sent_ns)
        log.info(
            "order_" + execution.name.lower(),
            order=f"{order.intent.client_order_id:016x}",
            symbol=symbol,
            side=order.intent.side.name,
            price=order.intent.price,
            size=order.intent.size,
            filled=order.filled,
            text=text,
        )

    def refused(self, intent: Intent, reason: RejectReason, text: str) -> None:
        """Counted each time; told when it has not been told for a while, so that a standing refusal does
        not flood the bridge and the log."""
        self.page.count_refusal(reason)
        symbol, now = self._symbol_of(intent.token), self._now_ns()
        external = intent.client_order_id >> 56 == ParticipantRole.ENGINE
        if external:
            self.send(
                report_of(
                    intent,
                    symbol,
                    ExecutionType.REJECTED,
                    OrderState.REJECTED,
                    0,
                    reason,
                    text,
                    self._wall_ns(),
                )
            )
        key = (int(reason), symbol)
        if now - self._refusals.get(key, -REPEAT_REFUSAL_NS) < REPEAT_REFUSAL_NS:
            return
        self._refusals[key] = now
        self.event(
            EventLevel.INFO, "order_refused", f"{reason.name} {symbol} {text}", intent.client_order_id, reason
        )

    def fill(self, change: Change, order: Order | None) -> None:
        fill, symbol = change.fill, self._symbol_of(change.fill.token)
        provisional = self._settlement.status(fill.key) is FillStatus.PROVISIONAL
        self.fills += 1
        reversed_ = change.kind is ChangeKind.REVERSED
        client_order_id, strategy, _ = self.earlier.get(fill.order_id, (0, 0, OrderState.UNKNOWN))
        if order is not None:
            client_order_id, strategy = order.intent.client_order_id, order.intent.strategy
        self.page.add_fill(
            PageFill(
                wall_ns=fill.matched_wall_ns,
                client_order_id=client_order_id,
                venue=VenueId.POLYMARKET,
                side=fill.side,
                strategy=strategy,
                maker=int(fill.maker),
                provisional=int(provisional),
                reversed=int(reversed_),
                symbol=symbol,
                price_e9=fill.price * E9,
                quantity_e9=fill.size * E9,
                fee_e8=fill.fee_e8,
                execution_id=execution_id(fill.trade_id),
            )
        )
        self.send(fill_report_of(change, order, symbol, provisional, self._wall_ns()))
        position = self._settlement.position(fill.token)
        self.send(position_of(symbol, position, self.mark_of(fill.token)))
        log.info(
            "fill_reversed" if reversed_ else "fill_booked",
            symbol=symbol,
            side=fill.side.name,
            price=fill.price,
            size=fill.size,
            maker=fill.maker,
            trade=fill.trade_id,
        )

    def event(
        self, level: int, name: str, text: str, order_id: int = 0, reason: RejectReason = RejectReason.NONE
    ) -> None:
        clean = "".join(c for c in text if c.isprintable())
        self.send(
            MessageEvent(
                level=level,
                venue=VenueId.POLYMARKET,
                reason=reason,
                client_order_id=order_id,
                name=name[:31],
                text=clean[:159],
            )
        )
        if level == EventLevel.INFO:
            log.info(name, text=clean)
        elif level == EventLevel.WARNING:
            log.warning(name, text=clean)
        else:
            log.error(name, text=clean)

    # --- regular output ---

    def top(self, token: str, top: Top, state: SessionState) -> None:
        """Best prices of one token, when they changed."""
        if self._tops.get(token) != top:
            self._tops[token] = top
            self.send(top_of(self._symbol_of(token), top, state, self._now_ns()))

    def risk_state(self, message: MessageRiskState) -> None:
        self.send(message)

    def page_signals(self) -> list[PageSignal]:
        return [
            PageSignal(
                symbol=symbol,
                mid_e9=signal.mid_e9,
                microprice_e9=signal.microprice_e9,
                volatility_e9=signal.volatility_e9,
                updated_ns=signal.received_ns,
                count=self.signal_counts[symbol],
            )
            for symbol, signal in self.signals.items()
        ]

    async def stop(self) -> None:
        await self.server.stop()
        if hasattr(self, "bus"):
            self.bus.close()
            self.page.close()
