/* SPDX-License-Identifier: GPL-2.0-only */
/* The smallest of test frameworks. */
#ifndef RUMPEL_TESTS_CHECK_H
#define RUMPEL_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
	void (*run)(void);
	const char *promise;
};

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#define EQUAL(a, b)                                                                              \
	do {                                                                                     \
		long long a_ = (long long)(a), b_ = (long long)(b);                              \
		if (a_ != b_) {                                                                  \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a, \
				a_, b_);                                                         \
			abort();                                                                 \
		}                                                                                \
	} while (0)

/* Runs all, or those whose promise has the word that argv[1] says. */
static inline int test_main(int argc, char **argv, const struct test *tests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && !strstr(tests[i].promise, argv[1]))
			continue;
		printf("  %s\n", tests[i].promise);
		fflush(stdout);
		tests[i].run();
	}
	return 0;
}

#define TEST_MAIN(tests)                                                                 \
	int main(int argc, char **argv)                                                  \
	{                                                                                \
		return test_main(argc, argv, tests, sizeof(tests) / sizeof((tests)[0])); \
	}

#endif
