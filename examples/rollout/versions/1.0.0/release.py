"""What differs between the versions of the shop."""

VERSION = "1.0.0"
PRICES = {"tea": "3.20"}
