// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile drivers: an input is a device and what is done to its registers,
 * its rings and the memory they lie in. For libFuzzer (make libfuzzer), and with a loop
 * over random inputs of its own: fuzz_virtio ITERATIONS SEED [FIRST]. With
 * RUMPEL_FUZZ_DEVICE=N in the environment only the Nth kind of set_scene().
 */
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "../virtio/net.h"

/* Something that is mostly a frame: what comes before it may be anything. */
static size_t make_message(struct input *in, const struct scene *scene, char *message, size_t size)
{
	uint8_t how = u8(in);
	size_t len = pick_len(in) % size;
	uint32_t prefix = htonl(len - sizeof(prefix));

	for (size_t i = 0; how & 1 && i < sizeof(struct virtio_net_hdr_v1); i++)
		message[i] = u8(in);
	if (scene->stream && how & 6)
		memcpy(message, &prefix, sizeof(prefix));
	return len;
}

/* Words of what both ends have: the heads of both halves, and where rings begin. */
static void poke_shared(struct input *in, struct scene *scene)
{
	static const size_t begins[] = { 0, 0, 0, 4096 };
	uint8_t what = u8(in);
	char *half = (char *)(what & 1 ? scene->shared.in : scene->shared.out);
	uint32_t *words = (uint32_t *)(half + begins[what >> 1 & 3]);

	words[u8(in)] = pick_value(in);
}

/* Frames and their takers as they should be, some of them of odd lengths. */
static void share_frames(struct input *in, struct scene *scene, char *message, size_t size)
{
	struct iovec iov = { message, make_message(in, scene, message, size) };
	const char *bytes;
	uint32_t len;

	net_shared_put(&scene->shared, &iov, 1, iov.iov_len);
	net_shared_publish(&scene->shared);
	while (u8(in) & 1 && net_shared_find(&scene->shared, &bytes, &len) == NET_SHARED_FRAME)
		net_shared_take(&scene->shared);
	net_shared_wait_for_frames(&scene->shared);
}

static void peer_acts(struct input *in, struct scene *scene)
{
	static char message[70000];
	uint8_t what = u8(in);

	if (scene->shared.halves && what & 1)
		poke_shared(in, scene);
	else if (scene->shared.halves)
		share_frames(in, scene, message, sizeof(message));
	if (scene->peer < 0)
		return;
	if (what < 120) {
		(void)!send(scene->peer, message, make_message(in, scene, message, sizeof(message)),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (what < 250) {
		while (recv(scene->peer, message, sizeof(message), MSG_DONTWAIT) > 0)
			;
	} else {
		close(scene->peer);
		scene->peer = -1;
		if (scene->listener >= 0)
			close(scene->listener);
		scene->listener = -1;
	}
}

static void act(struct input *in, struct scene *scene)
{
	uint8_t what = u8(in);
	struct victim *v = &scene->victims[(what >> 7) % scene->count];
	struct driver_queue *queue = &v->queues[(what >> 5 & 3) % v->queue_count];

	if (!v->device)
		return;
	switch (what % 16) {
	case 0:
		poke_register(in, v);
		break;
	case 1:
		poke_ring(in, v, queue);
		break;
	case 2:
		poke_memory(in, v);
		break;
	case 3:
		peer_acts(in, scene);
		break;
	case 4:
		fake_jobs(v->kernel);
		break;
	case 5:
		fake_advance(v->kernel, u8(in) * 10000000ull);
		break;
	case 6:
		if (!(u8(in) % 4))
			start(in, v);
		break;
	case 7:
		/* The whole kernel goes. */
		if (u8(in) % 16)
			break;
		fake_jobs(v->kernel);
		fake_detach(v->kernel, v->device);
		rumpel_device_free(v->device);
		v->device = NULL;
		break;
	case 8:
	case 9:
		driver_kick(queue);
		fake_run(v->kernel);
		break;
	case 10:
	case 11:
		if (v->queue_count == 1) {
			add_request(in, v, queue);
			break;
		}
		if (v->queue_count == QUEUES) {
			add_packet(in, v);
			break;
		}
		/* fall through */
	default:
		add_chain(in, v, queue);
	}
}

/* The one kind of device to look at, or NULL. */
static const char *only;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	only = getenv("RUMPEL_FUZZ_DEVICE");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct scene scene;

	set_scene(&in, &scene, only);
	while (in.left)
		act(&in, &scene);
	for (unsigned int i = 0; i < scene.count; i++) {
		struct victim *v = &scene.victims[i];

		fake_run(v->kernel);
		fake_jobs(v->kernel);
	}
	if (scene.server)
		serve(&scene);
	if (scene.count > 1 && scene.victims[1].kernel != scene.victims[0].kernel)
		fake_kernel_free(scene.victims[1].kernel);
	fake_kernel_free(scene.victims[0].kernel);
	if (scene.peer >= 0)
		close(scene.peer);
	if (scene.listener >= 0)
		close(scene.listener);
	rumpel_block_server_free(scene.server);
	net_shared_close(&scene.shared);
	return 0;
}

/* ---- random inputs ---- */

#ifndef RUMPEL_LIBFUZZER

#define INPUT_MAX 1024
#define INPUT_SECONDS 20

static unsigned long current, seed;

/* Every failure ends here, to say which input it was. */
static void failed(int number)
{
	char text[100];
	int len = snprintf(text, sizeof(text), "%s: fuzz_virtio 1 %lu %lu\n",
			   number == SIGALRM ? "hangs" : "fails", seed, current);

	(void)!write(STDERR_FILENO, text, len);
	signal(SIGABRT, SIG_DFL);
	abort();
}

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "abort_on_error=1:quarantine_size_mb=16";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

/* xorshift64* (Vigna 2016). */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static void run_input(void)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (current + 1) * 0xd1342543de82ef95ull;
	uint8_t data[INPUT_MAX];
	size_t size;

	for (int i = 0; i < 4; i++)
		next_random(&state);
	size = 16 + next_random(&state) % (INPUT_MAX - 16);
	for (size_t i = 0; i < size; i++)
		data[i] = next_random(&state) >> 56;
	alarm(INPUT_SECONDS);
	LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;

	seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	current = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	LLVMFuzzerInitialize(&argc, &argv);
	signal(SIGABRT, failed);
	signal(SIGALRM, failed);
	for (; count; count--, current++)
		run_input();
	alarm(0);
	return 0;
}

#endif
