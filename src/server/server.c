/* SPDX-License-Identifier: MIT */
#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "auth/keys.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/table.h"
#include "broker/memory/memory.h"
#include "broker/redis/redis.h"
#include "config.h"
#include "http/refusal.h"
#include "http/forwarded.h"
#include "http/head.h"
#include "server/inheritance.h"
#include "server/notify.h"
#include "server/precheck.h"
#include "server/privileges.h"
#include "server/sandbox.h"
#include "server/succession.h"
#include "server/watchdog.h"
#include "shard/passage.h"
#include "shard/feed.h"
#include "shard/rates.h"
#include "shard/shard.h"
#include "shard/tls.h"
#include "transport/sockjs/sockjs.h"
#include "transport/transports.h"
#include "transport/websocket/commands.h"

#define SERVER_EXIT_FAILED 1
#define SERVER_EXIT_OPTIONS 2

static const struct door_handlers server_door_handlers = {
    .inspect = head_inspect,
    .render_error = refusal_render,
    .home = sockjs_home,
    .find_asker = forwarded_find_asker,
};

/* How long the process may take to end once everything is cut, before it is ended by force. */
#define SERVER_FORCE_S 5u
/* What has not ended by itself this long after the drain time is cut. */
#define SERVER_GRACE_MS 1000u
/* Rounds of the watchdog in the time in which the service manager wants one. */
#define SERVER_WATCHDOG_ROUNDS 3u

/*   running ──► draining ──► closing ──► leaving
 *      │           `────────────────────────^
 *      `──(cannot run)──────────^
 */
enum server_state {
    SERVER_RUNNING,
    SERVER_DRAINING, /* the shards let their clients go, and close when they have */
    SERVER_CLOSING,  /* all that is left is cut */
    SERVER_LEAVING,  /* every shard is idle: their threads end */
};

struct server {
    struct configuration *configuration;
    struct auth_keys *keys; /* that the configuration in force names */
    enum server_state state;
    uint64_t drain_until_ms;
    struct mailbox mailbox;
    struct shard_group group;
    struct listenings listenings;
    unsigned initialised; /* shards */
    unsigned running;     /* shards */
    int signal_fd;
    struct notify notify;
    struct watchdog watchdog;
    struct succession succession;   /* who comes after this process */
    struct inheritance inheritance; /* and what came from before */
    unsigned next_shard;            /* that gets a connection of that process */
    bool wants_reload;              /* once nobody is about to take its place */
};

static int server_fail(int status, const char *what, const char *why)
{
    fprintf(stderr, "sluice: %s: %s\n", what, why);
    return status;
}

/* What is opened next would become the standard input or the log of this process, and of its keeper. */
static void server_fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Everything else that is accepted is held open, so descriptors are what runs out first. */
static void server_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            log_event(LOG_WARN, "descriptor-limit", LOG_TEXT("reason", strerror(errno)));
    }
}

static void server_warn_of_stray(const char *variable, const char *nearest)
{
    char action[160] = "see sluice --help for the options there are";
    if (nearest)
        snprintf(action, sizeof(action), "did you mean %s?", nearest);
    log_event(LOG_WARN, "unknown-variable", LOG_TEXT("variable", variable), LOG_TEXT("action", action));
}

static void server_warn_of_static_dir(const char *reason)
{
    log_event(LOG_WARN, "no-static-dir", LOG_TEXT("reason", reason),
              LOG_TEXT("action", "install Sluice's files, or say --static-dir DIR, or an empty one"));
}

/* Before anything is started, so that a mistake is told at once. */
static int server_check_configuration(struct server *server)
{
    static const struct precheck_warnings warnings = {server_warn_of_stray, server_warn_of_static_dir};
    char fault[PRECHECK_FAULT_MAX];
    int err = precheck_run(server->configuration, &warnings, &server->listenings, fault);
    if (err)
        configuration_locate(server->configuration, fault, sizeof(fault));
    return err ? server_fail(SERVER_EXIT_OPTIONS, "options", fault) : 0;
}

static int server_load_keys(struct server *server)
{
    char fault[AUTH_FAULT_MAX];
    int err = auth_keys_load(&server->keys, server->configuration->options, fault);
    if (err)
        configuration_locate(server->configuration, fault, sizeof(fault));
    return err ? server_fail(SERVER_EXIT_OPTIONS, "options", fault) : 0;
}

static int server_listen(struct server *server)
{
    char fault[LISTENING_FAULT_MAX];
    return listenings_open(&server->listenings, &server->group, fault)
               ? server_fail(SERVER_EXIT_FAILED, "listening", fault)
               : 0;
}

static int server_open_sockjs(struct server *server)
{
    char fault[SOCKJS_FAULT_MAX];
    return sockjs_open(&server->configuration->options->sockjs, &server->group, fault)
               ? server_fail(SERVER_EXIT_FAILED, "services", fault)
               : 0;
}

static int server_make_broker(struct server *server)
{
    char fault[URL_FAULT_MAX] = "no memory";
    struct options *options = server->configuration->options;
    server->group.broker =
        precheck_broker_is_memory(options) ? memory_broker_new(options) : redis_broker_new(options, fault);
    return server->group.broker ? 0 : server_fail(SERVER_EXIT_FAILED, "broker", fault);
}

static int server_make_shards(struct server *server)
{
    struct options *options = server->configuration->options;
    int err = feed_check();
    if (err)
        return server_fail(SERVER_EXIT_FAILED, "cannot feed libmicrohttpd",
                           err == -ENOSYS
                               ? "it does not read and write through this program's recv() and send()"
                               : strerror(-err));
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    server->group.count = options->shards > 0 ? (unsigned)options->shards
                          : processors > 0    ? (unsigned)processors
                                              : 1;
    server->group.shards = calloc(server->group.count, sizeof(struct shard));
    server->group.limits = connection_limits_new();
    server->group.rates = rates_new();
    err = server->group.shards && server->group.limits && server->group.rates ? 0 : -ENOMEM;
    for (unsigned i = 0; !err && i < server->group.count; i++) {
        err = shard_init(&server->group.shards[i], i, &server->group, options, server->keys);
        server->initialised += err == 0;
    }
    return err ? server_fail(SERVER_EXIT_FAILED, "cannot make the shards", strerror(-err)) : 0;
}

/* Once what only root may open is open. */
static int server_drop_privileges(struct server *server)
{
    char fault[PRIVILEGES_FAULT_MAX];
    const struct options *options = server->configuration->options;
    if (options->user[0] && privileges_drop(options->user, fault))
        return server_fail(SERVER_EXIT_FAILED, "user", fault);
    if (options->user[0])
        privileges_warn_of_unreadable_files(options);
    if (options->user[0] || options->seccomp)
        privileges_hide_memory();
    return 0;
}

/* Clients can connect from here on, and are served once the shards run. */
static int server_open_listeners(struct server *server)
{
    for (unsigned i = 0; i < server->group.count; i++) {
        int err = listener_table_open(&server->group.shards[i].listeners);
        if (err)
            return server_fail(SERVER_EXIT_FAILED, "cannot listen", strerror(-err));
    }
    return 0;
}

static int server_begin_inheriting(struct server *server)
{
    char fault[INHERITANCE_FAULT_MAX];
    server->listenings.inheritance = &server->inheritance;
    return inheritance_begin(&server->inheritance, server->inheritance.fd, fault)
               ? server_fail(SERVER_EXIT_FAILED, "upgrade", fault)
               : 0;
}

/* Last of all that may fail: from here on this process is the server, and not the one that it came from. */
static int server_enter(struct server *server)
{
    char fault[INHERITANCE_FAULT_MAX];
    if (inheritance_enter(&server->inheritance, server->group.broker, fault))
        return server_fail(SERVER_EXIT_FAILED, "upgrade", fault);
    inheritance_end(&server->inheritance, true);
    return 0;
}

/* After the last file is written, and before the first byte of a client is read. */
static int server_confine(struct server *server)
{
    char fault[SANDBOX_FAULT_MAX];
    bool has_files = false;
    if (!server->configuration->options->seccomp)
        return 0;
    for (size_t i = 0; i < server->listenings.count; i++)
        has_files = has_files || server->listenings.items[i].has_file;
    return sandbox_enter(has_files, fault) ? server_fail(SERVER_EXIT_FAILED, "seccomp", fault) : 0;
}

static int server_start_shards(struct server *server)
{
    for (unsigned i = 0; i < server->group.count; i++) {
        int err = shard_start(&server->group.shards[i]);
        if (err)
            return server_fail(SERVER_EXIT_FAILED, "cannot start a shard", strerror(-err));
        server->running++;
    }
    return 0;
}

/* Whoever waits for the file finds it whole: it appears under its name only when it is. */
static int server_write_ready_file(struct server *server)
{
    const char *path = server->configuration->options->ready_file;
    char temporary[4200];
    char text[LISTENING_TEXT_MAX];
    if (!path[0])
        return 0;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "we");
    if (!file)
        return server_fail(SERVER_EXIT_FAILED, path, strerror(errno));
    for (size_t i = 0; i < server->listenings.count; i++) {
        listening_format(&server->listenings.items[i], text);
        fprintf(file, "%s %s\n", server->listenings.items[i].option, text);
    }
    if (fclose(file) || rename(temporary, path))
        return server_fail(SERVER_EXIT_FAILED, path, strerror(errno));
    return 0;
}

/* Before the ready file: whoever has seen that finds the addresses in the log. */
static int server_log_ready(struct server *server)
{
    char text[LISTENING_TEXT_MAX];
    for (size_t i = 0; i < server->listenings.count; i++) {
        const struct listening *listening = &server->listenings.items[i];
        listening_format(listening, text);
        if (listening->is_tcp)
            log_event(LOG_INFO, "listening", LOG_TEXT("tcp", text),
                      LOG_TEXT("framing", framing_words[listening->declaration.framing]));
        else
            log_event(LOG_INFO, "listening", LOG_TEXT(listening->option, text));
    }
    log_event(LOG_INFO, "ready", LOG_TEXT("version", PACKAGE_VERSION),
              LOG_NUMBER("shards", server->group.count),
              LOG_TEXT("broker", server->group.broker->ops->scheme));
    return 0;
}

static void server_keep_watchdog_calm(struct watchdog *watchdog)
{
    notify_say(&container_of(watchdog, struct server, watchdog)->notify, "WATCHDOG=1");
}

static int server_tell_ready(struct server *server)
{
    const struct notify *notify = &server->notify;
    notify_say(notify, "READY=1\nSTATUS=serving; %u shards, broker %s\nMAINPID=%ld", server->group.count,
               server->group.broker->ops->scheme, (long)getpid());
    if (notify->watchdog_ms == 0)
        return 0;
    int err = watchdog_start(&server->watchdog, &server->group, notify->watchdog_ms / SERVER_WATCHDOG_ROUNDS,
                             server_keep_watchdog_calm);
    return err ? server_fail(SERVER_EXIT_FAILED, "watchdog", strerror(-err)) : 0;
}

/* A file that is cut off, or half written, has no keys either: with them gone everybody would be let in. */
static int server_check_keys_stay(const struct server *server, const struct options *options,
                                  char error[CONFIGURATION_ERROR_MAX])
{
    if (!auth_keys_are_there(server->keys) || auth_keys_are_configured(options) || options->anonymous)
        return 0;
    snprintf(
        error, CONFIGURATION_ERROR_MAX,
        "there is no key any more, without which everybody may read and publish; to want that, start again");
    return -EINVAL;
}

/* Whatever new options name is read before they come into force. What the broker reads it also takes: last,
 * so that nothing is refused behind it. */
static int server_accept_options(void *context, struct options *options, char error[CONFIGURATION_ERROR_MAX])
{
    static_assert(AUTH_FAULT_MAX <= CONFIGURATION_ERROR_MAX, "a fault of keys fits");
    static_assert(BROKER_FAULT_MAX <= CONFIGURATION_ERROR_MAX, "a fault of the broker fits");
    struct server *server = context;
    struct auth_keys *keys;
    char fault[PRECHECK_FAULT_MAX];
    int err = precheck_broker(options, fault);
    if (!err)
        err = listenings_check_exposure(&server->listenings, options, fault);
    if (err)
        snprintf(error, CONFIGURATION_ERROR_MAX, "%.1000s", fault);
    else
        err = server_check_keys_stay(server, options, error);
    if (!err)
        err = auth_keys_load(&keys, options, error);
    if (err)
        return err;
    err = listenings_read_again(&server->listenings, error);
    if (!err)
        err = server->group.broker->ops->configure(server->group.broker, options, error);
    if (err) {
        auth_keys_unref(keys);
        return err;
    }
    auth_keys_unref(server->keys);
    server->keys = keys;
    return 0;
}

/* Returns what is said of it. */
static const char *server_take_configuration(struct server *server)
{
    const struct configuration_judge judge = {server, server_accept_options};
    char error[CONFIGURATION_ERROR_MAX];
    struct reload_report report;
    if (configuration_reload(server->configuration, &judge, &report, error)) {
        log_event(LOG_ERROR, "reload-failed", LOG_TEXT("reason", error),
                  LOG_TEXT("action", "nothing has changed; mend it and signal again"));
        return "serving; the last reload failed, see the log";
    }
    struct options *options = server->configuration->options;
    log_set_level((enum log_level)options->log_level);
    int err = 0;
    for (unsigned i = 0; !err && i < server->group.count; i++)
        err = shard_configure(&server->group.shards[i], options, server->keys);
    if (!err)
        err = listenings_renew(&server->listenings, &server->group);
    if (err)
        log_event(LOG_ERROR, "reload-incomplete", LOG_TEXT("reason", "no memory"),
                  LOG_TEXT("action", "signal again"));
    if (report.needs_restart[0])
        log_event(LOG_WARN, "reload-needs-restart", LOG_TEXT("options", report.needs_restart));
    log_event(LOG_INFO, "reloaded", LOG_TEXT("changed", report.changed[0] ? report.changed : "nothing"));
    return "serving; reloaded";
}

static void server_reload(struct server *server)
{
    notify_say(&server->notify, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
               (unsigned long long)clock_monotonic_ns() / 1000);
    const char *status = server_take_configuration(server);
    notify_say(&server->notify, "READY=1\nSTATUS=%s", status);
}

/* Stopping. */

/* The end comes in time whatever a thread may be stuck in. */
static void server_end_by_force(int number)
{
    static const char text[] = "sluice: something did not end in time; the process is ended by force\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)number;
    (void)written; /* there is no other place to tell it */
    _exit(SERVER_EXIT_FAILED);
}

static void server_order_shards(struct server *server, enum shard_state to)
{
    for (unsigned i = 0; i < server->running; i++)
        shard_order(&server->group.shards[i], to);
}

static void server_begin_closing(struct server *server)
{
    struct broker *broker = server->group.broker;
    alarm(SERVER_FORCE_S);
    server_order_shards(server, SHARD_CLOSING);
    if (server->running > 0 && broker->ops->cut)
        broker->ops->cut(broker);
}

static uint64_t server_drain_ms(const struct server *server)
{
    return server->configuration->options->drain_time_ms + SERVER_GRACE_MS;
}

static void server_move(struct server *server, enum server_state to)
{
    static const unsigned legal[] = {
        [SERVER_RUNNING] = 1u << SERVER_DRAINING | 1u << SERVER_CLOSING,
        [SERVER_DRAINING] = 1u << SERVER_CLOSING | 1u << SERVER_LEAVING,
        [SERVER_CLOSING] = 1u << SERVER_LEAVING,
        [SERVER_LEAVING] = 0,
    };
    assert(legal[server->state] & 1u << to);
    server->state = to;
    switch (to) {
    case SERVER_RUNNING:
        break;
    case SERVER_DRAINING:
        server->drain_until_ms = clock_monotonic_ms() + server_drain_ms(server);
        notify_say(&server->notify, "STOPPING=1\nSTATUS=letting clients go\nEXTEND_TIMEOUT_USEC=%llu",
                   (unsigned long long)(server_drain_ms(server) + 2 * SERVER_FORCE_S * 1000) * 1000);
        server_order_shards(server, SHARD_DRAINING);
        break;
    case SERVER_CLOSING:
        server_begin_closing(server);
        break;
    case SERVER_LEAVING:
        alarm(SERVER_FORCE_S);
        server_order_shards(server, SHARD_STOPPED);
        break;
    }
}

static void server_handle_upgrade(struct server *server)
{
    const struct options *options = server->configuration->options;
    if (server->state != SERVER_RUNNING)
        log_event(LOG_WARN, "upgrade-refused", LOG_TEXT("reason", "this process is ending"));
    else if (getpid() == 1)
        log_event(LOG_WARN, "upgrade-refused",
                  LOG_TEXT("reason", "this is process 1 of a container, which would end with it"),
                  LOG_TEXT("action", "start another container, and stop this one"));
    else
        succession_begin(&server->succession, server_drain_ms(server) + 2 * options->retry_ms);
}

static void server_handle_stop(struct server *server, const char *word)
{
    if (succession_is_on(&server->succession))
        succession_abandon(&server->succession, "the service is stopped");
    if (server->state == SERVER_RUNNING) {
        log_event(LOG_INFO, "stopping", LOG_TEXT("signal", word),
                  LOG_NUMBER("drain_ms", server->configuration->options->drain_time_ms),
                  LOG_TEXT("action", "clients are let go; signal again to stop at once"));
        server_move(server, SERVER_DRAINING);
    } else if (server->state == SERVER_DRAINING) {
        log_event(LOG_INFO, "stopping-at-once", LOG_TEXT("signal", word));
        server_move(server, SERVER_CLOSING);
    }
}

static void server_handle_signals(struct server *server)
{
    struct signalfd_siginfo info;
    while (read(server->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGUSR2)
            server_handle_upgrade(server);
        else if (info.ssi_signo != SIGHUP)
            server_handle_stop(server, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
        else
            server->wants_reload = true;
    }
}

/* A process that takes this one's place reads the configuration by itself. */
static void server_handle_reload(struct server *server)
{
    if (!server->wants_reload || succession_is_on(&server->succession))
        return;
    server->wants_reload = false;
    if (server->state == SERVER_RUNNING)
        server_reload(server);
}

static void server_handle_succession(struct server *server)
{
    if (server->state == SERVER_RUNNING && succession_run(&server->succession))
        server_move(server, SERVER_DRAINING);
}

/* On its way to the process that takes this one's place. */
static void server_pass_on(struct shard_group *group, const struct passenger *passenger)
{
    succession_pass_on(&container_of(group, struct server, group)->succession, passenger);
}

/* One whose listener is gone, or speaks otherwise now, is closed. */
static void server_take_client(struct server *server, const struct inherited_client *client)
{
    const struct listening *listening = listenings_find_heir(&server->listenings, client->place);
    struct shard *shard = &server->group.shards[server->next_shard++ % server->group.count];
    bool is_over = server->state != SERVER_RUNNING && server->state != SERVER_DRAINING;
    if (!listening || listening->is_tcp || listening->identity || is_over)
        close(client->fd);
    else
        (void)passage_end(shard, client->fd, &listening->declaration.entrance, client->is_kept,
                          client->address, client->early); /* it is closed then */
}

static void server_handle_inheritance(struct server *server)
{
    struct inherited_client client;
    while (server->inheritance.fd >= 0 && inheritance_take_client(&server->inheritance, &client))
        server_take_client(server, &client);
}

static void server_handle_time(struct server *server)
{
    uint64_t now_ms = clock_monotonic_ms();
    watchdog_run(&server->watchdog, now_ms);
    if (server->state != SERVER_DRAINING || now_ms < server->drain_until_ms)
        return;
    log_event(LOG_INFO, "drain-over", LOG_NUMBER("shards_busy", server->running - server->group.idle_count));
    server_move(server, SERVER_CLOSING);
}

static int server_wait_ms(const struct server *server)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t wait_ms = watchdog_wait_ms(&server->watchdog, now_ms);
    uint64_t drain_ms = now_ms < server->drain_until_ms ? server->drain_until_ms - now_ms : 0;
    if (server->state == SERVER_DRAINING && drain_ms < wait_ms)
        wait_ms = drain_ms;
    uint64_t succession_ms = succession_wait_ms(&server->succession, now_ms);
    if (succession_ms < wait_ms)
        wait_ms = succession_ms;
    return wait_ms > INT_MAX ? -1 : (int)wait_ms;
}

/* The main thread's loop. */
static void server_loop(struct server *server)
{
    while (server->state != SERVER_LEAVING) {
        struct pollfd waits[] = {{.fd = server->signal_fd, .events = POLLIN},
                                 {.fd = server->mailbox.wake_fd, .events = POLLIN},
                                 {.fd = succession_is_on(&server->succession) ? server->succession.fd : -1,
                                  .events = succession_events(&server->succession)},
                                 {.fd = server->inheritance.fd, .events = POLLIN}};
        bool is_stopping = server->state != SERVER_RUNNING;
        if (is_stopping && server->group.idle_count == server->running)
            server_move(server, SERVER_LEAVING);
        else if (poll(waits, ARRAY_LENGTH(waits), server_wait_ms(server)) > 0)
            server_handle_signals(server);
        mailbox_acknowledge(&server->mailbox);
        mailbox_drain(&server->mailbox);
        server_handle_succession(server);
        server_handle_inheritance(server);
        server_handle_reload(server);
        server_handle_time(server);
    }
    for (unsigned i = 0; i < server->running; i++)
        pthread_join(server->group.shards[i].thread, NULL);
}

/* Every thread inherits the mask, so that signals come to the main thread's loop. */
static int server_catch_signals(struct server *server)
{
    const struct sigaction force = {.sa_handler = server_end_by_force};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGALRM, &force, NULL);
    server->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (server->signal_fd < 0)
        return -errno;
    server->group.home = &server->mailbox;
    return mailbox_init(&server->mailbox);
}

static void server_close(struct server *server)
{
    if (server->group.broker)
        server->group.broker->ops->stop(server->group.broker);
    for (unsigned i = 0; i < server->initialised; i++)
        shard_deinit(&server->group.shards[i]);
    listenings_close(&server->listenings);
    tls_table_deinit();
    sockjs_close();
    auth_keys_unref(server->keys);
    connection_limits_free(server->group.limits);
    rates_free(server->group.rates);
    free(server->group.shards);
    mailbox_deinit(&server->mailbox);
    watchdog_stop(&server->watchdog);
    succession_deinit(&server->succession);
    inheritance_end(&server->inheritance, false);
    notify_close(&server->notify);
    close(server->signal_fd);
}

static int server_open(struct server *server)
{
    static int (*const steps[])(struct server * server) = {
        server_begin_inheriting, server_check_configuration,
        server_load_keys,        server_make_broker,
        server_make_shards,      server_open_sockjs,
        server_listen,           server_drop_privileges,
        server_open_listeners,   server_enter,
        server_log_ready,        server_write_ready_file,
        server_confine,          server_start_shards,
        server_tell_ready,
    };
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(steps); i++)
        status = steps[i](server);
    return status;
}

int server_run(struct configuration *configuration)
{
    const struct options *options = configuration->options;
    struct server server = {.configuration = configuration};
    server.succession = (struct succession){.fd = -1,
                                            .keeper.fd = -1,
                                            .group = &server.group,
                                            .listenings = &server.listenings,
                                            .notify = &server.notify};
    log_set_format((enum log_format)options->log_format);
    log_set_level((enum log_level)options->log_level);
    if (random_init())
        return server_fail(SERVER_EXIT_FAILED, "libsodium", "cannot be initialised");
    table_key_init();
    server_fill_standard_descriptors();
    privileges_give_up_new();
    server.inheritance.fd = keeper_successor();
    keeper_start(&server.succession.keeper, options->user);
    notify_open(&server.notify);
    server_raise_descriptors();
    if (tls_table_init())
        return server_fail(SERVER_EXIT_FAILED, "TLS", "no room for the sessions of all descriptors");
    int err = server_catch_signals(&server);
    if (err)
        return server_fail(SERVER_EXIT_FAILED, "signals", strerror(-err));
    subscribe_set_transports(transports);
    err = router_add(&websocket_commands_route);
    if (err)
        return server_fail(SERVER_EXIT_FAILED, "routes", strerror(-err));
    server.group.handlers = &exchange_cell_handlers;
    server.group.door_handlers = &server_door_handlers;
    server.group.started_ms = clock_monotonic_ms();
    server.group.pass_on = server_pass_on;
    int status = server_open(&server);
    if (status && server.inheritance.fd >= 0 && !server.inheritance.is_server)
        listenings_leave_files(&server.listenings); /* they are still the other process's */
    if (status)
        server_move(&server, SERVER_CLOSING);
    server_loop(&server);
    server_close(&server);
    if (!status)
        log_event(LOG_INFO, "stopped");
    return status;
}
