"""The examples of README.md, taken out of it, so that tests run what people copy."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def examples(language: str, heading: str) -> list[str]:
    """The blocks of that language below a heading of the README, in order."""
    text = (ROOT / "README.md").read_text()
    section = re.split(r"^## ", text.partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
