"""What differs from version to version."""

VERSION = "1.1.0"
GREETING = "Hello, fleet!"
