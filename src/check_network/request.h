/* SPDX-License-Identifier: MIT */
#pragma once

/* Requests of a check, over libcurl: all go through the same proxy, with the same token. One thread. */

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "check_network/way.h"

#define REQUEST_CURSOR_MAX 4096u
#define REQUEST_CODE_MAX 40u

/* What the command line says. */
struct check_order {
    const char *url; /* of the server, without a slash at its end */
    const char
        *proxy; /* for everything; NULL: what http_proxy, https_proxy and no_proxy in the environment say */
    const char *token;   /* NULL when there is none */
    const char *ca_file; /* NULL: those whom the system trusts */
    const char *channel;
    uint64_t hold_ms;
};

/* How a request looks and what comes of it. */
struct request {
    const struct check_order *order;
    CURL *easy;
    CURLM *multi; /* while it runs; otherwise NULL */
    /* When it has ended, of request_turn; may end or begin requests. */
    void (*done)(struct request *request, CURLcode code);
    struct curl_slist *fields;
    char error[CURL_ERROR_SIZE];
    long status;                     /* 0 until the head of the answer is whole */
    char type[WAY_FAULT_MAX];        /* its Content-Type */
    char cursor[REQUEST_CURSOR_MAX]; /* its ETag, without quotes */
    char via[WAY_FAULT_MAX];         /* what its Via and Server say */
    char code[REQUEST_CODE_MAX];     /* why Sluice itself refuses, of docs/ERRORS.md; "" otherwise */
};

/* Prepares a request for `path` and query below the server's URL; a POST when `body` is not NULL, which is
 * copied. Returns 0 or -ENOMEM. */
int request_init(struct request *request, const struct check_order *order, const char *path,
                 const char *body);

/* Adds a field to the head of the request. Returns 0 or -ENOMEM. */
int request_add_field(struct request *request, const char *field);

/* Sends it; request_finish tells its end. Returns 0 or -ENOMEM. */
int request_begin(struct request *request, CURLM *multi,
                  void (*done)(struct request *request, CURLcode code));

/* Looks in what an answer says, or a part of it, for the error of a server of ours. */
void request_take_refusal(struct request *request, struct text body);

/* Writes the name of the server that an answer's field `name` gives away, behind those that are known. */
void request_take_field(struct request *request, struct text name, struct text value);

/* Calls `done` of each request that has ended. */
void request_finish(CURLM *multi);

/* Also while it runs. */
void request_deinit(struct request *request);

/* Writes what libcurl says of a connection that failed, for people. */
void request_explain_loss(const struct request *request, CURLcode code, char to[WAY_FAULT_MAX]);

/* Writes what went wrong, for people: the answer's status and who gave it, or what libcurl says. */
void request_explain(const struct request *request, CURLcode code, char to[WAY_FAULT_MAX]);
