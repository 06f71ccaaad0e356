"""Print the lowest version of every dependency that setup.py allows, as pip's constraints.

A dependency without a lower bound is left to pip.
"""

import importlib.metadata
import re

for line in importlib.metadata.requires("openai-parallel-toolkit") or []:
    bound = re.match(r"([\w.-]+)>=([\w.]+)", line)
    if bound and "extra ==" not in line:
        print(f"{bound[1]}=={bound[2]}" + line[bound.end() :].partition(",")[0])
