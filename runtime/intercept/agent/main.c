// SPDX-License-Identifier: GPL-2.0-only
/*
 * The agent's beginning, which is a program's: what execve does after the point
 * of no return. The stack is the one that the host made, with arguments and
 * environment; scripts get their arguments put before them.
 */
#include "agent.h"

#include <linux/mman.h>
#include <linux/auxvec.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

#include "execute.h"
#include "files.h"
#include "explain.h"
#include "kernel.h"
#include "message.h"
#include "names.h"
#include "policy.h"
#include "program.h"
#include "say.h"

#define EXIT_CANNOT 126
#define EXIT_NOT_FOUND 127
#define COMM_MAX 16

struct message message;

struct start {
	uint64_t *stack; /* argc, argv, NULL, envp, NULL, auxv */
	uint64_t *end; /* after auxv */
	int fd;
	struct elf program, interpreter;
	struct {
		char head[HEAD_SIZE];
		char *interpreter, *argument;
	} scripts[SCRIPT_DEPTH];
};

static _Noreturn void fail(const char *what, int error, const char *reason)
{
	complain(what, error, reason);
	host(__NR_exit_group, error == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT);
	__builtin_unreachable();
}

static uint64_t *find_auxv(uint64_t *stack)
{
	uint64_t *p = stack + 1 + stack[0] + 1;

	while (*p++)
		;
	return p;
}

static uint64_t *auxv_value(uint64_t *stack, uint64_t type)
{
	for (uint64_t *p = find_auxv(stack); *p != AT_NULL; p += 2)
		if (*p == type)
			return p + 1;
	return NULL;
}

/* The agent's own descriptor: what execveat of a descriptor calls the file. */
static int own_fd(uint64_t *stack)
{
	const char *name = (const char *)*auxv_value(stack, AT_EXECFN);
	int fd = 0;

	if (memcmp(name, "/dev/fd/", 8))
		return -1;
	for (name += 8; *name >= '0' && *name <= '9'; name++)
		fd = fd * 10 + (*name - '0');
	return *name ? -1 : fd;
}

static int receive(uint64_t *stack)
{
	int fd = own_fd(stack);
	long got;

	if (fd < 0)
		fail("rumpel-agent", 0, "this is started by rumpel run");
	got = host(__NR_pread64, fd + FD_MESSAGE, &message, sizeof(message), 0);
	if (got != sizeof(message) || message.magic != MESSAGE_MAGIC ||
	    message.version != MESSAGE_VERSION || message.path[PATH_MAX - 1] ||
	    message.rules[RULES_MAX - 1])
		fail("rumpel-agent", 0, "this is started by rumpel run");
	seccomp_traps = message.flags & (FLAG_SECCOMP | FLAG_FILTERED);
	return fd;
}

/* Put n words before the first argument, and take that away if there is one. */
static void put_before(struct start *s, const char *const words[], int n)
{
	int drop = s->stack[0] ? 1 : 0;
	uint64_t *stack = s->stack - (n - drop + 1) / 2 * 2; /* it stays aligned to 16 */
	uint64_t argc = s->stack[0] - drop + n;
	size_t rest = s->end - (s->stack + 1 + drop);
	uint64_t *from = s->stack + 1 + drop;

	memmove(stack + 1 + n, from, rest * sizeof(*from));
	for (int i = 0; i < n; i++)
		stack[1 + i] = (uint64_t)words[i];
	stack[0] = argc;
	s->end = stack + 1 + n + rest;
	s->stack = stack;
}

/* Go from scripts to what interprets them. */
static void resolve(struct start *s)
{
	const char *path = message.path;

	for (int depth = 0;; depth++) {
		const char *words[3];
		int n = 0, error, fd;

		if (depth == SCRIPT_DEPTH)
			fail(message.path, -ELOOP, NULL);
		error = program_head(s->fd, s->scripts[depth].head);
		if (!error)
			error = program_script(s->scripts[depth].head,
					       &s->scripts[depth].interpreter,
					       &s->scripts[depth].argument);
		if (error < 0)
			fail(path, error, NULL);
		if (!error)
			return;
		words[n++] = s->scripts[depth].interpreter;
		if (s->scripts[depth].argument)
			words[n++] = s->scripts[depth].argument;
		words[n++] = path;
		put_before(s, words, n);
		path = s->scripts[depth].interpreter;
		fd = program_open(AT_FDCWD, path, 0);
		if (fd < 0)
			fail(path, fd, program_refusal(fd));
		host(__NR_close, s->fd);
		s->fd = fd;
	}
}

static void map(struct start *s)
{
	int error = elf_read(s->fd, &s->program), fd;

	if (!error)
		error = elf_map(s->fd, &s->program);
	if (error)
		fail(message.path, error, NULL);
	if (s->program.interpreter[0]) {
		fd = program_open(AT_FDCWD, s->program.interpreter, 0);
		if (fd < 0)
			fail(s->program.interpreter, fd, program_refusal(fd));
		error = elf_read(fd, &s->interpreter);
		/* It is placed by the host, as those without an interpreter are. */
		s->interpreter.interpreter[0] = 0;
		if (!error)
			error = elf_map(fd, &s->interpreter);
		if (error)
			fail(s->program.interpreter, error, NULL);
		host(__NR_close, fd);
	}
	if (elf_wants_executable_stack(&s->program))
		host(__NR_mprotect, (uint64_t)s->stack & -PAGE, PAGE,
		     PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
}

static void set_auxv(struct start *s)
{
	const struct {
		uint64_t type, value;
	} values[] = {
		{ AT_PHDR, s->program.phdr },
		{ AT_PHENT, sizeof(Elf64_Phdr) },
		{ AT_PHNUM, s->program.header.e_phnum },
		{ AT_BASE, s->interpreter.bias },
		{ AT_ENTRY, s->program.entry },
		{ AT_EXECFN, (uint64_t)message.path },
	};
	uint64_t *auxv = find_auxv(s->stack);

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint64_t *value = auxv_value(s->stack, values[i].type);

		if (value)
			*value = values[i].value;
	}
	/* For debuggers; only the mighty may. */
	host(__NR_prctl, PR_SET_MM, PR_SET_MM_AUXV, auxv, (char *)s->end - (char *)auxv, 0);
}

static void set_comm(void)
{
	const char *name = message.path;

	for (const char *p = name; *p; p++)
		if (*p == '/' && p[1])
			name = p + 1;
	host(__NR_prctl, PR_SET_NAME, name, 0, 0, 0);
}

/* Only where it begins: later they are ignored if the program wants it. */
static void forget_python(void)
{
	struct action reset = { 0 };

	if (message.flags & FLAG_PYTHON) {
		host(__NR_rt_sigaction, SIGPIPE, &reset, 0, sizeof(mask_t));
		host(__NR_rt_sigaction, SIGXFSZ, &reset, 0, sizeof(mask_t));
	}
	message.flags &= ~(uint32_t)FLAG_PYTHON;
}

/* The rest, on the thread's stack: from here on a signal may come that is put off until it leaves. */
static void enter(struct thread *t)
{
	int error;

	thread_install(t);
	signals_begin();
	if (kernel_present) {
		error = kernel_attach(t);
		if (error)
			fail("the library kernel", error, NULL);
	}
	error = trap_calls(!(message.flags & FLAG_FILTERED));
	if (error)
		fail("this host has neither syscall user dispatch nor seccomp", error, NULL);
	if (seccomp_traps)
		message.flags |= FLAG_FILTERED;
	if (kernel_present)
		kernel_attached(t);
	agent_resume(t);
}

_Noreturn void agent_main(uint64_t *stack)
{
	static struct start s;
	struct thread *t;
	int agent_fd = receive(stack);

	forget_python();
	s.stack = stack;
	for (s.end = find_auxv(stack); *s.end != AT_NULL; s.end += 2)
		;
	s.end += 2;
	s.fd = agent_fd + FD_PROGRAM;
	if (host(__NR_fcntl, s.fd, F_GETFD) < 0)
		s.fd = program_open(AT_FDCWD, message.path, 0);
	if (s.fd < 0)
		fail(message.path, s.fd, program_refusal(s.fd));
	resolve(&s);
	map(&s);
	names_begin(s.fd);
	if (s.fd != agent_fd + FD_PROGRAM)
		host(__NR_close, s.fd);
	set_auxv(&s);
	set_comm();

	t = thread_new();
	if (t) {
		t->signals = map_pages(sizeof(*t->signals));
		t->files = files_new(agent_fd);
	}
	if (!t || !t->signals || !t->files)
		fail(message.path, -ENOMEM, NULL);
	kernel_begin(message.kernel_fds);
	files_receive(t->files, agent_fd + FD_MESSAGE, message.owned_count);
	t->files->inside = message.flags & FLAG_INSIDE;
	files_reserve(t->files, FD_MESSAGE);
	files_reserve(t->files, FD_PROGRAM);
	if (host(__NR_fcntl, agent_fd + FD_EXPLAIN, F_GETFD) < 0)
		files_reserve(t->files, FD_EXPLAIN);
	if (policy_begin())
		host(__NR_exit_group, EXIT_CANNOT);
	explain_begin();
	t->regs.rip = s.program.interpreter[0] ? s.interpreter.entry : s.program.entry;
	t->regs.rsp = (uint64_t)s.stack;
	agent_on_stack(t, enter);
}
