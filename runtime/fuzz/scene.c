// SPDX-License-Identifier: GPL-2.0-only
/* Hostile drivers: the devices, each with somebody at its other end. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "../virtio/net_fd.h"
#include "../virtio/net_vnet.h"

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

/* Frames in memory that both ends have. */
static struct rumpel_device *shared_device(struct scene *scene)
{
	struct rumpel_pipe config = { .read = RUMPEL_PACKETS_VIRTIO,
				      .write = RUMPEL_PACKETS_VIRTIO,
				      .events = -1,
				      .report = -1 };
	struct rumpel_device *device;
	int fds[2];

	config.shared = memfd_create("shared", MFD_CLOEXEC);
	EQUAL(net_shared_open(&scene->shared, config.shared, true), 0);
	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	config.in = config.out = fds[0];
	EQUAL(rumpel_net_pipe(&config, NULL, 1500, &device), 0);
	close(fds[0]);
	close(config.shared);
	scene->peer = fds[1];
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
void serve(void *argument)
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

#define KINDS 19

void set_scene(struct input *in, struct scene *scene, const char *only)
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
	case 18:
		add_victim(in, scene, shared_device(scene), NULL, 2);
		break;
	default:
		EQUAL(rumpel_net_link(kind & 1 ? 10000000 : 0, 0, NULL, NULL, device), 0);
		add_victim(in, scene, device[0], NULL, 2);
		add_victim(in, scene, device[1], kind == 6 ? scene->victims[0].kernel : NULL, 2);
	}
}
