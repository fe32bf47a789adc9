"""Between the bridge's messages and the bot's own records: units and names change here and only here."""

from __future__ import annotations

from bridge.messages import (
    ExecutionType,
    MessageExecutionReport,
    MessageNewOrder,
    MessagePosition,
    MessageSignal,
    MessageTopOfBook,
    OrderType,
    RejectReason,
    SessionState,
    TimeInForce,
    VenueId,
)
from polymarket_bot.execution.settlement import Change, ChangeKind, Position
from polymarket_bot.model import (
    Intent,
    Market,
    Order,
    OrderState,
    Outcome,
    Price,
    Side,
    Signal,
    Size,
    Top,
)

E9 = 1_000  # from 1e-6 to 1e-9


def signal_of(message: MessageSignal) -> Signal:
    return Signal(
        symbol=message.symbol,
        mid_e9=message.mid_e9,
        microprice_e9=message.microprice_e9,
        volatility_e9=message.volatility_e9,
        received_ns=message.received_ns,
        ready=message.state == SessionState.READY,
    )


def intent_of(message: MessageNewOrder, market: Market, outcome: Outcome) -> Intent | RejectReason:
    """An order from the engine, or why it cannot be one."""
    if message.type != OrderType.LIMIT or message.side not in (0, 1):
        return RejectReason.BAD_ORDER
    if message.time_in_force not in (TimeInForce.GTC, TimeInForce.POST_ONLY) or message.reduce_only:
        return RejectReason.BAD_ORDER
    if message.price_e9 % E9 or message.quantity_e9 % E9 or message.quantity_e9 <= 0:
        return RejectReason.BAD_ORDER
    return Intent(
        message.client_order_id,
        market.condition_id,
        market.tokens[outcome],
        outcome,
        Side(message.side),
        Price(message.price_e9 // E9),
        Size(message.quantity_e9 // E9),
        message.time_in_force == TimeInForce.POST_ONLY,
        message.strategy,
    )


def report_of(
    intent: Intent,
    symbol: str,
    execution: ExecutionType,
    state: OrderState,
    filled: int,
    reason: RejectReason,
    text: str,
    wall_ns: int,
) -> MessageExecutionReport:
    return MessageExecutionReport(
        client_order_id=intent.client_order_id,
        venue=VenueId.POLYMARKET,
        execution_type=execution,
        order_state=state,
        side=intent.side,
        strategy=intent.strategy,
        reject_reason=reason,
        symbol=symbol,
        price_e9=intent.price * E9,
        quantity_e9=intent.size * E9,
        cumulative_e9=filled * E9,
        wall_ns=wall_ns,
        text=text[:63],
    )


def fill_report_of(
    change: Change, order: Order | None, symbol: str, provisional: bool, wall_ns: int
) -> MessageExecutionReport:
    """A fill, or a fill that is taken back."""
    fill = change.fill
    reversed_ = change.kind is ChangeKind.REVERSED
    return MessageExecutionReport(
        client_order_id=order.intent.client_order_id if order else 0,
        venue=VenueId.POLYMARKET,
        execution_type=ExecutionType.TRADE_REVERSED if reversed_ else ExecutionType.TRADE,
        order_state=order.state if order else OrderState.FILLED,
        side=fill.side,
        maker=int(fill.maker),
        strategy=order.intent.strategy if order else 0,
        provisional=int(provisional),
        symbol=symbol,
        price_e9=(order.intent.price if order else fill.price) * E9,
        quantity_e9=(order.intent.size if order else fill.size) * E9,
        cumulative_e9=(order.filled if order else fill.size) * E9,
        last_price_e9=fill.price * E9,
        last_quantity_e9=fill.size * E9,
        fee_e8=fill.fee_e8,
        wall_ns=wall_ns,
        execution_id=execution_id(fill.trade_id),
    )


def execution_id(trade_id: str) -> str:
    """Trade ids are UUIDs; made ones are shortened to the field's 47 characters."""
    return trade_id[:47]


def top_of(symbol: str, top: Top, state: SessionState, received_ns: int) -> MessageTopOfBook:
    return MessageTopOfBook(
        venue=VenueId.POLYMARKET,
        state=state,
        symbol=symbol,
        bid_e9=(top.bid or 0) * E9,
        bid_quantity_e9=top.bid_size * E9,
        ask_e9=(top.ask or 0) * E9,
        ask_quantity_e9=top.ask_size * E9,
        received_ns=received_ns,
    )


def position_of(symbol: str, position: Position, mark: int) -> MessagePosition:
    return MessagePosition(
        venue=VenueId.POLYMARKET,
        symbol=symbol,
        quantity_e9=position.quantity * E9,
        cost_micros=position.cost_micros,
        mark_e9=mark * E9,
        realized_micros=position.realized_micros,
        fees_e8=position.fees_e8,
    )
