/* binance_error.c: what an error code means for the order's state (binance_wire.h). A table, so
 * that it can be read against the venue's list (Binance USD-M docs, "Error Code"). */
#include "binance_wire.h"

#include <stdlib.h>
#include <string.h>

#include "../../../../bridge/reasons.h"

struct code_range {
    int first, last; /* first <= code <= last */
    int outcome;
    int reason;
};

/* The first row that contains the code counts: exceptions stand before their range. */
static const struct code_range table[] = {
    /* nothing to do: position or margin mode already so, nothing to amend */
    {-4046, -4046, BINANCE_NOTHING_TO_DO, REJECT_NONE},
    {-4059, -4059, BINANCE_NOTHING_TO_DO, REJECT_NONE},
    {-5027, -5027, BINANCE_NOTHING_TO_DO, REJECT_NONE},
    /* the answer depends on what was asked */
    {-2011, -2011, BINANCE_CANCEL_NO_ORDER, REJECT_NONE},
    {-2013, -2013, BINANCE_QUERY_NO_ORDER, REJECT_NONE},
    {-4116, -4116, BINANCE_LANDED_EARLIER, REJECT_NONE},
    /* outcome unclear */
    {-1000, -1000, BINANCE_UNKNOWN, REJECT_NONE},
    {-1001, -1001, BINANCE_FAILED_QUERY, REJECT_NONE},
    {-1006, -1007, BINANCE_UNKNOWN, REJECT_NONE},
    /* clock: the gateway's check, then the matching engine's */
    {-1021, -1021, BINANCE_REJECTED_CLOCK, REJECT_CLOCK},
    {-5028, -5028, BINANCE_REJECTED_CLOCK, REJECT_CLOCK},
    /* key and signature */
    {-1002, -1002, BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH},
    {-1022, -1022, BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH},
    {-2017, -2017, BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH},
    {-2015, -2014, BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH},
    /* throttle and overload */
    {-1003, -1003, BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED},
    {-1008, -1008, BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED},
    {-1015, -1015, BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED},
    /* restrictions of the account or the symbol */
    {-2023, -2023, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4088, -4087, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4107, -4105, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4109, -4109, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4189, -4189, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4192, -4192, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    {-4402, -4400, BINANCE_REJECTED_RESTRICTION, REJECT_VENUE_MODE},
    /* plain rejects with a reason of their own */
    {-2010, -2010, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-2019, -2018, BINANCE_REJECTED, REJECT_INSUFFICIENT_BALANCE},
    {-2028, -2027, BINANCE_REJECTED, REJECT_INSUFFICIENT_BALANCE},
    {-2025, -2025, BINANCE_REJECTED, REJECT_OPEN_ORDERS},
    {-2028, -2018, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-1013, -1013, BINANCE_REJECTED, REJECT_BAD_ORDER},
    {-1121, -1121, BINANCE_REJECTED, REJECT_UNKNOWN_INSTRUMENT},
    {-1130, -1100, BINANCE_REJECTED, REJECT_BAD_ORDER},
    {-4014, -4014, BINANCE_REJECTED, REJECT_TICK_SIZE},
    {-4005, -4003, BINANCE_REJECTED, REJECT_LOT_SIZE},
    {-4023, -4023, BINANCE_REJECTED, REJECT_LOT_SIZE},
    {-4016, -4016, BINANCE_REJECTED, REJECT_PRICE_COLLAR},
    {-4024, -4024, BINANCE_REJECTED, REJECT_PRICE_COLLAR},
    {-4024, -4002, BINANCE_REJECTED, REJECT_BAD_ORDER},
    {-4061, -4061, BINANCE_REJECTED, REJECT_BAD_ORDER},
    {-4120, -4120, BINANCE_REJECTED, REJECT_BAD_ORDER},
    {-4131, -4131, BINANCE_REJECTED, REJECT_PRICE_COLLAR},
    {-4164, -4164, BINANCE_REJECTED, REJECT_MIN_NOTIONAL},
    {-5022, -5022, BINANCE_REJECTED, REJECT_POST_ONLY_CROSS},
    {-5021, -5021, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-5026, -5024, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-5029, -5029, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-5041, -5037, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-5043, -5043, BINANCE_REJECTED, REJECT_VENUE_REJECT},
    {-5047, -5047, BINANCE_REJECTED, REJECT_VENUE_REJECT},
};

static struct binance_class class_of(int outcome, int reason)
{
    return (struct binance_class){outcome, reason};
}

/* 503 comes with three texts of different meaning (Binance USD-M docs, "HTTP Return Codes"). */
static struct binance_class classify_503(const char *message)
{
    if (strncmp(message, "Internal error; unable to process your request", 46) == 0)
        return class_of(BINANCE_FAILED_QUERY, REJECT_NONE);
    if (strncmp(message, "Service Unavailable", 19) == 0)
        return class_of(BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED);
    return class_of(BINANCE_UNKNOWN, REJECT_NONE);
}

static struct binance_class classify_http(int64_t http_status, const char *message)
{
    switch (http_status) {
    case 200:
        return class_of(BINANCE_ACCEPTED, REJECT_NONE);
    case 401:
        return class_of(BINANCE_REJECTED_AUTH, REJECT_VENUE_AUTH);
    case 403:
    case 418:
    case 429:
        return class_of(BINANCE_REJECTED_THROTTLE, REJECT_RATE_LIMITED);
    case 503:
        return classify_503(message);
    default:
        return class_of(BINANCE_UNKNOWN, REJECT_NONE);
    }
}

struct binance_class binance_wire_classify(int64_t http_status, int64_t code, const char *message)
{
    /* Some control calls answer success as {"code":200,"msg":".."}. */
    if (code == 0 || code == 200)
        return classify_http(http_status, message != NULL ? message : "");
    if (http_status == 503 && message != NULL && (code == -1000 || code == -1001))
        return classify_503(message);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].first <= code && code <= table[i].last)
            return class_of(table[i].outcome, table[i].reason);
    }
    if (http_status == 401 || http_status == 418 || http_status == 429)
        return classify_http(http_status, message != NULL ? message : "");
    return class_of(BINANCE_UNKNOWN, REJECT_NONE);
}

int64_t binance_wire_banned_until_ms(const char *message)
{
    static const char words[] = "banned until ";
    const char *found = message != NULL ? strstr(message, words) : NULL;
    int64_t until_ms = found != NULL ? strtoll(found + sizeof words - 1, NULL, 10) : 0;
    return until_ms > 0 ? until_ms : 0;
}
