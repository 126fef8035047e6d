/* SPDX-License-Identifier: MIT */
/* The program behind `sluice check-network`: of its own, so that the server is not linked with libcurl and
 * what that brings along. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"
#include "base/random.h"
#include "base/text.h"
#include "check_network/report.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define EXIT_NOTHING_PASSES 3
#define HOLD_MS_DEFAULT 20000u
#define HOLD_MS_MAX 86400000u
#define CHANNEL_WORD_LEN 10u
#define CHANNEL_MAX 200u
#define CHANNEL_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"

static int fail_usage(const char *what, const char *why)
{
    fprintf(stderr, "sluice: check-network: %s %s\n", what, why);
    return EXIT_USAGE;
}

static bool url_is_valid(const char *url)
{
    struct text text = text_of(url);
    return (text_begins(text, "http://") || text_begins(text, "https://")) && !strpbrk(url, "?#@ ") &&
           strstr(url, "://")[3] && strstr(url, "://")[3] != '/';
}

/* The server's address is also that of its pages, of which people are sent the one that checks. */
static void url_cut_page(char *url)
{
    static const char page[] = "/check.html";
    size_t len = strlen(url);
    if (len >= strlen(page) && !strcmp(url + len - strlen(page), page))
        url[len -= strlen(page)] = '\0';
    else if (len > 0 && url[len - 1] == '/')
        url[len - 1] = '\0';
}

/* Reads the command line. Returns 0 or the exit status. */
static int read_order(struct check_order *order, int argument_count, char **arguments)
{
    static const struct option flags[] = {
        {"proxy", required_argument, NULL, 'p'}, {"token", required_argument, NULL, 't'},
        {"ca", required_argument, NULL, 'a'},    {"channel", required_argument, NULL, 'c'},
        {"hold", required_argument, NULL, 'h'},  {NULL, 0, NULL, 0},
    };
    opterr = 0;
    for (int flag; (flag = getopt_long(argument_count, arguments, "", flags, NULL)) != -1;) {
        if (flag == 'p')
            order->proxy = optarg;
        else if (flag == 't')
            order->token = optarg;
        else if (flag == 'a')
            order->ca_file = optarg;
        else if (flag == 'c')
            order->channel = optarg;
        else if (flag == 'h' && (number_parse_duration_ms(&order->hold_ms, optarg, strlen(optarg)) ||
                                 order->hold_ms > HOLD_MS_MAX))
            return fail_usage("--hold", "takes a time of at most 24h, such as 70s");
        else if (flag != 'h')
            return fail_usage(arguments[optind - 1],
                              "is unknown or lacks its value: it takes URL, --proxy URL, --token TOKEN, "
                              "--ca FILE, --channel NAME and --hold TIME");
    }
    if (argument_count - optind != 1)
        return fail_usage(
            "URL", "is missing, or there is more than one: http://HOST[:PORT] or https://…, with the path "
                   "below which Sluice answers, if any");
    order->url = arguments[optind];
    if (!url_is_valid(order->url))
        return fail_usage(order->url,
                          "is no address of a server: http://HOST[:PORT] or https://…, without ? and #");
    if (strstr(order->url, "/channels/"))
        return fail_usage(order->url,
                          "is that of a channel: give the server's, and the channel by --channel NAME");
    if (order->ca_file && access(order->ca_file, R_OK))
        return fail_usage(order->ca_file, strerror(errno));
    url_cut_page(arguments[optind]);
    if (strspn(order->channel, CHANNEL_CHARACTERS) != strlen(order->channel) ||
        strlen(order->channel) > CHANNEL_MAX)
        return fail_usage("--channel", "takes a name of at most 200 letters, digits and - _ . /");
    return 0;
}

static int run(const struct check_order *order)
{
    struct check *check = calloc(1, sizeof(*check));
    int status = EXIT_FAILED;
    report_write_order(stdout, order);
    fflush(stdout);
    if (check && check_run(check, order) == 0) {
        static const int statuses[] = {[REPORT_ALL_PASS] = 0,
                                       [REPORT_SOME_PASS] = EXIT_FAILED,
                                       [REPORT_NONE_PASSES] = EXIT_NOTHING_PASSES};
        status = statuses[report_write(stdout, check)];
    } else {
        fprintf(stderr, "sluice: check-network: out of memory\n");
    }
    if (check)
        check_deinit(check);
    free(check);
    return status;
}

int main(int argument_count, char **arguments)
{
    char channel[sizeof("check/") + CHANNEL_WORD_LEN] = "check/";
    struct check_order order = {.hold_ms = HOLD_MS_DEFAULT, .channel = channel};
    if (random_init() || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fprintf(stderr, "sluice: check-network: libsodium or libcurl cannot be initialised\n");
        return EXIT_FAILED;
    }
    random_word(channel + strlen(channel), CHANNEL_WORD_LEN);
    int status = read_order(&order, argument_count, arguments);
    if (status == 0)
        status = run(&order);
    curl_global_cleanup();
    return status;
}
