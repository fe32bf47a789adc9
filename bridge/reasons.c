#include "reasons.h"

#include <stddef.h>

static const char *const names[] = {
#define REASON_NAME(number, name, text) [number] = #name,
    REJECT_REASONS(REASON_NAME)
#undef REASON_NAME
};

static const char *const texts[] = {
#define REASON_TEXT(number, name, text) [number] = text,
    REJECT_REASONS(REASON_TEXT)
#undef REASON_TEXT
};

const char *reject_reason_name(int reason)
{
    if (reason < 0 || reason >= REJECT_REASON_COUNT || names[reason] == NULL)
        return "?";
    return names[reason];
}

const char *reject_reason_text(int reason)
{
    if (reason < 0 || reason >= REJECT_REASON_COUNT || texts[reason] == NULL)
        return "unknown reason; this program and the ledger may be of different versions";
    return texts[reason];
}
