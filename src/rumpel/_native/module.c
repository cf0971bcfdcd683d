// SPDX-License-Identifier: GPL-2.0-only
/* The module: its state belongs to one interpreter. */
#include "native.h"

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
	PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);

	if (type && PyModule_AddType(module, type) < 0)
		Py_CLEAR(type);
	return type;
}

static int add_constants(PyObject *module)
{
	static const struct {
		const char *name;
		long value;
	} constants[] = {
		{ "PLAIN", SHAPE_PLAIN },
		{ "READ", SHAPE_READ },
		{ "WRITE", SHAPE_WRITE },
		{ "READINTO", SHAPE_READINTO },
		{ "LONG", CALL_LONG },
		{ "VOID", CALL_VOID },
		{ "NUMBERS", CALL_NUMBERS },
		{ "NO_HOUSEKEEPER", RUMPEL_BOOT_NO_HOUSEKEEPER },
		{ "READ_ONLY", RUMPEL_BLOCK_READ_ONLY },
		{ "CAPTURE_PCAPNG", RUMPEL_CAPTURE_PCAPNG },
		{ "UNIX_LISTEN", RUMPEL_UNIX_LISTEN },
		{ "PACKETS_ANY", RUMPEL_PACKETS_ANY },
		{ "PACKETS_TEXT", RUMPEL_PACKETS_TEXT },
		{ "PACKETS_PCAP", RUMPEL_PACKETS_PCAP },
		{ "PACKETS_PCAPNG", RUMPEL_PACKETS_PCAPNG },
		{ "PACKETS_VIRTIO", RUMPEL_PACKETS_VIRTIO },
		{ "NO_OFFLOADS", RUMPEL_NET_NO_OFFLOADS },
		{ "XDP_GENERIC", RUMPEL_NET_XDP_GENERIC },
		{ "TAP_PERSIST", RUMPEL_TAP_PERSIST },
		{ "NO_DISCARD", RUMPEL_BLOCK_NO_DISCARD },
		{ "DIRECTORY_READ_ONLY", RUMPEL_DIRECTORY_READ_ONLY },
		{ "BLOCK_READ", RUMPEL_BLOCK_READ },
		{ "BLOCK_WRITE", RUMPEL_BLOCK_WRITE },
		{ "BLOCK_FLUSH", RUMPEL_BLOCK_FLUSH },
		{ "BLOCK_DISCARD", RUMPEL_BLOCK_DISCARD },
		{ "BLOCK_ZERO", RUMPEL_BLOCK_ZERO },
	};
	size_t i;

	for (i = 0; i < sizeof(constants) / sizeof(*constants); i++)
		if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
			return -1;
	return 0;
}

static int native_exec(PyObject *module)
{
	struct native_state *state = PyModule_GetState(module);
	struct {
		PyTypeObject **type;
		PyType_Spec *spec;
	} types[] = {
		{ &state->kernel_type, &kernel_spec },
		{ &state->task_type, &task_spec },
		{ &state->call_type, &call_spec },
		{ &state->pending_type, &pending_spec },
		{ &state->slot_type, &slot_spec },
		{ &state->clock_type, &clock_spec },
		{ &state->device_type, &device_spec },
		{ &state->vector_type, &vector_spec },
		{ &state->usernet_type, &usernet_spec },
		{ &state->overlay_type, &overlay_spec },
		{ &state->server_type, &server_spec },
		{ &state->io_type, &io_spec },
		{ &state->mapping_type, &mapping_spec },
		{ &state->fuse_server_type, &fuse_server_spec },
		{ &state->fuse_node_type, &fuse_node_spec },
		{ &state->packet_type, &packet_spec },
		{ &state->packet_reader_type, &packet_reader_spec },
	};
	size_t i;

	state->errors = PyImport_ImportModule("rumpel.errors");
	if (!state->errors)
		return -1;
	state->slots_key = PyUnicode_FromString("rumpel._native.slots");
	if (!state->slots_key)
		return -1;
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		*types[i].type = add_type(module, types[i].spec);
		if (!*types[i].type)
			return -1;
	}
	for (i = 0; i < NATIVE_HEADERS; i++) {
		state->header_types[i] = add_type(module, &header_specs[i]);
		if (!state->header_types[i])
			return -1;
	}
	if (PyModule_AddFunctions(module, block_functions) < 0 ||
	    PyModule_AddFunctions(module, net_functions) < 0 ||
	    PyModule_AddFunctions(module, pipe_functions) < 0 ||
	    PyModule_AddFunctions(module, fork_functions) < 0 ||
	    PyModule_AddFunctions(module, packets_functions) < 0 ||
	    PyModule_AddFunctions(module, confine_functions) < 0 ||
	    PyModule_AddFunctions(module, files_functions) < 0)
		return -1;
	return fork_watch(module) < 0 ? -1 : add_constants(module);
}

static int native_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct native_state *state = PyModule_GetState(module);

	Py_VISIT(state->errors);
	Py_VISIT(state->kernel_type);
	Py_VISIT(state->task_type);
	Py_VISIT(state->call_type);
	Py_VISIT(state->pending_type);
	Py_VISIT(state->slot_type);
	Py_VISIT(state->clock_type);
	Py_VISIT(state->device_type);
	Py_VISIT(state->vector_type);
	Py_VISIT(state->usernet_type);
	Py_VISIT(state->overlay_type);
	Py_VISIT(state->server_type);
	Py_VISIT(state->io_type);
	Py_VISIT(state->mapping_type);
	Py_VISIT(state->fuse_server_type);
	Py_VISIT(state->fuse_node_type);
	Py_VISIT(state->packet_type);
	Py_VISIT(state->packet_reader_type);
	for (int i = 0; i < NATIVE_HEADERS; i++)
		Py_VISIT(state->header_types[i]);
	return 0;
}

static int native_clear(PyObject *module)
{
	struct native_state *state = PyModule_GetState(module);

	Py_CLEAR(state->errors);
	Py_CLEAR(state->slots_key);
	Py_CLEAR(state->kernel_type);
	Py_CLEAR(state->task_type);
	Py_CLEAR(state->call_type);
	Py_CLEAR(state->pending_type);
	Py_CLEAR(state->slot_type);
	Py_CLEAR(state->clock_type);
	Py_CLEAR(state->device_type);
	Py_CLEAR(state->vector_type);
	Py_CLEAR(state->usernet_type);
	Py_CLEAR(state->overlay_type);
	Py_CLEAR(state->server_type);
	Py_CLEAR(state->io_type);
	Py_CLEAR(state->mapping_type);
	Py_CLEAR(state->fuse_server_type);
	Py_CLEAR(state->fuse_node_type);
	Py_CLEAR(state->packet_type);
	Py_CLEAR(state->packet_reader_type);
	for (int i = 0; i < NATIVE_HEADERS; i++)
		Py_CLEAR(state->header_types[i]);
	return 0;
}

static PyModuleDef_Slot native_slots[] = {
	{ Py_mod_exec, native_exec },
	{ 0, NULL },
};

struct PyModuleDef native_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "rumpel._native",
	.m_size = sizeof(struct native_state),
	.m_methods = device_functions,
	.m_slots = native_slots,
	.m_traverse = native_traverse,
	.m_clear = native_clear,
};

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&native_module);
}
