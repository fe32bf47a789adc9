#include "measure.h"

#include <stdio.h>
#include <stdlib.h>

#include "../c_core/src/base/clock.h"

void measure_stop_if(int failed, const char *sentence)
{
    if (failed) {
        fprintf(stderr, "benchmark: %s\n", sentence);
        exit(1);
    }
}

void measure_rows(struct measured *rows, int count)
{
    for (int turn = 0; turn <= MEASURE_TURNS; turn++) {
        for (int i = 0; i < count; i++) {
            int64_t start = clock_mono_ns();
            rows[i].run(rows[i].context);
            double each = (double)(clock_mono_ns() - start) / (double)rows[i].units;
            if (turn > 0 && (rows[i].best_ns == 0 || each < rows[i].best_ns))
                rows[i].best_ns = each;
        }
    }
}

void measure_print(const struct measured *rows, int count, const char *title)
{
    printf("%-52s %9s %7s %7s\n", title, "ns", "ratio", "aim");
    for (int i = 0; i < count; i++) {
        const struct measured *row = &rows[i];
        char ratio[16] = "", aim[16] = "";
        if (row->compared_to >= 0)
            snprintf(ratio, sizeof ratio, "%.2f", row->best_ns / rows[row->compared_to].best_ns);
        if (row->aim > 0)
            snprintf(aim, sizeof aim, row->compared_to >= 0 ? "%.2f" : "%.0f", row->aim);
        printf("  %-50s %9.1f %7s %7s\n", row->name, row->best_ns, ratio, aim);
    }
    fflush(stdout);
}
