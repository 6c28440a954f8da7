"""What differs between the versions of the shop: here somebody has renamed what the page asks for."""

VERSION = "1.1.0"
PRICES = {"green tea": "3.30"}
