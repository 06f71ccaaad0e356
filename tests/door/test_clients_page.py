"""What docs/how-to/clients.md shows runs as it stands, where its library is installed."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openai_parallel_toolkit.simulator import SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "how-to" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMES = ["openai", "instructor", "pydantic_ai", "langchain_openai", "agents", "litellm", "httpx2"]


def run(root, sim):
    env = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    path = [str(REPOSITORY), *filter(None, [env.get("PYTHONPATH")])]
    env |= {"PYTHONPATH": os.pathsep.join(path), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    env |= {"OPENAI_API_KEY": "sim-good", "OPENAI_BASE_URL": sim.url}
    done = subprocess.run(
        [sys.executable, "block.py"],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    failures = [path.read_text() for path in root.rglob("failures.jsonl")]
    assert not failures, failures
    return {path.name: path.read_bytes() for path in root.glob("*/*.txt")}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "texts").mkdir()
    for n in range(2):
        (tmp_path / "texts" / f"t{n}.md").write_text(f"Text {n}.")
    (tmp_path / "titles.py").write_text(BLOCKS[0], encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_librarys_block_is_durable(root, name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; see the extra test-clients")
    imports = re.compile(rf"^(?:import|from) {name}\b", re.MULTILINE)
    block = next(text for text in BLOCKS if imports.search(text) or name == "openai")
    again = block.replace(").run()", ", force=True).run()")
    with Simulator([SimKey("good")], seed=7) as sim:
        (root / "block.py").write_text(block, encoding="utf-8")
        outputs, billed = run(root, sim), sim.ledger.billed()
        (root / "block.py").write_text(again, encoding="utf-8")
        assert run(root, sim) == outputs
        assert sim.ledger.billed() == billed == (len(outputs) or 1)


def test_a_key_is_lent_to_code_that_sends_by_other_means(root):
    (root / "block.py").write_text(BLOCKS[-1], encoding="utf-8")
    with Simulator([SimKey("good")], seed=7) as sim:
        run(root, sim)
        assert sim.ledger.billed() == 1
