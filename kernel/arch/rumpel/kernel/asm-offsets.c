// SPDX-License-Identifier: GPL-2.0-only
/* No assembly here needs an offset; the build wants the file. */
