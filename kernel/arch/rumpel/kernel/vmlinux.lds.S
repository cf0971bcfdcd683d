/* SPDX-License-Identifier: GPL-2.0-only */
#define RO_EXCEPTION_TABLE_ALIGN 16
#include <asm-generic/vmlinux.lds.h>
#include <asm/page.h>
#include <asm/cache.h>
#include <asm/thread_info.h>

/*
 * Without names of enumerations in the formats of trace events: putting them
 * in takes longer than the whole boot.
 */
#ifdef CONFIG_EVENT_TRACING
#undef FTRACE_EVENTS
#define FTRACE_EVENTS()                                 \
	. = ALIGN(8);                                   \
	BOUNDED_SECTION(_ftrace_events)                 \
	__start_ftrace_eval_maps = .;                   \
	__stop_ftrace_eval_maps = .;
#endif

ENTRY(rumpel_image)
jiffies = jiffies_64;

PHDRS {
	text PT_LOAD FILEHDR PHDRS FLAGS(5);
	rodata PT_LOAD FLAGS(6);
	data PT_LOAD FLAGS(6);
	dynamic PT_DYNAMIC FLAGS(6);
}

SECTIONS
{
	. = SIZEOF_HEADERS;
	.hash : { *(.hash) } :text
	.gnu.hash : { *(.gnu.hash) }
	.dynsym : { *(.dynsym) }
	.dynstr : { *(.dynstr) }
	.gnu.version : { *(.gnu.version) }
	.gnu.version_d : { *(.gnu.version_d) }
	.rela.dyn : { *(.rela.dyn .rela*) }
	.relr.dyn : { *(.relr.dyn) }

	. = ALIGN(PAGE_SIZE);
	_stext = .;
	.text : {
		_text = .;
		TEXT_TEXT
		SCHED_TEXT
		LOCK_TEXT
		KPROBES_TEXT
		IRQENTRY_TEXT
		SOFTIRQENTRY_TEXT
		*(.fixup)
		_etext = .;
	}
	__init_begin = .;
	INIT_TEXT_SECTION(16)
	.exit.text : { EXIT_TEXT }

	/* Written by relocation, so on pages of their own. */
	. = ALIGN(PAGE_SIZE);
	.relocated : { BYTE(0) } :rodata
	RO_DATA(PAGE_SIZE)

	. = ALIGN(PAGE_SIZE);
	_sdata = .;
	.data.start : { BYTE(0) } :data
	INIT_DATA_SECTION(16)
	PERCPU_SECTION(L1_CACHE_BYTES)
	__init_end = .;
	.exit.data : { EXIT_DATA }
	RW_DATA(L1_CACHE_BYTES, PAGE_SIZE, THREAD_SIZE)
	.data.rel : { *(.data.rel .data.rel.*) }
	.dynamic : { *(.dynamic) } :data :dynamic
	.got : { *(.got) *(.got.plt) } :data
	. = ALIGN(8);
	_edata = .;
	BSS_SECTION(PAGE_SIZE, PAGE_SIZE, PAGE_SIZE)
	_end = .;

	DWARF_DEBUG
	ELF_DETAILS

	DISCARDS
	/DISCARD/ : { *(_ftrace_eval_map) }
}
