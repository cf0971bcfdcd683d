// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loader: maps a kernel image, a position-independent ELF shared object
 * that needs nothing from anybody, and relocates it. Text and all that is not
 * written is shared with every other kernel of the same image.
 */
#include "core.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_HEADERS 16

struct headers {
	Elf64_Ehdr elf;
	Elf64_Phdr program[MOST_HEADERS];
};

static uint64_t page_down(uint64_t address)
{
	return address & ~(PAGE - 1);
}

static uint64_t page_up(uint64_t address)
{
	return page_down(address + PAGE - 1);
}

static const char *check_header(const Elf64_Ehdr *elf)
{
	if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0)
		return "this is not an ELF file";
	if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_type != ET_DYN ||
	    elf->e_machine != EM_X86_64)
		return "this is not a kernel image for this CPU";
	if (elf->e_phentsize != sizeof(Elf64_Phdr) || !elf->e_phnum || elf->e_phnum > MOST_HEADERS)
		return "the image's program headers are malformed";
	return NULL;
}

/* Sizes and offsets of all segments, so that nothing later can go astray. */
static const char *check_segments(const struct headers *headers, uint64_t file_size, size_t *size)
{
	uint64_t end = 0;

	for (int i = 0; i < headers->elf.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->program[i];

		if (segment->p_type == PT_INTERP || segment->p_type == PT_TLS)
			return "this is a program or library, not a kernel image";
		if (segment->p_type != PT_LOAD && segment->p_type != PT_DYNAMIC)
			continue;
		if (segment->p_filesz > segment->p_memsz || segment->p_memsz > 1ull << 31 ||
		    segment->p_vaddr > 1ull << 31)
			return "the image's segments are malformed";
		if (segment->p_offset > file_size ||
		    segment->p_filesz > file_size - segment->p_offset)
			return "the image is cut off";
		if (segment->p_type != PT_LOAD)
			continue;
		if ((segment->p_offset ^ segment->p_vaddr) & (PAGE - 1) ||
		    segment->p_vaddr < page_down(end))
			return "the image's segments are not aligned";
		end = page_up(segment->p_vaddr + segment->p_memsz);
	}
	if (!end)
		return "the image has no content";
	*size = end;
	return NULL;
}

int rumpel_image_open(struct rumpel_image_file *file, const char *path, const char **why)
{
	struct headers *headers = calloc(1, sizeof(*headers));
	struct stat status;
	ssize_t len;

	file->headers = headers;
	file->fd = headers ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file->fd < 0)
		return headers ? -errno : -ENOMEM;
	if (fstat(file->fd, &status) < 0)
		return -errno;
	len = pread(file->fd, headers, sizeof(headers->elf), 0);
	if (len < 0)
		return -errno;
	*why = len < (ssize_t)sizeof(headers->elf) ? "the file is too short for a kernel image"
						   : check_header(&headers->elf);
	if (*why)
		return -ENOEXEC;
	len = (ssize_t)(headers->elf.e_phnum * sizeof(Elf64_Phdr));
	if (pread(file->fd, headers->program, len, headers->elf.e_phoff) != len)
		*why = "the image is cut off";
	else
		*why = check_segments(headers, status.st_size, &file->size);
	return *why ? -ENOEXEC : 0;
}

void rumpel_image_close(struct rumpel_image_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->headers);
}

int64_t rumpel_image_constant(const struct rumpel_image_file *file, uint64_t at)
{
	const struct headers *headers = file->headers;

	for (int i = 0; i < headers->elf.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->program[i];
		uint64_t start = page_down(segment->p_vaddr);

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_W &&
		    segment->p_filesz == segment->p_memsz && at >= start &&
		    at < page_up(segment->p_vaddr + segment->p_memsz))
			return (int64_t)(page_down(segment->p_offset) + at - start);
	}
	return -1;
}

static int map_segment(int fd, char *base, const Elf64_Phdr *segment, bool fresh)
{
	bool writable = segment->p_flags & PF_W;
	int prot =
		PROT_READ | (segment->p_flags & PF_X ? PROT_EXEC : 0) | (writable ? PROT_WRITE : 0);
	uint64_t start = page_down(segment->p_vaddr);
	uint64_t data_end = segment->p_vaddr + segment->p_filesz;
	uint64_t end = page_up(segment->p_vaddr + segment->p_memsz);

	if (writable && !fresh && RUMPEL_SNAPSHOT_IS_WHOLE)
		return 0;
	if (segment->p_filesz &&
	    rumpel_image_map(base + start, page_up(data_end) - start, prot, fd,
			     (off_t)page_down(segment->p_offset)) == MAP_FAILED)
		return -errno;
	if (!writable)
		return segment->p_memsz == segment->p_filesz ? 0 : -ENOEXEC;
	/* Of what is only relocated, most pages stay the file's. */
	if (segment->p_memsz == segment->p_filesz)
		return 0;
	if (fresh)
		rumpel_populate(base + start, page_up(data_end) - start);
	/* What follows the data in its last page belongs to something else in the file. */
	if (segment->p_filesz)
		memset(base + data_end, 0, page_up(data_end) - data_end);
	else
		data_end = start;
	if (end > page_up(data_end) &&
	    rumpel_image_map(base + page_up(data_end), end - page_up(data_end), prot, -1, 0) ==
		    MAP_FAILED)
		return -errno;
	return 0;
}

struct relocations {
	const Elf64_Rela *rela;
	size_t rela_size;
	const Elf64_Relr *relr;
	size_t relr_size;
};

static bool inside(size_t size, uint64_t offset, uint64_t len)
{
	return offset <= size && len <= size - offset;
}

static const char *find_relocations(char *base, size_t size, const Elf64_Phdr *dynamic,
				    struct relocations *found)
{
	const Elf64_Dyn *entry = (const Elf64_Dyn *)(base + dynamic->p_vaddr);
	size_t count = dynamic->p_memsz / sizeof(*entry);

	if (!inside(size, dynamic->p_vaddr, dynamic->p_memsz))
		return "the image's dynamic section is malformed";
	for (; count && entry->d_tag != DT_NULL; entry++, count--) {
		switch (entry->d_tag) {
		case DT_NEEDED:
			return "this library needs others: it is not a kernel image";
		case DT_RELA:
			found->rela = (const Elf64_Rela *)(base + entry->d_un.d_ptr);
			break;
		case DT_RELASZ:
			found->rela_size = entry->d_un.d_val;
			break;
		case DT_RELR:
			found->relr = (const Elf64_Relr *)(base + entry->d_un.d_ptr);
			break;
		case DT_RELRSZ:
			found->relr_size = entry->d_un.d_val;
			break;
		}
	}
	if ((found->rela_size &&
	     !inside(size, (const char *)found->rela - base, found->rela_size)) ||
	    (found->relr_size && !inside(size, (const char *)found->relr - base, found->relr_size)))
		return "the image's relocations are malformed";
	return NULL;
}

/* The packed form: an address, then bitmaps of the words behind it. */
static void relocate_packed(char *base, size_t size, const struct relocations *found)
{
	const Elf64_Relr *entry = found->relr;
	uint64_t *word = (uint64_t *)base;
	uint64_t *end = (uint64_t *)(base + size);

	for (size_t count = found->relr_size / sizeof(*entry); count; count--, entry++) {
		if (!(*entry & 1)) {
			word = (uint64_t *)(base + *entry);
			if (word < (uint64_t *)base || word >= end)
				return;
			*word++ += (uint64_t)base;
			continue;
		}
		for (uint64_t bits = *entry >> 1, i = 0; bits; bits >>= 1, i++)
			if (bits & 1 && word + i < end)
				word[i] += (uint64_t)base;
		word += 63;
	}
}

static const char *relocate(char *base, size_t size, const struct relocations *found)
{
	const Elf64_Rela *entry = found->rela;

	for (size_t count = found->rela_size / sizeof(*entry); count; count--, entry++) {
		if (ELF64_R_TYPE(entry->r_info) == R_X86_64_NONE)
			continue;
		if (ELF64_R_TYPE(entry->r_info) != R_X86_64_RELATIVE ||
		    !inside(size, entry->r_offset, 8))
			return "the image has relocations that need a symbol";
		*(uint64_t *)(base + entry->r_offset) = (uint64_t)base + entry->r_addend;
	}
	relocate_packed(base, size, found);
	return NULL;
}

static const char *check_image(const struct rumpel_image *image)
{
	if (image->magic != RUMPEL_MAGIC)
		return "this is not a kernel image of rumpel";
	if (image->abi != RUMPEL_ABI)
		return "the image was built for another version of rumpel: build it again";
	if (image->page_size != PAGE)
		return "the image has another page size";
	return NULL;
}

int rumpel_image_load(struct rumpel_image_file *file, const struct rumpel_arena *arena, bool fresh,
		      const struct rumpel_image **image, const char **why)
{
	const struct headers *headers = file->headers;
	const Elf64_Phdr *dynamic = NULL;
	struct relocations relocations = { 0 };
	char *base = arena->image;
	int error;

	for (int i = 0; i < headers->elf.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->program[i];

		if (segment->p_type == PT_DYNAMIC)
			dynamic = segment;
		if (segment->p_type != PT_LOAD)
			continue;
		error = map_segment(file->fd, base, segment, fresh);
		if (error)
			return error;
	}
	if (!inside(file->size, headers->elf.e_entry, sizeof(struct rumpel_image)))
		*why = "the image has no entry";
	else if (!dynamic)
		*why = "the image has no dynamic section";
	else if (fresh)
		*why = find_relocations(base, file->size, dynamic, &relocations);
	if (!*why && fresh)
		*why = relocate(base, file->size, &relocations);
	if (*why)
		return -ENOEXEC;
	*image = (const struct rumpel_image *)(base + headers->elf.e_entry);
	/* What a snapshot was made of was checked then. */
	*why = fresh ? check_image(*image) : NULL;
	return *why ? -ENOEXEC : 0;
}
