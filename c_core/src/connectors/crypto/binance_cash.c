/* binance_cash.c: the income history and the wallet of binance_wire.h. */
#include <stdio.h>
#include <string.h>

#include "binance_fields.h"

struct kind {
    const char *name;
    uint8_t kind;
};

/* Income types and the reasons of ACCOUNT_UPDATE (Binance USD-M docs, "Get Income History" and
 * "Event: Balance and Position Update"). */
static const struct kind kinds[] = {
    {"FUNDING_FEE", CASH_FUNDING},
    {"INSURANCE_CLEAR", CASH_INSURANCE},
    {"COMMISSION", CASH_COMMISSION},
    {"COMMISSION_REBATE", CASH_COMMISSION},
    {"API_REBATE", CASH_COMMISSION},
    {"FEE_RETURN", CASH_COMMISSION},
    {"POSITION_LIMIT_INCREASE_FEE", CASH_COMMISSION},
    {"ADJUSTMENT", CASH_ADJUSTMENT},
    {"ADMIN_DEPOSIT", CASH_ADJUSTMENT},
    {"ADMIN_WITHDRAW", CASH_ADJUSTMENT},
    {"WELCOME_BONUS", CASH_REWARD},
    {"REFERRAL_KICKBACK", CASH_REWARD},
    {"CONTEST_REWARD", CASH_REWARD},
    {"BFUSD_REWARD", CASH_REWARD},
    {"TRANSFER", CASH_TRANSFER},
    {"INTERNAL_TRANSFER", CASH_TRANSFER},
    {"CROSS_COLLATERAL_TRANSFER", CASH_TRANSFER},
    {"STRATEGY_UMFUTURES_TRANSFER", CASH_TRANSFER},
    {"COIN_SWAP_DEPOSIT", CASH_TRANSFER},
    {"COIN_SWAP_WITHDRAW", CASH_TRANSFER},
    {"DEPOSIT", CASH_TRANSFER},
    {"WITHDRAW", CASH_TRANSFER},
    {"WITHDRAW_REJECT", CASH_TRANSFER},
    {"MARGIN_TRANSFER", CASH_TRANSFER},
    {"ASSET_TRANSFER", CASH_TRANSFER},
    {"AUTO_EXCHANGE", CASH_TRANSFER}, /* one coin of the account for another */
};

uint8_t binance_cash_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(name, kinds[i].name) == 0)
            return kinds[i].kind;
    return CASH_OTHER;
}

bool binance_is_dollar(const char *asset)
{
    static const char *const dollars[] = {"USDT", "USDC", "BUSD", "FDUSD", "BFUSD", "BNFCR"};
    for (size_t i = 0; i < sizeof dollars / sizeof dollars[0]; i++)
        if (strcmp(asset, dollars[i]) == 0)
            return true;
    return false;
}

bool binance_is_unpriced(const char *asset, uint8_t kind, int64_t amount_e8)
{
    return amount_e8 < 0 && kind != CASH_NONE && kind != CASH_TRANSFER && !binance_is_dollar(asset);
}

int binance_wire_income_next(struct scan *list, struct binance_income *out)
{
    struct span item;
    int found = fields_item(list, &item);
    if (found <= 0)
        return found;
    struct span type = {0}, asset = {0}, symbol = {0}, id = {0}, income = {0}, trade = {0};
    struct span time = {0};
    const struct field fields[] = {
        {"incomeType", &type}, {"asset", &asset},   {"symbol", &symbol}, {"tranId", &id},
        {"income", &income},   {"tradeId", &trade}, {"time", &time},
    };
    *out = (struct binance_income){0};
    bool bad = !fields_of(item, fields, sizeof fields / sizeof fields[0]) || type.start == NULL ||
               asset.start == NULL || income.start == NULL || id.start == NULL;
    if (bad || type.length >= sizeof out->type || asset.length >= sizeof out->asset ||
        id.length >= sizeof out->tran_id || id.length == 0)
        return status_set(STATUS_PROTOCOL, "a row of the income history is malformed");
    span_copy(out->type, sizeof out->type, type);
    span_copy(out->asset, sizeof out->asset, asset);
    span_copy(out->symbol, sizeof out->symbol, symbol);
    span_copy(out->tran_id, sizeof out->tran_id, id);
    out->amount_e8 = field_amount(&bad, income, 8);
    out->trade_id = field_int_or(&bad, trade, 0);
    out->time_ms = field_int(&bad, time);
    out->kind = binance_cash_kind(out->type);
    out->of_fill = out->trade_id != 0 &&
                   (strcmp(out->type, "REALIZED_PNL") == 0 || strcmp(out->type, "COMMISSION") == 0);
    return bad ? status_set(STATUS_PROTOCOL, "a row of the income history has a malformed number")
               : 1;
}

void binance_income_key(char out[48], const struct binance_income *row)
{
    memset(out, 0, 48);
    /* The first 22 letters tell all types apart; the id is never cut. */
    snprintf(out, 48, "%.22s:%s", row->type, row->tran_id);
}

int binance_wire_wallet(int64_t *out_e8, const char *asset, const char *bytes, size_t length)
{
    struct scan list;
    struct span item;
    int found = binance_wire_list(&list, bytes, length);
    *out_e8 = 0;
    while (found >= 0 && (found = fields_item(&list, &item)) > 0) {
        struct span name = {0}, balance = {0};
        const struct field fields[] = {{"asset", &name}, {"balance", &balance}};
        bool bad = !fields_of(item, fields, 2) || name.start == NULL || balance.start == NULL;
        int64_t amount = field_amount(&bad, balance, 8);
        if (bad)
            return status_set(STATUS_PROTOCOL, "a balance in an answer is malformed");
        if (span_is(name, asset))
            *out_e8 = amount;
    }
    return found < 0 ? found : STATUS_OK;
}

size_t binance_wire_income_query(char *out, size_t capacity, int64_t first_ms, int64_t last_ms,
                                 int page)
{
    int n = snprintf(out, capacity, "startTime=%lld&endTime=%lld&page=%d&limit=%d",
                     (long long)first_ms, (long long)last_ms, page, BINANCE_INCOME_PAGE);
    return n > 0 && (size_t)n < capacity ? (size_t)n : 0;
}
