# SPDX-License-Identifier: GPL-2.0-only
"""The site: ./dev docs builds it into build/site. The reference is made from docstrings."""

from __future__ import annotations

import rumpel

project = "rumpel"
copyright = "the authors of rumpel; GPL-2.0-only"
version = release = rumpel.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of named tuples are described once
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_type_aliases = {"Path": "str | os.PathLike[str]", "Buffer": "bytes-like object"}

html_theme = "furo"
html_title = "rumpel"
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
