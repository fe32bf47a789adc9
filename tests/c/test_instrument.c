/* Ticks and lots convert exactly, and notionals round away from or toward zero as named. */
#include "../../c_core/src/model/instrument.h"

int main(void)
{
    struct instrument btc = {.tick_e9 = 100000000, .lot_e9 = 1000000};
    struct price price = {600001};
    struct quantity quantity = {2};
    CHECK(instrument_price_e9(&btc, price) == 60000100000000);
    CHECK(instrument_quantity_e9(&btc, quantity) == 2000000);
    CHECK(instrument_notional_up(&btc, price, quantity).micros == 120000200);
    CHECK(instrument_notional_down(&btc, price, quantity).micros == 120000200);

    struct instrument fine = {.tick_e9 = 10, .lot_e9 = 1000000};
    CHECK(instrument_notional_up(&fine, (struct price){3}, (struct quantity){1}).micros == 1);
    CHECK(instrument_notional_down(&fine, (struct price){3}, (struct quantity){1}).micros == 0);

    struct price back;
    CHECK(instrument_price_from_e9(&btc, 60000100000000, &back) && back.ticks == 600001);
    CHECK(!instrument_price_from_e9(&btc, 60000150000000, &back));
    struct quantity lots;
    CHECK(instrument_quantity_from_e9(&btc, 5000000, &lots) && lots.lots == 5);
    CHECK(!instrument_quantity_from_e9(&btc, 5500000, &lots));
    struct instrument nothing = {0};
    CHECK(!instrument_price_from_e9(&nothing, 1, &back));
    CHECK(!instrument_quantity_from_e9(&nothing, 1, &lots));
    return 0;
}
