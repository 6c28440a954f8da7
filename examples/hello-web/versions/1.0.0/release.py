"""What differs from version to version."""

VERSION = "1.0.0"
GREETING = "Hello, web!"
