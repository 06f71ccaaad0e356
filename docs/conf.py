"""Builds the documentation: `sphinx-build -W -b html docs build/docs`; fetches nothing."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generated

from openai_parallel_toolkit import __version__

project = "openai_parallel_toolkit"
author = project
copyright = "its contributors, MIT licence"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_llm.txt",
]
default_role = "code"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
llms_txt_description = (
    "Runs folders of files through OpenAI-compatible models over many keys, and pays once."
)

llms_txt_suppress_unknown_node_warnings = ["abbreviation"]  # the * of a signature

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False


def _fill(_app, _docname, source):
    source[0] = generated.fill(source[0])


def setup(app):
    app.connect("source-read", _fill)
