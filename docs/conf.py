"""Sphinx settings of the site. It is built offline and loads nothing from another host."""

from importlib.metadata import version as installed_version

project = "d-engine-core"
copyright = "the d-engine-core contributors"
version = release = installed_version("d-engine-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = f"d-engine-core {release}"
html_static_path = ["_static"]
# Furo's own fonts are the system's; nothing is fetched.
html_show_sphinx = False
html_copy_source = False
