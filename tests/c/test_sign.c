/* Signatures equal the known answers of the venue's documentation and of RFC 4231. */
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/net/sign.h"

#include <string.h>

static void signs(const char *secret, const char *text, const char *expected)
{
    struct sign_key key;
    char hex[SIGN_HEX + 1];
    sign_init(&key, secret, strlen(secret));
    for (int i = 0; i < 2; i++) { /* the key is not used up */
        sign_hex(&key, hex, text, strlen(text));
        CHECK(strcmp(hex, expected) == 0);
    }
    sign_wipe(&key);
    static const struct sign_key empty;
    CHECK(memcmp(&key, &empty, sizeof key) == 0);
}

int main(void)
{
    static const char documented[] =
        "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9";
    signs(
        documented,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&"
        "timestamp=1591702613943",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9");
    signs(documented,
          "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000&recvWindow=5000&"
          "timestamp=1591702613943",
          "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4");
    signs("testsecret",
          "apiKey=testkey&newClientOrderId=t1-000000000001&price=64250.10&quantity=0.010&"
          "recvWindow=5000&side=BUY&symbol=BTCUSDT&timeInForce=GTX&timestamp=1795423660346&type="
          "LIMIT",
          "511d97e38ce087035a23e6c3eb88fb780c2feedbde3593cf623ab6e85d8a5558");
    signs("Jefe", "what do ya want for nothing?",
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    char longer[132];
    memset(longer, 0xaa, 131);
    longer[131] = '\0';
    signs(longer, "Test Using Larger Than Block-Size Key - Hash Key First",
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    return 0;
}
