"""A program whose hooks ask in every way that a door has, one after the other."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # of what folders of tests share
from door_asks import DOORS
from openai_asks import asking

if __name__ == "__main__":
    config, source, target, *names = sys.argv[1:]
    asks = {f"{door}, {name}": ask for door in names for name, ask in DOORS[door].items()}
    asking(asks, at_a_time=1)(config, source, target, progress=False, num_threads=1).run()
