"""Sphinx's settings: `make docs` builds the pages; a warning is a failure."""

import importlib
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE))
importlib.import_module("references").write(_HERE / "reference/generated")

project = "Wazuh server charm"
author = "The authors of the Wazuh server charm"
project_copyright = author
html_title = project

extensions = ["myst_parser", "sphinx_copybutton", "ulwazi"]
html_theme = "ulwazi"
exclude_patterns = ["_build"]
templates_path = []
myst_enable_extensions = {"colon_fence", "deflist"}
myst_heading_anchors = 3
# An example's prompt or output is never copied with it.
copybutton_prompt_text = "$ "
suppress_warnings = ["config.cache"]

_SOURCE = "https://github.com/wazuh-server-operator/wazuh-server-operator"
html_context = {
    "product_page": "wazuh.com",
    "github_url": _SOURCE,
    "repo_branch": "main",
    "repo_folder": "/docs/",
    "github_issues": "enabled",
    "display_contributors": False,
}
html_show_sphinx = False

# For `make docs-links` alone: it asks the network.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [rf"{_SOURCE}/.*", r"https://charmhub\.io/wazuh-server.*"]
