// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program of XDP that leads a queue's frames to a socket: bpf(2),
 * Documentation/networking/af_xdp.rst. It is held by a link, which is a descriptor: when
 * that is closed, be it by the end of the process, the host has its frames back.
 */
#define _GNU_SOURCE
#include "net_xdp.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

/* Descriptors that bpf() makes are closed by exec. */
static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	long result = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return result < 0 ? -errno : (int)result;
}

static int make_map(unsigned int queue)
{
	union bpf_attr attr = { 0 };

	attr.map_type = BPF_MAP_TYPE_XSKMAP;
	attr.key_size = attr.value_size = sizeof(uint32_t);
	attr.max_entries = queue + 1;
	return bpf(BPF_MAP_CREATE, &attr);
}

/* return bpf_redirect_map(map, ctx->rx_queue_index, XDP_PASS): that, where the map has nobody. */
static int load_program(int map)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_LDX | BPF_W | BPF_MEM,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_1,
		  .off = offsetof(struct xdp_md, rx_queue_index) },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ 0 }, /* the upper half of that */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = { 0 };

	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.expected_attach_type = BPF_XDP;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = sizeof(code) / sizeof(*code);
	attr.license = (uintptr_t) "GPL";
	return bpf(BPF_PROG_LOAD, &attr);
}

static int link_program(int program, int index, uint32_t mode)
{
	union bpf_attr attr = { 0 };
	int result;

	attr.link_create.prog_fd = program;
	attr.link_create.target_ifindex = index;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = mode;
	result = bpf(BPF_LINK_CREATE, &attr);
	/* One of the other mode is there. */
	return result == -EEXIST ? -EBUSY : result;
}

int net_xdp_attach(struct net_xdp_program *program, int index, unsigned int queue, bool generic)
{
	int code, error;

	program->link = -1;
	program->map = make_map(queue);
	if (program->map < 0)
		return program->map;
	code = load_program(program->map);
	if (code < 0)
		return code;
	error = generic ? -EOPNOTSUPP : link_program(code, index, XDP_FLAGS_DRV_MODE);
	program->native = error >= 0;
	/* The driver cannot, or not with this MTU or that many queues: the stack can. */
	if (error < 0 && error != -EBUSY && error != -EPERM && error != -ENODEV)
		error = link_program(code, index, XDP_FLAGS_SKB_MODE);
	close(code);
	if (error < 0)
		return error;
	program->link = error;
	return 0;
}

int net_xdp_lead(struct net_xdp_program *program, unsigned int queue, int fd)
{
	union bpf_attr attr = { 0 };
	uint32_t key = queue, value = fd;

	attr.map_fd = program->map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

void net_xdp_detach(struct net_xdp_program *program)
{
	if (program->link >= 0)
		close(program->link);
	if (program->map >= 0)
		close(program->map);
	program->link = program->map = -1;
}
