/* The income history, wallet balances and ACCOUNT_UPDATE become exact money; fills' own rows are
 * told from money that no fill carried; broken bytes are refused. */
#include "../../c_core/src/connectors/crypto/binance_wire.h"

#include <stdio.h>
#include <string.h>

static struct instrument bitcoin = {.symbol = "BTCUSDT",
                                    .tick_e9 = 100000000,
                                    .lot_e9 = 1000000,
                                    .price_decimals = 1,
                                    .quantity_decimals = 3};
static const struct instrument *const known[] = {&bitcoin};
static const struct binance_symbols symbols = {known, 1};

/* The first two rows are those of the venue's documentation ("Get Income History"). */
static const char ROWS[] =
    "[{\"symbol\":\"\",\"incomeType\":\"TRANSFER\",\"income\":\"-0.37500000\",\"asset\":\"USDT\","
    "\"info\":\"TRANSFER\",\"time\":1570608000000,\"tranId\":9689322392,\"tradeId\":\"\"},"
    "{\"symbol\":\"BTCUSDT\",\"incomeType\":\"COMMISSION\",\"income\":\"-0.01000000\",\"asset\":"
    "\"USDT\",\"info\":\"COMMISSION\",\"time\":1570636800000,\"tranId\":9689322392,\"tradeId\":"
    "\"2059192\"},"
    "{\"symbol\":\"BTCUSDT\",\"incomeType\":\"FUNDING_FEE\",\"income\":\"-600\",\"asset\":\"USDT\","
    "\"info\":\"FUNDING_FEE\",\"time\":1570636800001,\"tranId\":\"9223372036854775808\","
    "\"tradeId\":null},"
    "{\"symbol\":\"\",\"incomeType\":\"COMMISSION\",\"income\":\"-0.5\",\"asset\":\"BNB\",\"time\":"
    "3,\"tranId\":4},"
    "{\"symbol\":\"\",\"incomeType\":\"MOON_TAX\",\"income\":\"-1.00000001\",\"asset\":\"USDC\","
    "\"time\":5,\"tranId\":6,\"extra\":{\"a\":[1]}}]";

static void reads_income(void)
{
    struct scan list;
    struct binance_income row;
    char key[48];
    CHECK(binance_wire_list(&list, ROWS, sizeof ROWS - 1) == STATUS_OK);
    CHECK(binance_wire_income_next(&list, &row) == 1 && row.kind == CASH_TRANSFER);
    CHECK(row.amount_e8 == -37500000 && row.time_ms == 1570608000000 && !row.of_fill);
    CHECK(strcmp(row.asset, "USDT") == 0 && row.trade_id == 0);
    binance_income_key(key, &row);
    CHECK(strcmp(key, "TRANSFER:9689322392") == 0);
    CHECK(binance_wire_income_next(&list, &row) == 1 && row.of_fill && row.trade_id == 2059192);
    CHECK(binance_wire_income_next(&list, &row) == 1 && row.kind == CASH_FUNDING);
    CHECK(row.amount_e8 == -60000000000 && !row.of_fill);
    binance_income_key(key, &row);
    CHECK(strcmp(key, "FUNDING_FEE:9223372036854775808") == 0);
    CHECK(binance_wire_income_next(&list, &row) == 1 && row.kind == CASH_COMMISSION);
    CHECK(!row.of_fill && strcmp(row.asset, "BNB") == 0 && !binance_is_dollar(row.asset));
    CHECK(binance_is_unpriced(row.asset, row.kind, row.amount_e8));
    CHECK(!binance_is_unpriced("BNB", CASH_COMMISSION, 5));
    CHECK(!binance_is_unpriced("BNB", CASH_TRANSFER, -5));
    CHECK(!binance_is_unpriced("USDC", CASH_OTHER, -5));
    CHECK(binance_wire_income_next(&list, &row) == 1 && row.kind == CASH_OTHER);
    CHECK(row.amount_e8 == -100000001 && binance_is_dollar(row.asset));
    CHECK(binance_wire_income_next(&list, &row) == 0);
}

static void refuses_broken_income(void)
{
    static const char *const broken[] = {
        "[{\"income\":\"1\",\"asset\":\"USDT\",\"time\":1,\"tranId\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"asset\":\"USDT\",\"time\":1,\"tranId\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"income\":\"1\",\"time\":1,\"tranId\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"income\":\"1\",\"asset\":\"USDT\",\"tranId\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"income\":\"1\",\"asset\":\"USDT\",\"time\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"income\":\"1x\",\"asset\":\"USDT\",\"time\":1,"
        "\"tranId\":1}]",
        "[{\"incomeType\":\"TRANSFER\",\"income\":\"99999999999999\",\"asset\":\"USDT\",\"time\":1,"
        "\"tranId\":1}]",
    };
    struct scan list;
    struct binance_income row;
    for (size_t n = 0; n < sizeof broken / sizeof broken[0]; n++) {
        CHECK(binance_wire_list(&list, broken[n], strlen(broken[n])) == STATUS_OK);
        CHECK(binance_wire_income_next(&list, &row) == STATUS_PROTOCOL);
    }
    for (size_t n = 1; n < sizeof ROWS - 1; n++) { /* cut at every byte: never a whole list */
        CHECK(binance_wire_list(&list, ROWS, n) == STATUS_OK);
        int found = 1;
        for (int rows = 0; rows < 6 && found == 1; rows++)
            found = binance_wire_income_next(&list, &row);
        CHECK(found == STATUS_PROTOCOL);
    }
}

static void keeps_keys_whole(void)
{
    struct binance_income row = {.type = "POSITION_LIMIT_INCREASE_FEE",
                                 .tran_id = "12345678901234567890123"};
    char key[48];
    binance_income_key(key, &row);
    CHECK(strcmp(key, "POSITION_LIMIT_INCREAS:12345678901234567890123") == 0);
}

static void reads_wallet(void)
{
    static const char balances[] =
        "[{\"accountAlias\":\"SgsR\",\"asset\":\"BNB\",\"balance\":\"3.00000000\"},"
        "{\"accountAlias\":\"SgsR\",\"asset\":\"USDT\",\"balance\":\"-122607.35137903\","
        "\"crossWalletBalance\":\"23.72469206\"}]";
    int64_t wallet = 1;
    CHECK(binance_wire_wallet(&wallet, "USDT", balances, sizeof balances - 1) == STATUS_OK);
    CHECK(wallet == -12260735137903);
    CHECK(binance_wire_wallet(&wallet, "USDC", balances, sizeof balances - 1) == STATUS_OK);
    CHECK(wallet == 0);
    CHECK(binance_wire_wallet(&wallet, "USDT", balances, sizeof balances - 2) == STATUS_PROTOCOL);
    CHECK(binance_wire_wallet(&wallet, "USDT", "{}", 2) == STATUS_PROTOCOL);
    static const char none[] = "[{\"asset\":\"USDT\"}]";
    CHECK(binance_wire_wallet(&wallet, "USDT", none, sizeof none - 1) == STATUS_PROTOCOL);
}

static struct binance_user_event event;

static int user(const char *text)
{
    return binance_wire_user(&event, &symbols, text, strlen(text));
}

static void reads_account_updates(void)
{
    CHECK(user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":7,\"E\":8,\"a\":{\"B\":[{\"a\":\"USDT\",\"wb\":"
               "\"99400.0\",\"cw\":\"99400.0\",\"bc\":\"-600.00000000\"},{\"a\":\"BNB\",\"wb\":"
               "\"1.00000000\",\"cw\":\"0\",\"bc\":\"0\"}],\"P\":[],\"m\":\"FUNDING_FEE\"}}") ==
          STATUS_OK);
    CHECK(event.kind == BINANCE_USER_ACCOUNT && event.balance_count == 2);
    CHECK(strcmp(event.account_reason, "FUNDING_FEE") == 0 && event.transaction_ms == 7);
    CHECK(binance_cash_kind(event.account_reason) == CASH_FUNDING);
    CHECK(event.balances[0].change_e8 == -60000000000 &&
          event.balances[0].wallet_e8 == 9940000000000);
    CHECK(event.balances[1].change_e8 == 0 && strcmp(event.balances[1].asset, "BNB") == 0);
    CHECK(event.position_count == 0);
    CHECK(user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":7,\"E\":8,\"a\":{\"B\":[{\"a\":\"USDT\",\"bc\":"
               "\"1\"}],\"m\":\"DEPOSIT\"}}") == STATUS_PROTOCOL);
    CHECK(user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":7,\"E\":8,\"a\":{\"B\":[]}}") == STATUS_OK);
    CHECK(binance_cash_kind(event.account_reason) == CASH_OTHER);
    CHECK(user("{\"e\":\"ACCOUNT_UPDATE\",\"T\":7,\"E\":8,\"a\":{\"B\":[{\"a\":\"USDT\",\"wb\":"
               "\"1\",\"bc\":\"1e5x\"}],\"m\":\"DEPOSIT\"}}") == STATUS_PROTOCOL);
    CHECK(binance_cash_kind("WITHDRAW") == CASH_TRANSFER);
    CHECK(binance_cash_kind("ADJUSTMENT") == CASH_ADJUSTMENT);
    CHECK(binance_cash_kind("AUTO_EXCHANGE") == CASH_TRANSFER);
    CHECK(binance_cash_kind("") == CASH_OTHER);
}

static void reads_realized_profit(void)
{
    struct scan list;
    struct binance_fill fill;
    static const char fills[] =
        "[{\"symbol\":\"BTCUSDT\",\"id\":1,\"orderId\":2,\"side\":\"SELL\",\"price\":\"7819.0\","
        "\"qty\":\"0.002\",\"commission\":\"0.07819010\",\"commissionAsset\":\"USDT\",\"maker\":"
        "false,\"realizedPnl\":\"-0.91539999\",\"time\":3},{\"symbol\":\"BTCUSDT\",\"id\":1,"
        "\"orderId\":2,\"side\":\"BUY\",\"price\":\"7819.0\",\"qty\":\"0.002\",\"commission\":"
        "\"0\",\"commissionAsset\":\"USDT\",\"maker\":true,\"time\":3}]";
    CHECK(binance_wire_list(&list, fills, sizeof fills - 1) == STATUS_OK);
    CHECK(binance_wire_fill_next(&list, &fill, &symbols) == 1);
    CHECK(fill.has_realized && fill.realized_e8 == -91539999);
    CHECK(binance_wire_fill_next(&list, &fill, &symbols) == 1 && !fill.has_realized);
    CHECK(user("{\"e\":\"ORDER_TRADE_UPDATE\",\"E\":1,\"T\":1,\"o\":{\"s\":\"BTCUSDT\",\"c\":\"x\","
               "\"S\":\"BUY\",\"q\":\"0.010\",\"p\":\"1.0\",\"ap\":\"1.0\",\"x\":\"TRADE\",\"X\":"
               "\"FILLED\",\"i\":1,\"l\":\"0.010\",\"z\":\"0.010\",\"L\":\"1.0\",\"N\":\"USDT\","
               "\"n\":\"0.1\",\"T\":1,\"t\":5,\"m\":false,\"R\":false,\"rp\":\"-2.5\",\"er\":"
               "\"0\"}}") == STATUS_OK);
    CHECK(event.has_realized && event.realized_e8 == -250000000);
}

static void asks_for_pages(void)
{
    char text[128];
    CHECK(binance_wire_income_query(text, sizeof text, 1, 1570608000000, 3) > 0);
    CHECK(strcmp(text, "startTime=1&endTime=1570608000000&page=3&limit=1000") == 0);
    CHECK(binance_wire_income_query(text, 10, 1, 2, 3) == 0);
}

int main(void)
{
    reads_income();
    refuses_broken_income();
    keeps_keys_whole();
    reads_wallet();
    reads_account_updates();
    reads_realized_profit();
    asks_for_pages();
    return 0;
}
