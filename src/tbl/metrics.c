/* SPDX-License-Identifier: MIT */
#include "tbl/metrics.h"

static const struct metric_row {
    const char *name;
    const char *kind;
    const char *help;
} metric_rows[METRIC_COUNT] = {
#define METRIC_ROW(name, kind, text, help, ...) [METRIC_##name] = {text, kind, help},
    METRIC_TABLE(METRIC_ROW, METRIC_ROW, METRIC_ROW)
#undef METRIC_ROW
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
