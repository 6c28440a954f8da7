"""Figures beside floors and peers, measured in one run. The tests' own ways to start real programs serve here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
