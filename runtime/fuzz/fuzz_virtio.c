// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile drivers: an input is a device and what is done to its registers,
 * its rings and the memory they lie in. For libFuzzer (make libfuzzer), and with a loop
 * over random inputs of its own: fuzz_virtio ITERATIONS SEED [FIRST]. With
 * RUMPEL_FUZZ_DEVICE=N in the environment only the Nth kind of set_scene().
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "../tests/fake.h"
#include "../virtio/net_fd.h"
#include "../virtio/net_vnet.h"

#define QUEUES 3
#define RING 16
#define DATA (256u << 10) /* guest memory for buffers */
#define DISK (64u << 10)

struct input {
	const uint8_t *data;
	size_t left;
};

/* A driver of one device. */
struct victim {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queues[QUEUES];
	unsigned int queue_count;
	uint64_t data;
};

struct scene {
	struct victim victims[2];
	unsigned int count;
	int peer; /* of a socket, or -1 */
	bool stream; /* to which each frame goes behind its length */
	int listener; /* for connections of a vsock, or of a switch; or -1 */
	struct rumpel_block_server *server; /* of a disk that we serve, or NULL */
};

static uint8_t u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

static uint32_t u16(struct input *in)
{
	return u8(in) | u8(in) << 8;
}

static uint32_t u32(struct input *in)
{
	return u16(in) | u16(in) << 16;
}

static uint32_t pick_value(struct input *in)
{
	switch (u8(in) % 8) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return ~0u;
	case 3:
		return u32(in);
	default:
		return u8(in);
	}
}

static uint64_t pick_address(struct input *in, const struct victim *v)
{
	uint8_t kind = u8(in);

	switch (kind % 16) {
	case 0:
		return FAKE_MEMORY - u8(in);
	case 1:
		return v->queues[kind >> 4 & 1].desc_pa + u8(in);
	case 2:
		return v->queues[kind >> 4 & 1].used_pa + u8(in);
	case 3:
		return (uint64_t)u32(in) << 32 | u32(in);
	default:
		return v->data + u16(in);
	}
}

static uint32_t pick_len(struct input *in)
{
	static const uint32_t lens[] = { 0, 1, 11, 12, 16, 26, 512, 1514, 4096, 65536, ~0u };
	uint8_t kind = u8(in);

	if (kind & 1)
		return lens[(kind >> 1) % (sizeof(lens) / sizeof(lens[0]))];
	return kind & 2 ? u8(in) : u16(in) % 5000;
}

/* ---- what a driver does ---- */

static void start(struct input *in, struct victim *v)
{
	uint64_t features = ~0ull;

	if (u8(in) & 1)
		features = (uint64_t)u32(in) << 32 | u32(in) | 1ull << VIRTIO_F_VERSION_1;
	driver_negotiate(v->device, driver_offered(v->device) & features);
	for (unsigned int i = 0; i < v->queue_count; i++)
		driver_queue(&v->queues[i], v->device, i, RING);
	driver_ok(v->device);
}

static void poke_register(struct input *in, struct victim *v)
{
	static const uint16_t offsets[] = {
		VIRTIO_MMIO_DEVICE_FEATURES_SEL,
		VIRTIO_MMIO_DRIVER_FEATURES,
		VIRTIO_MMIO_DRIVER_FEATURES_SEL,
		VIRTIO_MMIO_QUEUE_SEL,
		VIRTIO_MMIO_QUEUE_NUM,
		VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_QUEUE_NOTIFY,
		VIRTIO_MMIO_INTERRUPT_ACK,
		VIRTIO_MMIO_STATUS,
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	uint8_t which = u8(in);
	unsigned int offset =
		which & 0x80 ? u16(in) % RUMPEL_MMIO_SIZE : offsets[which % (sizeof(offsets) / 2)];
	unsigned int size = u8(in) % 8 ? 4 : 1 << u8(in) % 4;

	if (u8(in) & 1)
		v->device->ops->mmio_write(v->device, offset, pick_value(in), size);
	else
		v->device->ops->mmio_read(v->device, offset, size);
}

/* Something that a network device takes for the start of a frame, or a source for nothing. */
static void write_header(struct input *in, struct victim *v, uint64_t pa)
{
	uint32_t header[3] = { 0 };

	if (pa - v->data > DATA - sizeof(header))
		return;
	if (u8(in) & 1) {
		header[0] = (u8(in) & 3) | (u8(in) & 0x87) << 8 | u8(in) << 16;
		header[1] = u16(in);
		header[2] = u8(in);
	}
	memcpy(fake_at(v->kernel, pa), header, sizeof(header));
}

/* A request of a disk: header, data, status; most of it makes sense. */
static void add_request(struct input *in, struct victim *v, struct driver_queue *queue)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,	   VIRTIO_BLK_T_FLUSH,
		VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
	};
	uint32_t type = types[u8(in) % 6];
	struct virtio_blk_outhdr header = { .type = type, .sector = u8(in) };
	struct virtio_blk_discard_write_zeroes range = {
		.sector = u8(in),
		.num_sectors = u8(in),
		.flags = !(u8(in) % 4),
	};
	bool ranges = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct driver_buffer buffers[3] = {
		{ v->data + 16 * u8(in), sizeof(header), false },
		{ v->data + 65536 + u16(in), ranges ? sizeof(range) : 512 * (u8(in) % 20), false },
		{ v->data + 8192 + u8(in), 1, true },
	};

	buffers[1].write = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	memcpy(fake_at(v->kernel, buffers[0].pa), &header, sizeof(header));
	if (ranges)
		memcpy(fake_at(v->kernel, buffers[1].pa), &range, sizeof(range));
	if (!(u8(in) % 8))
		buffers[u8(in) % 3].len = pick_len(in);
	driver_add(queue, buffers, 3);
	if (u8(in) & 1)
		driver_kick(queue);
}

/* A packet of a vsock; most of it makes sense. */
static void add_packet(struct input *in, struct victim *v)
{
	static const uint32_t ports[] = { 5, 5, 1u << 30, 9 };
	uint64_t pa = v->data + 64 * u8(in);
	struct virtio_vsock_hdr header = {
		.src_cid = 3,
		.dst_cid = 2,
		.src_port = 5 + u8(in) % 3,
		.dst_port = ports[u8(in) % 4],
		.len = u8(in) & 1 ? pick_len(in) : 0,
		.type = 1 + !(u8(in) % 16),
		.op = u8(in) % 9,
		.flags = u8(in) % 4,
		.buf_alloc = pick_value(in),
		.fwd_cnt = u8(in) & 1 ? u16(in) : 0,
	};
	struct driver_buffer buffers[2] = {
		{ pa, sizeof(header), false },
		{ v->data + u16(in), header.len, false },
	};

	if (!(u8(in) % 16))
		buffers[1].len = pick_len(in);
	memcpy(fake_at(v->kernel, pa), &header, sizeof(header));
	driver_add(&v->queues[1], buffers, 2);
	if (u8(in) & 1)
		driver_kick(&v->queues[1]);
}

static void add_chain(struct input *in, struct victim *v, struct driver_queue *queue)
{
	uint8_t shape = u8(in);
	unsigned int count = 1 + shape % 4;
	struct driver_buffer buffers[4];

	if (v->kernel->next_page + (64 << 10) > FAKE_MEMORY)
		return;
	for (unsigned int i = 0; i < count; i++) {
		buffers[i].pa = pick_address(in, v);
		buffers[i].len = pick_len(in);
		/* Mostly as it should be: of a disk the last is written... */
		buffers[i].write = v->queue_count == 1 ? i + 1 == count : queue->index != 1;
		if (!(u8(in) % 8))
			buffers[i].write = !buffers[i].write;
	}
	write_header(in, v, buffers[0].pa);
	if (shape & 0x40)
		driver_add_indirect(queue, buffers, count);
	else
		driver_add(queue, buffers, count);
	if (shape & 0x80)
		driver_kick(queue);
}

static void poke_ring(struct input *in, struct victim *v, struct driver_queue *queue)
{
	struct vring_desc *desc = &queue->desc[u8(in) % RING];

	switch (u8(in) % 6) {
	case 0:
		desc->addr = pick_address(in, v);
		desc->len = pick_len(in);
		break;
	case 1:
		desc->flags = u8(in);
		break;
	case 2:
		desc->next = u8(in) & 1 ? u8(in) % RING : u16(in);
		break;
	case 3:
		driver_offer(queue, u8(in) % (RING + 1));
		break;
	case 4:
		queue->avail->idx += u8(in) & 1 ? u8(in) % RING : u16(in);
		break;
	case 5:
		queue->avail->flags = u8(in) & 1;
	}
}

static void poke_memory(struct input *in, struct victim *v)
{
	uint64_t pa = pick_address(in, v);

	if (pa < FAKE_MEMORY)
		*(uint8_t *)fake_at(v->kernel, pa) = u8(in);
}

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

static void peer_acts(struct input *in, struct scene *scene)
{
	static char message[70000];
	uint8_t what = u8(in);

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

/* ---- scenes ---- */

static void add_victim(struct input *in, struct scene *scene, struct rumpel_device *device,
		       struct rumpel_kernel *kernel, unsigned int queues)
{
	struct victim *v = &scene->victims[scene->count++];

	v->kernel = kernel ? kernel : fake_kernel(u8(in) & 1);
	v->device = device;
	v->queue_count = queues;
	v->data = fake_pages(v->kernel, DATA);
	fake_attach(v->kernel, device);
	start(in, v);
}

static struct rumpel_device *socket_device(struct scene *scene, uint8_t kind)
{
	int type = kind == 3 ? SOCK_SEQPACKET : kind == 4 ? SOCK_DGRAM : SOCK_STREAM;
	struct rumpel_device *device;
	int fds[2];

	EQUAL(socketpair(AF_UNIX, type, 0, fds), 0);
	if (kind == 5)
		EQUAL(rumpel_console(fds[0], &device), 0);
	else
		EQUAL(rumpel_net_fd(fds[0], NULL, 1500, &device), 0);
	close(fds[0]);
	scene->peer = fds[1];
	return device;
}

/* Frames behind their lengths. */
static struct rumpel_device *stream_device(struct scene *scene)
{
	struct rumpel_device *device;
	int fds[2];

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	EQUAL(rumpel_net_fd(fds[0], NULL, 1500, &device), 0);
	close(fds[0]);
	scene->peer = fds[1];
	scene->stream = true;
	return device;
}

static ssize_t vnet_read(struct net_vnet *vnet, struct iovec *iov, unsigned int count)
{
	ssize_t len = readv(vnet->watch.fd, iov, count);

	return len < 0 ? -errno : len;
}

/* Frames behind headers of virtio's, as those of a TAP or of a packet socket. */
static struct rumpel_device *vnet_device(struct input *in, struct scene *scene)
{
	static const struct net_vnet_ops ops = { .read = vnet_read };
	static const size_t lens[] = { 0, sizeof(struct virtio_net_hdr), RUMPEL_NET_HEADER };
	struct net_vnet *vnet = calloc(1, sizeof(*vnet));
	size_t header_len = lens[u8(in) % 3];
	struct rumpel_device *device;
	int fds[2];

	EQUAL(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
	EQUAL(net_vnet_init(vnet, &ops, fds[0], header_len,
			    header_len ? rumpel_net_offloads(u8(in) & 1) : 0, NULL, 1500, &device),
	      0);
	scene->peer = fds[1];
	return device;
}

/* A port of a switch, which says its end on a connection of its own. */
static struct rumpel_device *vde_device(struct scene *scene)
{
	int data[2], control[2];
	struct net_fd *fd;

	EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, data), 0);
	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, control), 0);
	EQUAL(net_fd_create(data[0], NULL, 1500, &fd), 0);
	fd->local = true;
	fd->control.fd = control[0];
	fd->control.events = POLLIN;
	scene->peer = data[1];
	scene->listener = control[1];
	return &fd->net.virtio.device;
}

static struct rumpel_device *file_device(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct rumpel_device *device;
	char path[32];

	EQUAL(ftruncate(fd, DISK), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EQUAL(rumpel_block_file(path, 0, &device), 0);
	close(fd);
	return device;
}

/* A cable with a mirror at its end. */
static void give_back(void *scene, const struct iovec *frames, size_t count)
{
	struct rumpel_device *device = ((struct scene *)scene)->victims[0].device;

	CHECK(rumpel_net_receive(device, frames, count) >= 0);
}

static struct rumpel_device *overlay_device(void)
{
	int fd = memfd_create("base", MFD_CLOEXEC);
	struct rumpel_overlay *overlay;
	struct rumpel_device *device;
	const char *why;
	char path[32];

	EQUAL(ftruncate(fd, DISK), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EQUAL(rumpel_overlay_open(path, NULL, NULL, &overlay, &why), 0);
	EQUAL(rumpel_block_overlay(overlay, &device), 0);
	rumpel_overlay_free(overlay);
	close(fd);
	return device;
}

/* Serves what there is, some of it badly. */
static void serve(void *argument)
{
	struct scene *scene = argument;
	struct rumpel_block_io ios[8];
	static char data[DISK];
	int count;

	while ((count = rumpel_block_take(scene->server, false, ios, 8)) > 0) {
		for (int i = 0; i < count; i++) {
			bool fits = ios[i].len <= DISK;

			if (fits && ios[i].op == RUMPEL_BLOCK_WRITE)
				rumpel_block_io_data(&ios[i], data);
			rumpel_block_io_end(&ios[i], fits ? data : NULL, i == 3 ? -EIO : 0);
		}
	}
}

static struct rumpel_device *served_device(struct scene *scene)
{
	struct rumpel_device *device;

	EQUAL(rumpel_block_served(DISK, 512, 0, serve, scene, &scene->server, &device), 0);
	return device;
}

static char directory[] = "/tmp/rumpel-fuzz-XXXXXX";

static void remove_directory(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	(void)!system(command);
}

static struct rumpel_device *directory_device(void)
{
	struct rumpel_device *device;
	static bool made;

	if (!made) {
		CHECK(mkdtemp(directory));
		atexit(remove_directory);
		made = true;
	}
	EQUAL(rumpel_host_directory(directory, "tag", 0, 0, &device), 0);
	return device;
}

#define VSOCK_PORT 5
#define VSOCK_CID 3

static struct sockaddr_un vsock_name(const char *suffix)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	/* Abstract, so nothing is left behind. */
	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "rumpel-fuzz-%d%s", getpid(),
		 suffix);
	return name;
}

static socklen_t name_len(const struct sockaddr_un *name)
{
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name->sun_path + 1);
}

/* A program of the host listens, and another one wants a port of the kernel. */
static struct rumpel_device *vsock_device(struct scene *scene)
{
	struct sockaddr_un name = vsock_name("_5");
	struct rumpel_device *device;
	char path[108];

	scene->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	EQUAL(bind(scene->listener, (struct sockaddr *)&name, name_len(&name)), 0);
	EQUAL(listen(scene->listener, 8), 0);
	name = vsock_name("");
	snprintf(path, sizeof(path), "@%s", name.sun_path + 1);
	EQUAL(rumpel_vsock(path, VSOCK_CID, &device), 0);
	scene->peer = socket(AF_UNIX, SOCK_STREAM, 0);
	EQUAL(connect(scene->peer, (struct sockaddr *)&name, name_len(&name)), 0);
	EQUAL(write(scene->peer, "CONNECT 5\n", 10), 10);
	return device;
}

#define KINDS 18

/* The one kind of device to look at, or NULL. */
static const char *only;

static void set_scene(struct input *in, struct scene *scene)
{
	struct rumpel_device *device[2];
	uint8_t kind = (only ? strtoul(only, NULL, 0) : u8(in)) % KINDS;

	*scene = (struct scene){ .peer = -1, .listener = -1 };
	switch (kind) {
	case 0:
		EQUAL(rumpel_block_memory(NULL, DISK, 0, device), 0);
		add_victim(in, scene, device[0], NULL, 1);
		break;
	case 1:
		add_victim(in, scene, file_device(), NULL, 1);
		break;
	case 2:
		EQUAL(rumpel_entropy(device), 0);
		add_victim(in, scene, device[0], NULL, 1);
		break;
	case 3:
	case 4:
	case 5:
		add_victim(in, scene, socket_device(scene, kind), NULL, 2);
		break;
	case 10:
		EQUAL(rumpel_net_callback(give_back, scene, NULL, 0, device), 0);
		add_victim(in, scene, device[0], NULL, 2);
		break;
	case 11:
		add_victim(in, scene, overlay_device(), NULL, 1);
		break;
	case 12:
		add_victim(in, scene, served_device(scene), NULL, 1);
		break;
	case 13:
		add_victim(in, scene, directory_device(), NULL, 2);
		break;
	case 14:
		add_victim(in, scene, vsock_device(scene), NULL, 3);
		break;
	case 15:
		add_victim(in, scene, stream_device(scene), NULL, 2);
		break;
	case 16:
		add_victim(in, scene, vnet_device(in, scene), NULL, 2);
		break;
	case 17:
		add_victim(in, scene, vde_device(scene), NULL, 2);
		break;
	default:
		EQUAL(rumpel_net_link(kind & 1 ? 10000000 : 0, 0, NULL, NULL, device), 0);
		add_victim(in, scene, device[0], NULL, 2);
		add_victim(in, scene, device[1], kind == 6 ? scene->victims[0].kernel : NULL, 2);
	}
}

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

	set_scene(&in, &scene);
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
