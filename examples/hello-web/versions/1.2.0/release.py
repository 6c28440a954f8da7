"""What differs from version to version. In this one the greeting moves into a file, which nobody has committed."""

from pathlib import Path

VERSION = "1.2.0"
GREETING = Path(__file__).with_name("greeting.txt")
