"""What differs between the versions of the shop."""

VERSION = "1.2.0"
PRICES = {"tea": "3.30"}
