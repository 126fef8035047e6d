/* SPDX-License-Identifier: MIT */
#include "tbl/metrics.h"

static const struct metric_row {
    const char *name;
    const char *kind;
    const char *help;
} metric_rows[METRIC_COUNT] = {
#define METRIC_COUNTER(name, text, help) [METRIC_##name] = {text, "counter", help},
#define METRIC_GAUGE(name, text, help) [METRIC_##name] = {text, "gauge", help},
    METRIC_TABLE(METRIC_COUNTER, METRIC_GAUGE)
#undef METRIC_COUNTER
#undef METRIC_GAUGE
};

const char *metric_name(enum metric metric)
{
    return metric_rows[metric].name;
}

const char *metric_help(enum metric metric)
{
    return metric_rows[metric].help;
}

const char *metric_kind(enum metric metric)
{
    return metric_rows[metric].kind;
}
