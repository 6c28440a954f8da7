"""Writes a line into `journal` and the log; ends badly if the file `closed` is there and it is told to `ask`."""

import os
import sys
from pathlib import Path

said = " ".join([*sys.argv[1:], os.environ["DEPLOYMENT_VERSION"]])
print(said)
with Path("journal").open("a") as journal:
    journal.write(said + "\n")
sys.exit("the shop is closed" if sys.argv[1] == "ask" and Path("closed").exists() else 0)
