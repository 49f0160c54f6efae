"""Sphinx's configuration: Markdown pages, and the Python API from its docstrings."""

from __future__ import annotations

project = "myproject"
author = "The myproject developers"
copyright = "2026, The myproject developers"  # noqa: A001 - Sphinx's own name

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
myst_heading_anchors = 3
# Pages link to files of the repository, which Sphinx does not publish.
suppress_warnings = ["myst.xref_missing"]
