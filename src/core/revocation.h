/* SPDX-License-Identifier: MIT */
#pragma once

/* A revocation: tokens that are not good any more although their time is not over. A value type, borrowing
 * its text; brokers carry it without knowing what a token is. */

#include <stdint.h>

#include "base/text.h"

#define REVOCATION_TEXT_MAX 255u

enum revocation_kind {
    REVOCATION_TOKEN,   /* the one token with this id (jti) */
    REVOCATION_SUBJECT, /* every token of this subject (sub) that was issued by then */
};

struct revocation {
    enum revocation_kind kind;
    struct text text;  /* the id or the subject, 1 to REVOCATION_TEXT_MAX bytes */
    int64_t before_ms; /* wall clock; of a subject, a token with a later `iat` is good */
    int64_t until_ms;  /* wall clock; may be forgotten then */
};
