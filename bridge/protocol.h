/*
 * protocol.h: the one layout that C, Python and every process of Purser share.
 *
 * Plain C that cffi can read: fixed-width integers, char[N], nested structs, enums. No pointers,
 * unions, bit-fields or attributes; padding is named; each struct is closed by a size assertion.
 * bridge/build.py feeds this file to cffi (API mode: the C compiler re-checks every offset), and
 * bridge/gen.py writes bridge/messages.py from it. A changed layout needs a higher
 * PROTOCOL_VERSION; the build compares the layout hash with the one recorded in bridge/layout.lock.
 *
 * Units. These are the only units that cross a process boundary:
 *   *_micros   int64, micro-USD (1e-6 USD)
 *   *_e9       int64, price in USD per unit, quantity in units, or a plain ratio, times 1e9
 *   *_e8       int64, commission in USD times 1e8 (the venues' own resolution)
 *   *_ns       int64, nanoseconds of CLOCK_BOOTTIME, except where the name says wall: *_wall_ns is
 *              nanoseconds since the Unix epoch
 * Text fields are NUL-padded, and a full field is not NUL-terminated.
 */
#ifndef PURSER_BRIDGE_PROTOCOL_H
#define PURSER_BRIDGE_PROTOCOL_H

#ifndef PURSER_CDEF
#include <stdint.h>
#define PROTOCOL_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#else
#define PROTOCOL_SIZE(type, size)
#endif

#define PROTOCOL_VERSION      2
#define JOURNAL_VERSION       1 /* of journal_record: a journal outlives shared memory */
#define PROTOCOL_LEDGER_MAGIC 0x5245474445525550 /* "PUREDGER", written last */
#define PROTOCOL_PAGE_MAGIC   0x4547415052555550 /* "PUURPAGE", written last */
#define PROTOCOL_FRAME_MAX    512 /* bytes of the longest channel message, header included */
#define PROTOCOL_PARTICIPANTS 4   /* ledger lines: supervisor, engine, bot, one spare */
#define PROTOCOL_SLOTS        256 /* open orders per participant */
#define PROTOCOL_SYMBOL       32
#define PROTOCOL_QUERY_ID     32
#define PROTOCOL_TEXT         160

/* ---- vocabulary -------------------------------------------------------------------------- */

enum participant_role {
    ROLE_SUPERVISOR = 0,
    ROLE_ENGINE = 1,
    ROLE_BOT = 2,
    ROLE_TOOL = 3, /* a test or a person's script; never holds rights */
};

enum venue_id {
    VENUE_NONE = 0,
    VENUE_BINANCE = 1,
    VENUE_POLYMARKET = 2,
    VENUE_IBKR = 3,
    VENUE_COINBASE = 4,
    VENUE_KRAKEN = 5,
    VENUE_ALPACA = 6,
    VENUE_DYDX = 7,
};

/* A session's life; also a venue's state in every view. */
enum session_state {
    SESSION_DOWN = 0,
    SESSION_CONNECTING = 1,
    SESSION_SYNCING = 2,
    SESSION_READY = 3,
    SESSION_DRAINING = 4,
};

enum order_side { SIDE_BUY = 0, SIDE_SELL = 1 };

enum order_type { ORDER_LIMIT = 0, ORDER_MARKET = 1 };

enum time_in_force { TIF_GTC = 0, TIF_IOC = 1, TIF_FOK = 2, TIF_POST_ONLY = 3, TIF_GTD = 4 };

enum order_state {
    ORDER_PENDING_NEW = 0,
    ORDER_WORKING = 1,
    ORDER_PARTIALLY_FILLED = 2,
    ORDER_FILLED = 3,
    ORDER_PENDING_CANCEL = 4,
    ORDER_CANCELED = 5,
    ORDER_REJECTED = 6,
    ORDER_EXPIRED = 7,
    ORDER_UNKNOWN = 8,
};

enum execution_type {
    EXEC_NEW = 0,
    EXEC_TRADE = 1, /* a fill: last_* fields are set */
    EXEC_CANCELED = 2,
    EXEC_REJECTED = 3,
    EXEC_EXPIRED = 4,
    EXEC_UNKNOWN = 5, /* the venue's answer is missing or unclear */
    EXEC_CANCEL_REJECTED = 6,
    EXEC_TRADE_REVERSED = 7, /* a provisional fill that failed to settle */
    EXEC_STATUS = 8,         /* answer to a query; carries the whole truth about the order */
};

enum strategy_id {
    STRATEGY_NONE = 0,
    STRATEGY_QUOTER = 1,
    STRATEGY_HEDGER = 2,
    STRATEGY_MANUAL = 3,
    STRATEGY_MARKET_MAKER = 4
};

/* ---- the shared risk ledger (see ledger.h for the rules) ----------------------------------- */

enum ledger_state {
    LEDGER_INIT = 0, /* zeroed memory denies */
    LEDGER_ACTIVE = 1,
    LEDGER_REDUCING = 2,
    LEDGER_CANCEL_ONLY = 3,
    LEDGER_HALTED = 4,
};

enum halt_reason {
    HALT_NONE = 0,
    HALT_OPERATOR = 1, /* control kill */
    HALT_DAILY_LOSS = 2,
    HALT_OVER_BUDGET = 3,
    HALT_BUG = 4,      /* a CHECK failed */
    HALT_LATCH = 5,    /* started with the latch file present or unreadable */
    HALT_VENUE = 6,    /* a venue refused our credentials or forced an order on us */
    HALT_RESTARTS = 7, /* a child died too often */
    HALT_CASH = 8,     /* a venue's cash differs from our books, and nothing explains it */
    HALT_FOREIGN = 9,  /* another Purser trades on the same account */
    HALT_LEDGER = 10,  /* the limit in shared memory is not the one that was chosen */
    HALT_CLOCK = 11,   /* the wall clock cannot be believed */
    HALT_JOURNAL = 12, /* a day that traded has no journal, or one whose chain is broken */
};

/* Why money moved without a fill. All but CASH_TRANSFER belong to the day's result; a transfer
 * moves the baseline of the account and is no result of trading. */
enum cash_kind {
    CASH_NONE = 0,
    CASH_FUNDING = 1,
    CASH_INSURANCE = 2,  /* insurance fund, liquidation fee */
    CASH_COMMISSION = 3, /* fees and rebates that no fill carried */
    CASH_ADJUSTMENT = 4, /* the venue changed a balance or a position by hand */
    CASH_REWARD = 5,
    CASH_REDEMPTION = 6, /* tokens turned into cash */
    CASH_TRANSFER = 7,   /* deposit, withdrawal, transfer between wallets */
    CASH_OTHER = 8,      /* of a type that we do not know: counted as a result */
};

/* The end of a day, led by the supervisor: every participant follows roll_phase of the header. */
enum roll_phase {
    ROLL_NONE = 0,
    ROLL_PAUSE = 1, /* no new orders; cancel, and acknowledge once nothing can leave any more */
    ROLL_BEGIN = 2, /* close the old day, begin the new one, acknowledge */
};

enum slot_state {
    SLOT_FREE = 0,
    SLOT_RESERVED = 1,
    SLOT_SENT = 2,
    SLOT_LIVE = 3,
    SLOT_UNKNOWN = 4
};

/* Index of the two budget dimensions, reserved both or neither. */
enum budget_dimension { BUDGET_LOSS = 0, BUDGET_NOTIONAL = 1 };

/* A slot whose venue has no validity window: an order on its way may land at any time. */
#define LANDS_UNTIL_NONE 0x7FFFFFFFFFFFFFFF

/* One open order's reservation. Written by its owner; the supervisor may write after the owner is
 * certainly dead. crc covers what never changes while the order lives:
 * client_order_id..quantity_e9, delta_micros, symbol and query_id. Three cache lines.
 *
 * lands_until_ns and query_id let anyone who can read this file, with every process dead, know
 * until when the order may still appear at its venue and by which id to ask for it there. Both
 * stand in the slot before its state becomes SENT. */
struct ledger_slot {
    uint32_t state; /* enum slot_state */
    uint32_t slot_generation;
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t strategy;
    uint32_t participant_generation;
    int64_t price_e9;
    int64_t quantity_e9; /* original */
    int64_t filled_e9;
    int64_t delta_micros[2]; /* what the order added when it was reserved */
    int64_t sent_ns;
    uint32_t crc;
    uint32_t sent_crc;      /* of sent_ns and lands_until_ns */
    int64_t lands_until_ns; /* the last instant at which it can land, or LANDS_UNTIL_NONE */
    int64_t landed_ns;      /* sent_ns once more when the venue has told of it: it lands no more */
    char symbol[PROTOCOL_SYMBOL];
    char query_id[PROTOCOL_QUERY_ID]; /* Binance: the client order id as text; Polymarket: 32 bytes
                                       * of the order's hash; all zero: none */
    int64_t reserved2[4];
};
PROTOCOL_SIZE(ledger_slot, 192);

/* Owner's lines, then the rights lines that change only under the mutex. */
struct ledger_participant {
    /* owner writes */
    int64_t used_micros[2];
    int64_t positions_micros[2]; /* the part of used that is loss so far and positions */
    int64_t heartbeat_ns;
    int64_t progress;         /* duty cycles that did work or waited on purpose */
    uint32_t halt_ack;        /* the control epoch whose halt it has obeyed */
    uint32_t state;           /* enum ledger_state of this participant, own view */
    int64_t day;              /* UTC day number its loss belongs to */
    int64_t want_micros[2];   /* asks the others for this much; 0: nothing */
    int64_t reconciled_ns;    /* when truth at the venues was last confirmed; 0: not yet */
    uint32_t roll_ack;        /* roll_sequence * 4 + the enum roll_phase that it has reached */
    uint32_t journal_mode;    /* of the run whose journal that is (as in a page), plus 1; 0: none */
    int64_t journal_sequence; /* newest record that journal_head covers */
    uint8_t journal_head[32]; /* SHA-256 chain of its journal */
    int64_t reserved0[15];
    /* rights: under the mutex; lowered only by the owner or after its certain death */
    int64_t alloc_micros[2];
    uint32_t generation;
    uint32_t role;
    int64_t pid;
    int64_t start_time; /* field 22 of /proc/PID/stat */
    int64_t joined_ns;
    uint64_t
        access_fingerprint; /* where it trades, in which environment, with which key; 0: not said */
    int64_t reserved1[9];
    struct ledger_slot slots[PROTOCOL_SLOTS];
};
PROTOCOL_SIZE(ledger_participant, 384 + 192 * 256);

struct ledger_header {
    uint64_t magic; /* written last */
    uint32_t version;
    uint32_t size;
    uint64_t layout_hash;
    char boot_id[40];
    /* supervisor writes, except control: raised by anyone, by one compare-and-swap */
    uint64_t control; /* epoch:32 | reason:16 | reserved:8 | state:8 */
    int64_t supervisor_heartbeat_ns;
    int64_t lease_deadline_ns;
    int64_t limit_micros[2];
    int64_t headroom_micros[2]; /* kept from new orders so that moving marks can be charged */
    int64_t supervisor_pid;
    /* rights */
    uint64_t alloc_sequence;   /* odd while a right changes */
    uint64_t mutex[8];         /* storage of a robust process-shared pthread mutex */
    int64_t ceiling_micros[2]; /* the most sum(alloc) may be: limit, or more after it was lowered */
    uint64_t rights_checksum;  /* of limit, headroom, ceiling and every alloc; under the mutex */
    /* the end of a day; supervisor writes */
    int64_t day;            /* UTC day number that all participants count; 0: not said yet */
    uint32_t roll_sequence; /* counts rolls */
    uint32_t roll_phase;    /* enum roll_phase */
    int64_t roll_ns;        /* when the phase began */
    int64_t roll_wall_ns;   /* the one instant at which the new day begins */
    int64_t
        clock_doubt_ns; /* since when the wall clock is doubted: no new risk; 0: it is believed */
    int64_t reserved0[31];
};
PROTOCOL_SIZE(ledger_header, 512);

struct ledger_shared {
    struct ledger_header header;
    struct ledger_participant participants[PROTOCOL_PARTICIPANTS];
};
PROTOCOL_SIZE(ledger_shared, 512 + 4 * (384 + 192 * 256));

/* What ledger_snapshot copies out: one consistent picture, without the slots. */
struct ledger_participant_view {
    int64_t used_micros[2];
    int64_t positions_micros[2];
    int64_t alloc_micros[2];
    int64_t want_micros[2];
    int64_t heartbeat_ns;
    int64_t progress;
    int64_t pid;
    int64_t start_time;
    int64_t reconciled_ns;
    uint32_t halt_ack;
    uint32_t state;
    uint32_t generation;
    uint32_t open_orders; /* slots not FREE */
};
PROTOCOL_SIZE(ledger_participant_view, 120);

struct ledger_view {
    int64_t limit_micros[2];
    int64_t headroom_micros[2];
    int64_t supervisor_heartbeat_ns;
    int64_t lease_deadline_ns;
    int64_t taken_ns;
    uint32_t epoch;
    uint32_t reason;     /* enum halt_reason */
    uint32_t state;      /* enum ledger_state */
    uint32_t consistent; /* 1: no right changed while it was copied */
    struct ledger_participant_view participants[PROTOCOL_PARTICIPANTS];
};
PROTOCOL_SIZE(ledger_view, 72 + 4 * 120);

/* ---- the status page: one per participant, one writer, read by anyone ---------------------- */

#define PAGE_VENUES    4
#define PAGE_POSITIONS 64
#define PAGE_FILLS     256
#define PAGE_REASONS   64
#define PAGE_SIGNALS   8
#define PAGE_COUNTERS  64

struct page_venue {
    uint16_t venue;
    uint16_t state; /* enum session_state */
    uint32_t open_orders;
    int64_t feed_ns;           /* time of the last market data; 0: none yet */
    int64_t dead_man_armed_ns; /* time of the last acknowledged arming; 0: not armed */
    int64_t dead_man_expires_ns;
    int64_t fills;
    int64_t resyncs;
    int64_t disconnects;
    int64_t clock_offset_ns;    /* venue minus ours */
    char text[64];              /* why it is not READY, for people */
    int64_t validity_window_ns; /* longest time that an order may be on its way; 0: the venue has
                                   none */
    int64_t wallet_e8;          /* cash at the venue as it was last told */
    int64_t books_e8;           /* what our books expect there */
    int64_t wallet_ns;          /* when the wallet was last read; 0: never */
    int64_t reserved0[4];
};
PROTOCOL_SIZE(page_venue, 192);

struct page_position {
    uint16_t venue;
    uint16_t reserved0;
    uint32_t reserved1;
    char symbol[PROTOCOL_SYMBOL];
    int64_t quantity_e9; /* signed; an outcome token is its own symbol */
    int64_t cost_micros; /* signed: what the open quantity cost */
    int64_t mark_e9;
    int64_t realized_micros; /* today, before fees */
    int64_t unrealized_micros;
    int64_t fees_e8;       /* today */
    int64_t volume_micros; /* today, traded notional */
    int64_t
        cash_flow_micros; /* today: minus what buys cost, plus what sells brought, before fees */
};
PROTOCOL_SIZE(page_position, 104);

struct page_fill {
    int64_t sequence; /* 1, 2, 3 … per participant, never reused; survives its restart */
    int64_t wall_ns;
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t strategy;
    uint8_t maker;       /* 1: we were the maker */
    uint8_t provisional; /* 1: may still be reversed */
    uint8_t reversed;    /* 1: this record takes an earlier fill back */
    uint8_t reserved0;
    char symbol[PROTOCOL_SYMBOL];
    int64_t price_e9;
    int64_t quantity_e9;
    int64_t fee_e8;
    char execution_id[48];
};
PROTOCOL_SIZE(page_fill, 136);

struct page_signal {
    char symbol[PROTOCOL_SYMBOL];
    int64_t mid_e9;
    int64_t microprice_e9;
    int64_t volatility_e9; /* annualised standard deviation of returns */
    int64_t updated_ns;
    int64_t count;
};
PROTOCOL_SIZE(page_signal, 72);

/* Log-linear latency histogram: 64 powers of two, 16 steps each. Value v in ns falls in bucket
 * v for v < 16, else 16*(floor(log2 v) - 3) + the 4 bits below its leading one. */
#define HISTOGRAM_BUCKETS 976
struct histogram {
    int64_t count;
    int64_t sum_ns;
    int64_t max_ns;
    int64_t min_ns;
    int64_t buckets[HISTOGRAM_BUCKETS];
};
PROTOCOL_SIZE(histogram, 32 + 8 * 976);

struct participant_page {
    uint64_t magic; /* written last */
    uint32_t version;
    uint32_t size;
    uint64_t sequence; /* odd while the writer writes */
    uint32_t role;
    uint32_t mode; /* 0 dry-run 1 paper 2 live */
    int64_t pid;
    int64_t started_wall_ns;
    int64_t updated_ns;
    int64_t day_micros; /* P&L today: realized + unrealized - fees + cash */
    int64_t realized_micros;
    int64_t unrealized_micros;
    int64_t fees_micros;      /* rounded up */
    int64_t cash_micros;      /* today, without a fill: funding, insurance, rewards …; in day */
    int64_t transfers_micros; /* today: deposits less withdrawals; not in day */
    int64_t day;              /* UTC day number that these are of */
    int64_t late_micros;   /* learnt today of fills of closed days; a loss is charged today too */
    int64_t closed_day;    /* the day that this process closed last; 0: none */
    int64_t closed_micros; /* its result, with what was learnt of it since */
    int64_t reserved1[5];
    int64_t fills_total;             /* sequence of the newest entry of fills */
    int64_t refusals[PAGE_REASONS];  /* by enum reject_reason */
    int64_t counters[PAGE_COUNTERS]; /* meaning: names in the writer's own header */
    uint32_t venues_count;
    uint32_t positions_count;
    uint32_t signals_count;
    uint32_t reserved0;
    struct page_venue venues[PAGE_VENUES];
    struct page_position positions[PAGE_POSITIONS];
    struct page_signal signals[PAGE_SIGNALS];
    struct page_fill fills[PAGE_FILLS]; /* ring: entry n at (n - 1) % PAGE_FILLS */
    struct histogram tick_to_order;
    struct histogram order_to_ack;
};

/* ---- channel messages: a header, then one of the structs below ------------------------------ */

enum message_kind {
    MESSAGE_HELLO = 1,
    MESSAGE_HEARTBEAT = 2,
    MESSAGE_SIGNAL = 3,
    MESSAGE_NEW_ORDER = 4,
    MESSAGE_CANCEL_ORDER = 5,
    MESSAGE_EXECUTION_REPORT = 6,
    MESSAGE_TOP_OF_BOOK = 7,
    MESSAGE_POSITION = 8,
    MESSAGE_HALT = 9,
    MESSAGE_RISK_STATE = 10,
    MESSAGE_EVENT = 11,
    MESSAGE_HEDGE = 12,
};

/* Little-endian, as all of this file: only little-endian 64-bit machines are supported. */
struct message_header {
    uint32_t length; /* of the whole message, header included */
    uint16_t kind;   /* enum message_kind */
    uint16_t version;
    uint32_t sequence; /* per direction, 1 for HELLO, then +1 */
    uint32_t reserved0;
    int64_t sent_ns;
};
PROTOCOL_SIZE(message_header, 24);

/* First message of both sides; anything else first, or a different hash, ends the connection. */
struct message_hello {
    uint64_t layout_hash;
    uint32_t role;
    uint32_t mode;
    int64_t pid;
    char name[32];
};
PROTOCOL_SIZE(message_hello, 56);

struct message_heartbeat {
    uint32_t last_sequence_received;
    uint32_t reserved0;
    int64_t progress;
};
PROTOCOL_SIZE(message_heartbeat, 16);

struct message_signal {
    uint16_t venue;
    uint16_t state; /* enum session_state of the book behind it: use it only when READY */
    uint32_t reserved0;
    char symbol[PROTOCOL_SYMBOL];
    int64_t bid_e9;
    int64_t ask_e9;
    int64_t mid_e9;
    int64_t microprice_e9;
    int64_t volatility_e9; /* annualised */
    int64_t venue_wall_ns;
    int64_t received_ns; /* when the tick behind it was read */
};
PROTOCOL_SIZE(message_signal, 96);

struct message_new_order {
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t type;
    uint8_t time_in_force;
    uint8_t reduce_only;
    uint8_t strategy;
    uint8_t reserved0;
    char symbol[PROTOCOL_SYMBOL];
    int64_t price_e9;
    int64_t quantity_e9;
};
PROTOCOL_SIZE(message_new_order, 64);

struct message_cancel_order {
    uint64_t client_order_id; /* 0: every order of the sender */
    uint16_t venue;
    uint16_t reserved0;
    uint32_t reserved1;
};
PROTOCOL_SIZE(message_cancel_order, 16);

struct message_execution_report {
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t execution_type;
    uint8_t order_state;
    uint8_t side;
    uint8_t maker;
    uint8_t strategy;
    uint8_t provisional;
    uint16_t reject_reason;
    uint16_t reserved0;
    uint32_t reserved1;
    char symbol[PROTOCOL_SYMBOL];
    int64_t price_e9;
    int64_t quantity_e9;
    int64_t cumulative_e9;
    int64_t last_price_e9;
    int64_t last_quantity_e9;
    int64_t fee_e8;
    int64_t wall_ns;
    char execution_id[48];
    char text[64];
};
PROTOCOL_SIZE(message_execution_report, 224);

struct message_top_of_book {
    uint16_t venue;
    uint16_t state;
    uint32_t reserved0;
    char symbol[PROTOCOL_SYMBOL];
    int64_t bid_e9;
    int64_t bid_quantity_e9;
    int64_t ask_e9;
    int64_t ask_quantity_e9;
    int64_t received_ns;
};
PROTOCOL_SIZE(message_top_of_book, 80);

struct message_position {
    uint16_t venue;
    uint16_t reserved0;
    uint32_t reserved1;
    char symbol[PROTOCOL_SYMBOL];
    int64_t quantity_e9;
    int64_t cost_micros;
    int64_t mark_e9;
    int64_t realized_micros;
    int64_t fees_e8;
};
PROTOCOL_SIZE(message_position, 80);

struct message_halt {
    uint32_t epoch;
    uint32_t reason;
    char text[64];
};
PROTOCOL_SIZE(message_halt, 72);

struct message_risk_state {
    uint32_t state;
    uint32_t epoch;
    int64_t used_micros[2];
    int64_t alloc_micros[2];
    int64_t limit_micros[2];
};
PROTOCOL_SIZE(message_risk_state, 56);

enum event_level { EVENT_INFO = 0, EVENT_WARNING = 1, EVENT_ERROR = 2 };

struct message_event {
    uint32_t level;
    uint16_t venue;
    uint16_t reason; /* enum reject_reason or 0 */
    uint64_t client_order_id;
    char name[32]; /* past tense: order_refused, book_resynced */
    char text[PROTOCOL_TEXT];
};
PROTOCOL_SIZE(message_event, 208);

/* Bot to engine. The target is absolute, so a lost or repeated request does no harm: "hold this
 * much of symbol on my behalf". Answered by POSITION messages and EXECUTION_REPORTs with
 * strategy HEDGER. */
struct message_hedge {
    uint64_t request_id;
    char symbol[PROTOCOL_SYMBOL];
    int64_t target_e9;       /* signed quantity of the underlying */
    int64_t price_limit_ppm; /* how far through the mid the collar may lie */
    int64_t expires_ns;      /* the target is not acted on after this */
};
PROTOCOL_SIZE(message_hedge, 64);

/* ---- the engine's journal: intents and reports, one fixed-size record each ------------------- */

enum journal_kind {
    JOURNAL_OPEN = 1,    /* first record of a segment: mode, day, generation in the fields below */
    JOURNAL_INTENT = 2,  /* written before the order's bytes leave */
    JOURNAL_REPORT = 3,  /* an execution report that changed something */
    JOURNAL_CANCEL = 4,  /* cancel intent */
    JOURNAL_MARK = 5,    /* P&L checkpoint */
    JOURNAL_CONTROL = 6, /* halt, resume, limit change, reconcile result */
    JOURNAL_CASH = 7,    /* money that moved without a fill: cash_kind in type, amount in last_* */
    JOURNAL_SEAL = 8, /* chain: the SHA-256 over every record since the last seal, and that seal */
};

/* 256 bytes; crc is CRC-32C over the record with crc = 0. A reader stops at the first record whose
 * crc or sequence is wrong. */
struct journal_record {
    uint32_t crc;
    uint16_t kind;
    uint16_t version;
    uint64_t sequence;
    int64_t wall_ns;
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t type;
    uint8_t time_in_force;
    uint8_t strategy;
    uint8_t execution_type;
    uint8_t order_state;
    uint8_t maker;
    uint8_t reduce_only;
    uint16_t reject_reason;
    uint32_t generation;
    char symbol[PROTOCOL_SYMBOL];
    int64_t price_e9;
    int64_t quantity_e9;
    int64_t cumulative_e9;
    int64_t last_price_e9;
    int64_t last_quantity_e9;
    int64_t fee_e8;
    int64_t position_e9; /* after this record */
    int64_t cost_micros; /* after this record */
    int64_t realized_micros;
    int64_t fees_e8; /* today, after this record */
    char execution_id[48];
    int64_t wallet_e8;     /* cash that the books expect at the venue; fills and CASH; after this */
    int64_t venue_wall_ns; /* CASH: the venue's time of the movement */
    char digest[32];       /* of a seal: SHA-256 of the chain up to here */
};
PROTOCOL_SIZE(journal_record, 256);

#endif
