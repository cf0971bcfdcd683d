// SPDX-License-Identifier: GPL-2.0-only
/* Memory of the kernel's that processes map: aliases (vmalloc), mmap. */
#include "guest.h"

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/prctl.h>

static const struct sockaddr_in server = { .sin_family = AF_INET,
					   .sin_port = 0x5000, /* 80 */
					   .sin_addr.s_addr = 0x0100007f };

/* ---- memory that is mapped twice: programs of socket filters lie in the vmalloc range ---- */

/* So long that addresses are soon used again. */
#define INSTRUCTIONS 4000

/* Lets packets pass that begin with `byte`. */
static void set_filter(long fd, unsigned char byte)
{
	static const struct sock_filter end[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), /* behind the UDP header */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	static struct sock_filter code[INSTRUCTIONS];
	struct sock_fprog program = { .len = INSTRUCTIONS, .filter = code };

	for (int i = 0; i < INSTRUCTIONS - 4; i++)
		code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
	memcpy(code + INSTRUCTIONS - 4, end, sizeof(end));
	code[INSTRUCTIONS - 3].k = byte;
	EQUAL(call(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, ptr(&program),
		   sizeof(program)),
	      0);
}

static void filters(void *argument)
{
	long fd = call(SYS_socket, AF_INET, SOCK_DGRAM, 0);
	int turn[2], back[2];
	pid_t child;
	char byte;

	(void)argument;
	EQUAL(call(SYS_bind, fd, ptr(&server), sizeof(server)), 0);
	EQUAL(call(SYS_pipe, ptr(turn)), 0);
	EQUAL(call(SYS_pipe, ptr(back)), 0);
	child = fork_attached();
	/* The two set it in turns, and both send: what passes is what was set last. */
	for (int i = 0; i < 1500; i++) {
		unsigned char wanted = (unsigned char)(i + 1), other = (unsigned char)i;
		bool mine = i % 2 == !child;

		if (mine)
			set_filter(fd, wanted);
		for (int side = 0; side < 2; side++) {
			if ((side == 0) != mine) {
				EQUAL(call(SYS_read, child ? back[0] : turn[0], ptr(&byte), 1), 1);
				continue;
			}
			EQUAL(call(SYS_sendto, fd, ptr(&other), 1, 0, ptr(&server), sizeof(server)),
			      1);
			EQUAL(call(SYS_sendto, fd, ptr(&wanted), 1, 0, ptr(&server),
				   sizeof(server)),
			      1);
			EQUAL(call(SYS_recvfrom, fd, ptr(&byte), 1, MSG_DONTWAIT, 0, 0), 1);
			EQUAL((unsigned char)byte, wanted);
			EQUAL(call(SYS_recvfrom, fd, ptr(&byte), 1, MSG_DONTWAIT, 0, 0), -EAGAIN);
			EQUAL(call(SYS_write, child ? turn[1] : back[1], ptr("x"), 1), 1);
		}
	}
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void aliases(void)
{
	in_guest(filters);
}

/* ---- mmap ---- */

static void touch_mappings(void *argument)
{
	struct tpacket_req ring = {
		.tp_block_size = 4096, .tp_block_nr = 16, .tp_frame_size = 2048, .tp_frame_nr = 32
	};
	long fd = call(SYS_socket, AF_PACKET, SOCK_RAW, 0), at;
	volatile unsigned int *words;
	int turn[2], back[2];
	pid_t child;
	char byte;

	(void)argument;
	CHECK(fd >= 0);
	EQUAL(call(SYS_setsockopt, fd, SOL_PACKET, PACKET_RX_RING, ptr(&ring), sizeof(ring)), 0);
	at = call(SYS_mmap, 0, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at > 0);
	words = (volatile unsigned int *)at;
	EQUAL(call(SYS_pipe, ptr(turn)), 0);
	EQUAL(call(SYS_pipe, ptr(back)), 0);
	for (int page = 0; page < 16; page++)
		words[page * 1024 + 100] = page;
	child = fork_attached();
	if (child) {
		for (int page = 0; page < 16; page++)
			words[page * 1024 + 200] = page + 50;
		EQUAL(call(SYS_write, turn[1], ptr("x"), 1), 1);
		EQUAL(call(SYS_read, back[0], ptr(&byte), 1), 1);
	} else {
		EQUAL(call(SYS_read, turn[0], ptr(&byte), 1), 1);
		for (int page = 0; page < 16; page++) {
			EQUAL(words[page * 1024 + 100], page);
			EQUAL(words[page * 1024 + 200], page + 50);
		}
		/* A page of the ring as a buffer. */
		EQUAL(call(SYS_write, back[1], at + 400, 1), 1);
		EQUAL(call(SYS_munmap, at, 16 * 4096), 0);
		leave(0);
	}
	expect_status(child, 0);
}

static void mappings(void)
{
	in_guest(touch_mappings);
}

/* ---- a file that two processes map ---- */

#define FILE_SIZE (1l << 20)

struct moments {
	volatile int mapped, changed, seen;
	bool opens_nothing; /* who replaces, on the host */
};

static long open_file(void)
{
	long fd = call(SYS_open, ptr("/mapped"), O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	return fd;
}

static volatile char *map_file(void)
{
	long fd = open_file(), at;

	EQUAL(call(SYS_ftruncate, fd, FILE_SIZE), 0);
	at = call(SYS_mmap, 0, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at > 0);
	EQUAL(call(SYS_close, fd), 0);
	return (volatile char *)at;
}

static void set_all(volatile char *file, char value)
{
	for (long i = 0; i < FILE_SIZE; i += 4096)
		file[i] = value;
}

static bool has_all(const volatile char *file, char value)
{
	for (long i = 0; i < FILE_SIZE; i += 4096)
		if (file[i] != value)
			return false;
	return true;
}

/* It makes no call of the kernel's between its looks. */
static void compute(void *argument)
{
	struct moments *moments = argument;
	volatile char *file = map_file();

	set_all(file, 'a');
	moments->mapped = 1;
	wait_until(&moments->changed);
	CHECK(has_all(file, 'b'));
	set_all(file, 'c');
	moments->seen = 1;
}

static void forbid_open(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* The old pages go back to the kernel, others come in their place. */
static void replace(void *argument)
{
	static char text[FILE_SIZE];
	struct moments *moments = argument;
	long fd = open_file(), other = call(SYS_open, ptr("/other"), O_RDWR | O_CREAT, 0600);

	if (moments->opens_nothing)
		forbid_open();
	EQUAL(call(SYS_ftruncate, fd, 0), 0);
	memset(text, 'x', FILE_SIZE);
	for (int i = 0; i < 4; i++)
		EQUAL(call(SYS_pwrite64, other, ptr(text), FILE_SIZE, i * FILE_SIZE), FILE_SIZE);
	memset(text, 'b', FILE_SIZE);
	EQUAL(call(SYS_pwrite64, fd, ptr(text), FILE_SIZE, 0), FILE_SIZE);
	moments->changed = 1;
	wait_until(&moments->seen);
	EQUAL(call(SYS_pread64, fd, ptr(text), FILE_SIZE, 0), FILE_SIZE);
	CHECK(has_all(text, 'c'));
	for (int i = 0; i < 4; i++) {
		EQUAL(call(SYS_pread64, other, ptr(text), FILE_SIZE, i * FILE_SIZE), FILE_SIZE);
		CHECK(has_all(text, 'x'));
	}
}

static void taken_away(void)
{
	struct guest guest = guest_start(NULL);
	struct moments *moments = share_page();
	pid_t pid = spawn(compute, moments);

	wait_until(&moments->mapped);
	expect_status(spawn(replace, moments), 0);
	expect_status(pid, 0);
	guest_end(&guest, 0);
}

/*
 * It is stopped meanwhile: nobody waits for it, and it sees what there is afterwards. What the
 * other one is, is not looked up in the program's descriptors.
 */
static void taken_from_stopped(void)
{
	struct guest guest = guest_start(NULL);
	struct moments *moments = share_page();
	pid_t pid = spawn(compute, moments), other;
	int status;

	moments->opens_nothing = true;
	wait_until(&moments->mapped);
	kill(pid, SIGSTOP);
	EQUAL(waitpid(pid, &status, WUNTRACED), pid);
	other = spawn(replace, moments);
	wait_until(&moments->changed);
	kill(pid, SIGCONT);
	expect_status(other, 0);
	expect_status(pid, 0);
	guest_end(&guest, 0);
}

/* Both keep the page: neither takes it from the other. */
static void write_in_turns(void *argument)
{
	volatile char *file = map_file();
	volatile int *turn = share_page();
	pid_t child = fork_attached();
	int before;

	(void)argument;
	file[0] = 0;
	before = faults;
	for (int i = 0; i < 200; i++) {
		while (*turn % 2 != !child)
			usleep(10);
		file[0]++;
		++*turn;
	}
	CHECK(faults - before < 10);
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void shared_page(void)
{
	in_guest(write_in_turns);
}

/* What a relative has since a fork is neither replaced nor moved, until it lets go of it. */
static void replace_a_relatives(void *argument)
{
	volatile char *file = map_file();
	long at = (long)file, other;
	volatile int *over = share_page();
	pid_t child;

	(void)argument;
	set_all(file, 'a');
	child = fork_attached();
	if (!child) {
		wait_until(over);
		leave(has_all(file, 'a') ? 0 : 1);
	}
	other = call(SYS_open, ptr("/replacing"), O_RDWR | O_CREAT, 0600);
	EQUAL(call(SYS_ftruncate, other, FILE_SIZE), 0);
	EQUAL(call(SYS_mmap, at, FILE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0), -ENOMEM);
	EQUAL(call(SYS_mremap, at, FILE_SIZE, 2 * FILE_SIZE, MREMAP_MAYMOVE), -ENOMEM);
	CHECK(has_all(file, 'a'));
	*over = 1;
	expect_status(child, 0);
	/* The keeper has to hear of it. */
	for (int i = 0; i < 500; i++) {
		if (call(SYS_mmap, at, FILE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) ==
		    at)
			break;
		usleep(10000);
	}
	CHECK(has_all(file, 0));
}

static void of_a_relative(void)
{
	in_guest(replace_a_relatives);
}

/* How many ranges of memory pid 1 has, which all processes' mappings are. */
static int count_ranges(void)
{
	static char text[64 << 10];
	long fd = call(SYS_open, ptr("/proc/1/maps"), O_RDONLY, 0), got;
	int lines = 0;

	CHECK(fd >= 0);
	while ((got = call(SYS_read, fd, ptr(text), sizeof(text))) > 0)
		for (long i = 0; i < got; i++)
			lines += text[i] == '\n';
	EQUAL(call(SYS_close, fd), 0);
	return lines;
}

static void map_and_die(void *argument)
{
	volatile char *file = map_file();
	pid_t child = fork_attached();

	set_all(file, 'a');
	if (!child) {
		/* Its parent's stays. */
		EQUAL(call(SYS_munmap, ptr(file) + 4096, FILE_SIZE - 8192), 0);
		leave(0);
	}
	expect_status(child, 0);
	CHECK(has_all(file, 'a'));
	if (argument)
		kill(getpid(), SIGKILL);
}

static void leave_nothing(void *argument)
{
	struct moments *moments = argument;
	int before = count_ranges(), now = -1;

	moments->mapped = 1;
	wait_until(&moments->changed);
	/* The keeper has to hear of it. */
	for (int i = 0; i < 500 && now != before; i++) {
		usleep(10000);
		now = count_ranges();
	}
	EQUAL(now, before);
}

static void of_the_dead(void)
{
	struct guest guest = guest_start(NULL);
	struct moments *moments = share_page();
	pid_t counter = spawn(leave_nothing, moments);

	wait_until(&moments->mapped);
	for (uintptr_t i = 0; i < 6; i++)
		expect_status(spawn(map_and_die, (void *)(i % 2)), i % 2 ? SIGKILL : 0);
	moments->changed = 1;
	expect_status(counter, 0);
	guest_end(&guest, 0);
}

static const struct test tests[] = {
	{ aliases, "memory that is mapped twice is so in all processes" },
	{ mappings, "mappings are the same in all processes" },
	{ taken_away, "pages that are taken away are so from those who only compute" },
	{ taken_from_stopped, "and from those who are stopped" },
	{ shared_page, "two processes with one mapping keep its pages" },
	{ of_a_relative, "what a relative has is not replaced" },
	{ of_the_dead, "mappings go with their processes, the last that has them" },
};

TEST_MAIN(tests)
