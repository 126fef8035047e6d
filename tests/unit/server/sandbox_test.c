/* SPDX-License-Identifier: MIT */
#include "server/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

/* A sanitizer makes calls of its own, which the filter forbids. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define UNDER_SANITIZER true
#elif defined __has_feature
#define UNDER_SANITIZER (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define UNDER_SANITIZER false
#endif

/* How a process ends that does this within the sandbox. */
static int end_of(void (*act)(void))
{
    char fault[SANDBOX_FAULT_MAX];
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (sandbox_enter(false, fault))
            _exit(2);
        act();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_dies(void (*act)(void))
{
    int status;
    if (UNDER_SANITIZER)
        skip();
    status = end_of(act);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void assert_lives(void (*act)(void))
{
    int status;
    if (UNDER_SANITIZER)
        skip();
    status = end_of(act);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void execute_a_program(void)
{
    execl("/bin/true", "true", (char *)NULL);
}

static void make_a_process(void)
{
    if (fork() == 0)
        _exit(0);
}

static void trace_a_process(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void signal_another_process(void)
{
    kill(1, 0);
}

static void open_for_writing(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
}

static void make_a_file(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static void remove_a_file(void)
{
    unlink("/nonexistent/file");
}

static void rename_a_file(void)
{
    (void)rename("/nonexistent/file", "/nonexistent/other");
}

static void make_code_writable(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_memory_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void open_a_raw_packet_socket(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd >= 0)
        close(fd);
}

static void change_the_user(void)
{
    (void)!setuid(getuid());
}

static void *do_nothing(void *argument)
{
    return argument;
}

static void make_a_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, do_nothing, NULL) || pthread_join(thread, NULL))
        _exit(1);
}

static void look_up_a_name(void)
{
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", "80", NULL, &found) == 0)
        freeaddrinfo(found);
}

static void read_a_file(void)
{
    char line[64];
    FILE *file = fopen("/proc/self/status", "re");
    if (!file || !fgets(line, sizeof(line), file) || fclose(file))
        _exit(1);
}

static void use_much_memory(void)
{
    for (size_t size = 1; size < 1 << 24; size *= 3) {
        char *memory = malloc(size);
        if (!memory)
            _exit(1);
        memset(memory, 1, size);
        memory = realloc(memory, size * 2);
        free(memory);
    }
}

static void *violate_when_told(void *argument)
{
    pthread_barrier_wait(argument);
    execute_a_program();
    return argument;
}

static void test_older_threads_are_confined_too(void **state)
{
    int status;
    (void)state;
    if (UNDER_SANITIZER)
        skip();
    pid_t child = fork();
    if (child == 0) {
        char fault[SANDBOX_FAULT_MAX];
        pthread_barrier_t gate;
        pthread_t thread;
        pthread_barrier_init(&gate, NULL, 2);
        if (pthread_create(&thread, NULL, violate_when_told, &gate) || sandbox_enter(false, fault))
            _exit(2);
        pthread_barrier_wait(&gate);
        pthread_join(thread, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void test_what_no_server_does_ends_the_process(void **state)
{
    static void (*const acts[])(void) = {
        execute_a_program,      make_a_process,   trace_a_process,
        signal_another_process, open_for_writing, make_a_file,
        remove_a_file,          rename_a_file,    make_code_writable,
        make_memory_executable, change_the_user,  open_a_raw_packet_socket,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        assert_dies(acts[i]);
}

static void test_what_a_server_does_goes_on(void **state)
{
    static void (*const acts[])(void) = {make_a_thread, look_up_a_name, read_a_file, use_much_memory};
    (void)state;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        assert_lives(acts[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_what_no_server_does_ends_the_process),
    cmocka_unit_test(test_what_a_server_does_goes_on),
    cmocka_unit_test(test_older_threads_are_confined_too),
};
UNIT_MAIN(tests)
